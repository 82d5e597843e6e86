"""An ASGI application with a span around each request; in front of all else, and only where something is traced."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from cardtrail.traces import Attributes, Tracer
from cardtrail.traces.traceparent import traceparent_in

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

TRACE = "cardtrail.trace"
"""Where a request's scope has the `traceparent` of its span, where it is sampled."""
METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Methods by their names; all others are one."""
_ERROR = 500


def traced(app: Asgi, tracer: Tracer, told: Callable[[Scope], tuple[str, Attributes]]) -> Asgi:
    """Return the application with spans. `told` gives a request's route, as a template, and attributes, at its end."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        span = tracer.serve(traceparent_in(scope["headers"])) if scope["type"] == "http" else None
        if span is None:
            await app(scope, receive, send)
            return
        scope[TRACE] = span.traceparent
        status = 0  # of whom nobody has answered

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await app(scope, receive, sending)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "_OTHER"
            route, attributes = told(scope)
            answered = {"http.response.status_code": status} if status else {}
            given = {"http.request.method": method, "http.route": route, **answered, **attributes}
            span.end(f"{method} {route}".rstrip(), given, is_error=not 0 < status < _ERROR)

    return serve
