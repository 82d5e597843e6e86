"""The receiver as an ASGI application, for any server and for mounting in any framework; it needs none itself.

Its paths may stand below whatever it is mounted at; their words match in any letter case.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from cardtrail.errors import CardtrailError, NotFound, StoreUnavailable
from cardtrail.issuer.receipt import Receipt, receipt_of, refused
from cardtrail.issuer.receive import AsyncReceiver
from cardtrail.issuer.token import MAX_TOKEN_BODY
from cardtrail.issuer.way import MAX_BODY, correlation_of, headers_of, too_large
from cardtrail.protocol.problem import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_PATH = "/oauth2/token"  # noqa: S105 -- a path
BODY_SECONDS = 30.0
"""Longest time a sender may take to send its body."""
MAX_THROWN_AWAY = 8 * MAX_BODY
"""How much of a body that is too large is read and thrown away: who still sends cannot read the answer."""
MAX_HELD = 128 * MAX_BODY
"""How much unfinished bodies may hold of memory together, bytes; then a sender that is slow is told to come again."""

# ASCII, or ignoring case would let the long s pass for an s.
_CARDS = re.compile(r".*/notifications/d1/v2/issuers/([^/]+)/cards/?", re.IGNORECASE | re.ASCII | re.DOTALL)
_ONLY_POST = refused(problem(405, "METHOD_NOT_ALLOWED", "POST is expected", ((b"allow", b"POST"),)), "")
_TOO_SLOW = refused(problem(408, "TOO_SLOW", f"the body did not come within {BODY_SECONDS:.0f} seconds"), "")
_BUSY = receipt_of(StoreUnavailable("too many unfinished bodies"))
_log = logging.getLogger("cardtrail.issuer")


class _Gone(Exception):
    """The sender has hung up: there is nobody to answer."""


class _Refused(Exception):
    """The body is not taken. `closing`: it was not read to its end, and what follows would pass for a request."""

    def __init__(self, receipt: Receipt, *, closing: bool) -> None:
        super().__init__()
        self.receipt = receipt
        self.closing = closing


def asgi_app(receiver: AsyncReceiver, *, token_path: str = TOKEN_PATH) -> Asgi:
    """Return an application that takes `POST …/notifications/d1/v2/issuers/{issuerId}/cards`.

    Where the receiver knows clients it has a token endpoint, too, at `token_path`. What a proxy says of a certificate
    is believed by the address that the server tells, so the server must not replace that by X-Forwarded-For.
    """
    return _App(receiver, token_path)


def is_cards(path: str) -> bool:
    """Tell whether notifications are taken at a path."""
    return _CARDS.fullmatch(path) is not None


class _App:
    """The application; one for all calls."""

    def __init__(self, receiver: AsyncReceiver, token_path: str) -> None:
        self._receiver = receiver
        self._token_path = re.compile(f".*{re.escape(token_path)}/?", _CARDS.flags)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; nobody is left to answer where the sender has hung up, which harms nothing."""
        closing = False
        try:
            receipt = await self._answer(scope, receive)
        except _Gone:
            return
        except _Refused as refusal:
            receipt = refusal.receipt
            closing = refusal.closing and scope.get("http_version", "1.1").startswith("1")
        except Exception:  # noqa: BLE001 -- a fault of ours is answered, and the sender tries again
            told = correlation_of(headers_of(scope["headers"]))
            _log.exception("a call could not be answered: correlation_id=%s", told)
            receipt = receipt_of(CardtrailError())
        with suppress(OSError):
            await _send(send, receipt, closing=closing)

    async def _answer(self, scope: Scope, receive: Receive) -> Receipt:
        path = scope["path"]
        cards = _CARDS.fullmatch(path)
        if cards is None and not (self._receiver.gives_tokens and self._token_path.fullmatch(path)):
            return receipt_of(NotFound("nothing is here"))
        if scope["method"] != "POST":
            return _ONLY_POST
        body = await self._body(receive, MAX_BODY if cards is not None else MAX_TOKEN_BODY)
        if cards is None:
            return self._receiver.token(scope["headers"], body)
        client = scope.get("client")
        return await self._receiver.receive(scope["headers"], body, cards[1], peer=client[0] if client else "")

    async def _body(self, receive: Receive, most: int) -> bytes:
        """Return the whole body. Raises _Gone or _Refused."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in _parts(receive):
                    size += len(part)
                    if size <= most:
                        parts.append(part)
                        self._hold(len(part))
                    elif size > MAX_THROWN_AWAY:
                        break
        except TimeoutError:
            raise _Refused(_TOO_SLOW, closing=True) from None
        finally:
            self._held -= sum(map(len, parts))
        if size > most:
            raise _Refused(too_large(), closing=size > MAX_THROWN_AWAY)
        return b"".join(parts)

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > MAX_HELD:
            raise _Refused(_BUSY, closing=True)


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """Yield a body as it comes. Raises _Gone."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _send(send: Send, receipt: Receipt, *, closing: bool) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in receipt.headers.items()]
    if receipt.status != 204:  # noqa: PLR2004 -- the one without a body, and without its length
        headers.append((b"content-length", b"%d" % len(receipt.body)))
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": receipt.status, "headers": headers})
    await send({"type": "http.response.body", "body": receipt.body})


async def _live(receive: Receive, send: Send) -> None:
    """Answer the server that starts and stops the application; the mirror is opened and closed by whoever gave it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
