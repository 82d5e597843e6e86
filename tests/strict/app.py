"""The strict server as a plain ASGI application: the published paths, and paths of its own for those who run a test.

It answers with the published form alone: no member of ours, no validator, no batch, no feed, no history. A path that
is not published is unknown to it.
"""

import asyncio
import json
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.strict.tokens import PATH as TOKEN_PATH
from tests.strict.tokens import Refused, Tokens
from tests.strict.trouble import Kind, Troubles, trouble_of
from tests.strict.world import World

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

TRANSPORT = "strict.transport"
"""Where a request's scope holds its connection, so that it can be broken."""
MAX_BODY = 65_536
"""Largest body of a call, bytes."""

_ISSUER = re.compile(r"[A-Za-z0-9_-]{10}")
_CARD = re.compile(r"[A-Za-z0-9_-]{1,48}")
_CORRELATION = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_JSON: Headers = ((b"content-type", b"application/json"),)
_CHALLENGE: Headers = (*_JSON, (b"www-authenticate", b"Bearer"))
_ERRORS: dict[int, bytes] = {
    400: b'{"errorCode":"FIELD_INVALID_FORMAT","error":"a field has the wrong form"}',
    401: b'{"errorCode":"AUTHORIZER_UNAUTHORIZED","error":"no valid access token"}',
    403: b'{"errorCode":"FORBIDDEN","error":"not for you"}',
    404: b'{"errorCode":"NOT_FOUND","error":"nothing is there"}',
    405: b'{"error":"this method is not allowed"}',
    429: b'{"errorCode":"TOO_MANY_REQUESTS","error":"too many calls"}',
    503: b'{"error":"come back later"}',
}
_PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


