"""The pages of a mirror as a part of the issuer's service: what is below /ui, behind the door, in front of the rest."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from cardtrail.errors import StoreUnavailable
from cardtrail.files.box import Box
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.issuer.counts import recount
from cardtrail.issuer.mirror import AsyncMirror, wall_clock
from cardtrail.issuer.ui.pages import SIDE, Ask, Pages
from cardtrail.pages.door.asgi import HOME, is_ui
from cardtrail.pages.door.entrance import Entrance
from cardtrail.pages.door.oidc.provider import Provider
from cardtrail.pages.door.trail import Trail

REALM = "mirror"
"""What, together with the issuer, tells the cookies of a mirror's pages from those of others on the same host."""
FORGET_SECONDS = 60.0
"""Pause between two times at which sessions that are over are forgotten."""
RECOUNT_TURNS = 24 * 60
"""So many of these pauses from one time at which orders are counted anew to the next: a day."""


class Front:
    """The pages of one issuer's mirror and their door; to be closed.

    `limit` is that of the silence alarm, µs; `ask` asks the platform for a card. `plain` is what the door's cookies
    need to know; of `proxies` it is believed who called them. By a `provider` people may log in, too.
    """

    def __init__(  # noqa: PLR0913 -- all that the pages stand on
        self, mirror: AsyncMirror, issuer_id: str, box: Box, *, plain: bool, limit: int = 0, ask: Ask | None = None,
        proxies: Sequence[str] = (), provider: Provider | None = None,
    ) -> None:  # fmt: skip
        self._mirror = mirror
        self._issuer_id = issuer_id
        self.entrance = Entrance(
            mirror.db,
            Trail(mirror.db),
            box,
            wall_clock,
            plain=plain,
            realm=f"{REALM}-{issuer_id}",
            provider=provider,
            side=f"{SIDE} of {issuer_id}",
        )
        self.pages = Pages(mirror, issuer_id, limit, ask)
        door: Any = self.entrance.door(self.pages.router())
        self._door: Asgi = ProxyHeadersMiddleware(door, list(proxies)) if proxies else door  # type: ignore[assignment]  # its own words for the same shapes

    def before(self, app: Asgi) -> Asgi:
        """Return the application with the pages in front of it."""

        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            behind = self._door if scope["type"] == "http" and is_ui(scope["path"]) else app
            await behind(scope, receive, send)

        return served

    async def run(self) -> None:
        """Forget sessions that are over and count orders anew once a day, for ever."""
        for turn in count():
            with suppress(StoreUnavailable):
                await self.entrance.sessions.run_once()
                if turn % RECOUNT_TURNS == 0:
                    await recount(self._mirror.db, self._issuer_id)
            await asyncio.sleep(FORGET_SECONDS)

    def release(self) -> None:
        """End all pages that wait, so that the service can stop."""
        self.pages.streams.release()

    async def close(self) -> None:
        """Let go of threads."""
        await self.entrance.close()


async def nothing_else(scope: Scope, _receive: Receive, send: Send) -> None:
    """Send who asks for anything but a page to the pages: an application for where there are only pages."""
    if scope["type"] == "http":
        headers = [(b"location", HOME.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
