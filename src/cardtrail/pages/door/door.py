"""The door: stands in front of the pages and lets in who has a session, and no request that a stranger made up.

Whatever is answered below /ui, errors included, has the headers of `headers`. What changes something needs the
session's token, `csrf`, besides the browser's word that it comes from a page of ours.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from cardtrail.errors import CardtrailError, StoreUnavailable
from cardtrail.pages.door.asgi import (
    CALLBACK,
    HOME,
    LOG_IN,
    LOG_IN_BY_OIDC,
    LOG_OUT,
    SAFE,
    STATIC,
    UI,
    Asgi,
    Receive,
    Scope,
    Send,
)
from cardtrail.pages.door.cookies import SESSION, Cookies
from cardtrail.pages.door.csrf import HEADER, check_origin, check_token
from cardtrail.pages.door.form import again, body_of, fields_of, is_form
from cardtrail.pages.door.headers import Guarded
from cardtrail.pages.door.login import SEE_OTHER, LogIn
from cardtrail.pages.door.oidc.flow import OidcLogIn
from cardtrail.pages.door.page import refusal, refusal_of
from cardtrail.pages.door.sessions import Session, Sessions
from cardtrail.pages.door.visitor import CSRF, CSRF_FIELD, FORM, VISITOR
from cardtrail.pages.door.way import log_in_after, log_in_for

_WORDS = {404: "There is no such page.", 405: "This page cannot be asked so."}
"""What is said where the error has no words of its own."""
Handler = Callable[[Request], Awaitable[Response]]
_log = structlog.get_logger()


class Door:
    """Stands in front of `pages`, an application that is asked for everything below /ui that is not the door's."""

    def __init__(
        self,
        pages: Asgi,
        log_in: LogIn,
        sessions: Sessions,
        cookies: Cookies,
        by_oidc: OidcLogIn | None = None,
    ) -> None:
        self._pages = pages
        self._log_in = log_in
        self._sessions = sessions
        self._cookies = cookies
        self._open: dict[str, dict[str, Handler]] = {LOG_IN: {"GET": log_in.show, "POST": log_in.enter}}
        if by_oidc is not None:
            self._open |= {LOG_IN_BY_OIDC: {"GET": by_oidc.begin}, CALLBACK: {"GET": by_oidc.back}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        guarded = Guarded(scope, send)
        try:
            await self._serve(scope, receive, guarded)
        except (
            Exception
        ) as error:  # whatever it is, it is answered with the headers of every page; half an answer is not
            if guarded.started:
                raise
            await _refused(error, scope)(scope, receive, guarded)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, method = scope["path"], scope["method"]
        if path.startswith(STATIC) and method in SAFE:
            await self._pages(scope, receive, send)
        elif path in self._open:
            await (await self._at_open(request))(scope, receive, send)
        else:
            await self._behind(request, receive, send)

    async def _at_open(self, request: Request) -> Response:
        """Answer what needs no session."""
        handlers = self._open[request.scope["path"]]
        method = "GET" if request.method == "HEAD" else request.method
        if method not in handlers:
            return refusal(405, _WORDS[405], {"allow": ", ".join(sorted(handlers))})
        return await handlers[method](request)

    async def _behind(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer what needs one."""
        scope = request.scope
        session = await self._sessions.find(self._cookies.read(request, SESSION))
        if session is None:
            await _stranger(request)(scope, receive, send)
            return
        form: dict[str, str] = {}
        if request.method not in SAFE:
            form, receive = await _checked(request, session, receive)
        scope["state"] = {**scope.get("state", {}), VISITOR: session.visitor, CSRF: session.csrf, FORM: form}
        if scope["path"] == LOG_OUT and request.method == "POST":
            await (await self._log_in.leave(request))(scope, receive, send)
        elif scope["path"] == UI:
            await RedirectResponse(HOME, SEE_OTHER)(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


async def _checked(request: Request, session: Session, receive: Receive) -> tuple[dict[str, str], Receive]:
    """Return the form of a request that comes from a page of ours, and a `receive` that brings it again.

    Raises Forbidden, InputError or HTTPException.
    """
    check_origin(request)
    form: dict[str, str] = {}
    if is_form(request):
        body = await body_of(request)
        form, receive = fields_of(body), again(body, receive)
    check_token(request.headers.get(HEADER) or form.get(CSRF_FIELD, ""), session.csrf)
    return form, receive


def _stranger(request: Request) -> Response:
    """Send whoever has no session to the log-in, or say so to what cannot follow there."""
    if request.scope["path"] == LOG_OUT:
        return RedirectResponse(LOG_IN, SEE_OTHER)
    is_script = request.headers.get("hx-request") == "true"
    if request.method in SAFE and not is_script and "text/event-stream" not in request.headers.get("accept", ""):
        return RedirectResponse(log_in_for(request), SEE_OTHER)
    headers = {"hx-redirect": log_in_after(request)} if is_script else {}
    return refusal(401, "You are not logged in any more.", headers)


def _refused(error: Exception, scope: Scope) -> Response:
    """Return the page that tells of an error; what nobody expected is logged, and told no more than that."""
    if isinstance(error, HTTPException):
        is_plain = error.detail == HTTPStatus(error.status_code).phrase
        text = _WORDS.get(error.status_code, error.detail) if is_plain else error.detail
        return refusal(error.status_code, text, dict(error.headers or {}))
    if isinstance(error, StoreUnavailable):
        _log.error("store_unavailable", error=str(error))
    if isinstance(error, CardtrailError):
        return refusal_of(error)
    if isinstance(error, ClientDisconnect):
        return refusal(400, "The request ended early.")
    _log.error("unexpected", path=scope["path"], exc_info=error)
    return refusal_of(CardtrailError())