class App:
    """Answers calls of one issuer about its cards; `own` adds paths under `/admin/`."""

    def __init__(self, world: World, tokens: Tokens, issuer_id: str, own: "Own", *, unknown: int = 404) -> None:
        self.troubles = Troubles()
        self.counts: Counter[str] = Counter()
        self._world = world
        self._tokens = tokens
        self._issuer_id = issuer_id
        self._own = own
        self._unknown = unknown
        self._at_once = 0
        self._second = (0, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        path: str = scope["path"]
        if path.startswith("/admin/"):
            await self._own(scope, receive, send)
            return
        self._at_once += 1
        self.counts["most at once"] = max(self._at_once, self.counts["most at once"])
        try:
            if path == TOKEN_PATH and scope["method"] == "POST":
                await self._token(scope, receive, send)
            else:
                await self._asked(scope, path, send)
        finally:
            self._at_once -= 1

    # ── tokens ──

    async def _token(self, scope: Scope, receive: Receive, send: Send) -> None:
        trouble = self._count("token", token=True)
        if trouble:
            await self._fail(trouble, scope, send)
            return
        headers = dict(scope["headers"])
        body = await body_of(receive)
        try:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            answer = self._tokens.exchange(content_type, body, self.troubles.token_seconds)
        except Refused as refused:
            await self._answer(send, 400, refused.body)
        else:
            await self._answer(send, 200, answer, (*_JSON, (b"cache-control", b"no-store")))

    # ── where is the card ──

    async def _asked(self, scope: Scope, path: str, send: Send) -> None:
        steps = path.split("/")
        if not is_status(steps):
            self._count("other")
            await self._answer(send, self._unknown, _ERRORS[self._unknown])
            return
        trouble = self._count("status")
        if trouble == "slow":
            await asyncio.sleep(self.troubles.slow_seconds)
        elif trouble == "revoked":
            self._tokens.revoke()
        elif trouble:
            await self._fail(trouble, scope, send, self._world.answer(steps[6]) or b"{}")
            return
        headers = dict(scope["headers"])
        status, body = self._status(scope["method"], steps[4], steps[6], headers)
        if b"x-correlation-id" in headers and status != 400:
            await self._answer(send, status, body, (*_JSON, (b"x-correlation-id", headers[b"x-correlation-id"])))
        else:
            await self._answer(send, status, body, _CHALLENGE if status == 401 else _JSON)

    def _status(self, method: str, issuer_id: str, card_id: str, headers: Mapping[bytes, bytes]) -> tuple[int, bytes]:
        if method != "GET":
            status = 405
        elif not self._tokens.is_valid(headers.get(b"authorization", b"")):
            status = 401
        elif not self._is_well_formed(issuer_id, card_id, headers):
            status = 400
        elif issuer_id != self._issuer_id:
            status = 403
        else:
            body = self._world.answer(card_id)
            if body is not None:
                return 200, body
            status = 404
        return status, _ERRORS[status]

    @staticmethod
    def _is_well_formed(issuer_id: str, card_id: str, headers: Mapping[bytes, bytes]) -> bool:
        correlation = headers.get(b"x-correlation-id")
        fits = correlation is None or _CORRELATION.fullmatch(correlation)
        return bool(fits and _ISSUER.fullmatch(issuer_id) and _CARD.fullmatch(card_id))

    # ── answers and none ──

    def _count(self, kind: str, *, token: bool = False) -> Kind:
        self.counts["calls"] += 1
        self.counts[kind] += 1
        second = int(time.monotonic())
        self._second = (second, self._second[1] + 1 if self._second[0] == second else 1)
        self.counts["most in a second"] = max(self._second[1], self.counts["most in a second"])
        trouble = trouble_of(self.counts["calls"], self.troubles, token=token)
        if trouble:
            self.counts[trouble] += 1
        return trouble

    async def _fail(self, trouble: Kind, scope: Scope, send: Send, body: bytes = b"{}") -> None:
        if trouble in {"reset", "torn"}:
            if trouble == "torn":
                await send({"type": "http.response.start", "status": 200, "headers": _head(body, _JSON)})
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            reset(scope[TRANSPORT])
            await asyncio.sleep(0)  # so that the server knows that nobody waits for an answer any more
        elif trouble == "gateway":
            await self._answer(send, 502, _PAGE, ((b"content-type", b"text/html"),))
        elif trouble == "forbidden":
            await self._answer(send, 403, _ERRORS[403])
        else:
            status = 429 if trouble == "limited" else 503
            after = str(self.troubles.retry_after).encode()
            more = ((b"retry-after", after),) if self.troubles.retry_after else ()
            await self._answer(send, status, _ERRORS[status], (*_JSON, *more))

    async def _answer(self, send: Send, status: int, body: bytes, headers: Headers = _JSON) -> None:
        self.counts[str(status)] += 1
        await send({"type": "http.response.start", "status": status, "headers": _head(body, headers)})
        await send({"type": "http.response.body", "body": body})


Own = Callable[[Scope, Receive, Send], Awaitable[None]]


def is_status(steps: list[str]) -> bool:
    """Whether this is `/banking/v1/issuers/{}/physicalCards/{}/productionStatus`, words in any letter case."""
    return len(steps) == 8 and [steps[place].lower() for place in (1, 2, 3, 5, 7)] == [
        "banking", "v1", "issuers", "physicalcards", "productionstatus",
    ]  # fmt: skip


async def body_of(receive: Receive) -> bytes:
    """Return the body of a call, cut where it is too large."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body[:MAX_BODY]


def reset(transport: asyncio.Transport) -> None:
    """Break a connection so that the peer gets a reset."""
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _head(body: bytes, headers: Headers) -> list[tuple[bytes, bytes]]:
    return [*headers, (b"content-length", b"%d" % len(body))]


# ── for those who run the test ───────────────────────────────────────────────────────────────────────────────


async def answer_json(send: Send, value: object, status: int = 200) -> None:
    """Answer with a value as JSON."""
    body = json.dumps(value).encode()
    await send({"type": "http.response.start", "status": status, "headers": _head(body, _JSON)})
    await send({"type": "http.response.body", "body": body})
