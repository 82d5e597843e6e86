"""What every answer below /ui says to the browser: run nothing of others, keep nothing, tell nobody."""

from cardtrail.pages.door.asgi import STATIC, Message, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
YEAR = 31_536_000
"""How long a browser asks for nothing but HTTPS, seconds."""
_ALWAYS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}
_NO_STORE = {b"cache-control": b"no-store"}
_HTTPS_ONLY = {b"strict-transport-security": b"max-age=%d" % YEAR}


class Guarded:
    """A `send` that puts these headers into the answer; an answer's own ones of these names do not count."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._headers = dict(_ALWAYS)
        if not scope["path"].startswith(STATIC):
            self._headers |= _NO_STORE
        if scope.get("scheme") == "https":
            self._headers |= _HTTPS_ONLY
        self.started = False
        """An answer was begun, so that no other one can take its place."""

    async def __call__(self, message: Message) -> None:
        """Send on."""
        if message["type"] == "http.response.start":
            self.started = True
            own = [pair for pair in message.get("headers", ()) if pair[0].lower() not in self._headers]
            message["headers"] = [*own, *self._headers.items()]
        await self._send(message)
