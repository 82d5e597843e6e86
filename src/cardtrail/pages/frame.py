"""The frame of a service's pages: who looks, where else one can go, what time it is."""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router

from cardtrail.pages.door.asgi import Receive, Scope, Send
from cardtrail.pages.door.page import SIDE
from cardtrail.pages.door.visitor import csrf_of, visitor_of
from cardtrail.pages.render import Renderer

Places = Sequence[tuple[str, str]]
"""Where one can go: path and name."""


class Frame:
    """Puts a template into the frame. `now` gives the time that orders live in, `wall` that of people, both µs.

    `pages` are those of an issuer, by their path below the issuer's; `others` are for whoever may see every issuer.
    `side` is what the service is called there.
    """

    def __init__(
        self, pages: Places, others: Places, now: Callable[[], int], wall: Callable[[], int], side: str = SIDE
    ) -> None:  # fmt: skip
        self.renderer = Renderer()
        self._side = side
        self._pages = pages
        self._others = others
        self._now = now
        self._wall = wall

    def shown(self, request: Request, template: str, here: str | None = None, **values: Any) -> Response:
        """Answer a page; `here` is its place among the issuer's pages."""
        issuer_id = request.path_params.get("issuer_id", "")
        visitor, query = visitor_of(request), request.url.query
        return self.renderer.page(template, {
            "side": self._side, "visitor": visitor, "csrf": csrf_of(request), "issuer_id": issuer_id,
            "pages": self._pages, "here": here,
            "others": self._others if visitor.issuers == "all" else (), "now": self._now(), "wall": self._wall(),
            "told": "", "operates": bool(issuer_id) and visitor.may_operate(issuer_id),
            "address": request.url.path + (f"?{query}" if query else ""),
        } | values)  # fmt: skip


class PageRouter(Router):
    """A router that raises 404 and 405, as in an application, so that the door answers them as it does all others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await super().__call__({**scope, "app": self}, receive, send)
