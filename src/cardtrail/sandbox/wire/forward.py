"""The far end of the wire where the receiver is elsewhere: an application that hands every call on to a URL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.http import Url
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from cardtrail.heed import heeded
from cardtrail.issuer.asgi import Receive, Scope, Send
from cardtrail.platform.target import target_of
from cardtrail.protocol.codec import MAX_BODY
from cardtrail.protocol.failure import Failure, failure_of
from cardtrail.protocol.problem import problem
from cardtrail.sandbox.wire.call import Answer, answer_of, give

TIMEOUT = 30.0
"""Longest call to the receiver, seconds."""
MAX_ANSWER = 1_048_576
"""Largest answer that is handed back, bytes."""
NO_CONTENT = 204
LEAVING = 0.05
"""How long half a body has to leave this machine before its connection ends, seconds."""
_OWN = frozenset({
    b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding",
    b"upgrade",
})  # fmt: skip
"""Headers that belong to one connection, and are not handed on."""


class _BrokenOff(Exception):
    """The caller has hung up in the middle of its body."""


class _TooLong(Exception):
    """The body is larger than anybody takes."""


class Forward:
    """An application that hands calls on to the receiver at `url`, below which their paths are. Close it in the end.

    What the receiver answers is answered; 502 or 504 where nothing comes. A call that breaks off breaks off there, too.
    Raises InputError naming `url`.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        target_of(url, True)  # noqa: FBT003 -- a cache tells names and positions apart
        self.url = url.rstrip("/")
        self._client = (
            ClientBuilder().no_proxy().follow_redirects(enable=False).referer(enable=False).http1_only()
            .gzip(enable=False).brotli(enable=False).zstd(enable=False).deflate(enable=False)
            .timeout(timedelta(seconds=timeout)).build()
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a call on, and its answer back."""
        try:
            body = await _whole(receive)
        except _BrokenOff as broken:
            await self._break(scope, broken.args[0])
            return
        except _TooLong:
            await give(send, answer_of(problem(413, "BODY_TOO_LARGE", f"at most {MAX_BODY} bytes")))
            return
        try:
            answer = await heeded(self._answered(scope, body))
        except PyreqwestError as error:
            answer = _failed(*failure_of(error))
        except ValueError:  # a header with letters that this client does not know
            answer = _failed(Failure.PROTOCOL, "a header cannot be handed on as it is")
        await give(send, answer)

    async def _answered(self, scope: Scope, body: bytes) -> Answer:
        async with self._request(scope).body_bytes(body).build_streamed() as response:
            return await _answer_of(response)

    def _request(self, scope: Scope) -> RequestBuilder:
        query = scope.get("query_string", b"").decode("latin-1")
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"] if name not in _OWN
        ]
        url = Url(self.url + path + (f"?{query}" if query else ""))
        return self._client.request(scope["method"], url).headers(headers)

    async def _break(self, scope: Scope, begun: bytes) -> None:
        """Send what was begun, and hang up in the middle of it."""
        length = next((value.decode() for name, value in scope["headers"] if name == b"content-length"), "")

        async def parts() -> AsyncIterator[bytes]:
            yield begun
            await asyncio.sleep(LEAVING)
            raise _BrokenOff

        request = self._request(scope).body_stream(parts())
        try:
            await (request.header("content-length", length) if length else request).build().send()
        except (PyreqwestError, _BrokenOff):
            return

    async def close(self) -> None:
        """End every call and connection."""
        await self._client.close()


async def _whole(receive: Receive) -> bytes:
    """Return a body. Raises _TooLong, or _BrokenOff with what came."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _BrokenOff(body)
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise _TooLong
    return body


async def _answer_of(response: Response) -> Answer:
    """Return what the receiver answers; 502 where that is more than anybody wants."""
    parts: list[bytes] = []
    while (chunk := await response.body_reader.read_chunk()) is not None:
        parts.append(bytes(chunk))
        if sum(map(len, parts)) > MAX_ANSWER:
            return _failed(Failure.TOO_LONG, f"the answer has more than {MAX_ANSWER} bytes")
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    answer = Answer(response.status, [pair for pair in pairs if pair[0] not in _OWN], b"")
    return answer if response.status == NO_CONTENT else answer.changed(b"".join(parts), ())


def _failed(failure: Failure, text: str) -> Answer:
    status = 504 if failure is Failure.TIMEOUT else 502
    return answer_of(problem(status, "RECEIVER_UNREACHABLE", f"the receiver gave no answer: {text}"))
