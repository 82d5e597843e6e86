"""A connection on which bytes go out as a case wants them: slowly, half of them, in pieces."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from cardtrail.sandbox.examine.answer import Answer
from cardtrail.sandbox.examine.candidate import PORTS, Candidate
from cardtrail.sandbox.examine.case import Failed, Silent

CONNECT_SECONDS = 5.0
"""Longest time to connect."""
MAX_BODY = 1_048_576
"""Longest body of an answer that is read, bytes."""
MAX_INTERIM = 10
"""Most answers that only say to go on (1xx) before the final one."""
LIMIT = 65_536
"""Longest head of an answer, bytes."""

_LINE_END = b"\r\n"
_WITHOUT_BODY = frozenset({204, 304})


class Line:
    """One connection; `hide` takes what is secret from what is shown of its answers."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hide: Callable[[str], str] = str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._hide = hide

    async def send(self, data: bytes) -> bool:
        """Send bytes; return False where the other side has hung up."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            return False
        return not self._writer.is_closing()

    async def answer(self, seconds: float) -> Answer:
        """Read one answer; those that only say to go on (100) are passed over. Raises Failed, or Silent without one."""
        for _ in range(MAX_INTERIM):
            answer = await self._one(seconds)
            if answer.status >= 200:  # noqa: PLR2004 -- an HTTP status
                return answer
        raise Failed(f"it says {MAX_INTERIM} times to go on and never answers")

    async def early_answer(self, seconds: float) -> Answer | None:
        """Wait for the 100 that an `Expect` asks for; return a final answer that comes instead. Raises Failed."""
        try:
            answer = await self._one(seconds)
        except Silent as silent:
            if silent.is_closed:
                raise
            return None
        return None if answer.status < 200 else answer  # noqa: PLR2004 -- an HTTP status

    async def _one(self, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await self._answer()
        except TimeoutError:
            raise Silent(f"no answer within {seconds:.0f} seconds") from None
        except (asyncio.IncompleteReadError, OSError):
            raise Silent("the connection was closed without an answer", is_closed=True) from None
        except (ValueError, IndexError, asyncio.LimitOverrunError):
            raise Failed("the answer is not HTTP") from None

    async def _answer(self) -> Answer:
        version, status, headers = await self._head()
        body, ends = b"", _ends(version, headers)
        if status in _WITHOUT_BODY or status < 200:  # noqa: PLR2004 -- an HTTP status
            pass
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body = await self._chunks()
        elif "content-length" in headers:
            body = await self._reader.readexactly(_size(headers["content-length"], 10))
        else:
            body, ends = await self._reader.read(MAX_BODY), True
        return Answer(status, headers, body, self._hide, ends)

    async def _head(self) -> tuple[str, int, dict[str, str]]:
        text = (await self._reader.readuntil(2 * _LINE_END)).decode("latin-1")
        first, *lines = text.strip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if not first.startswith("HTTP/1."):
            raise ValueError("no status line")
        version, status = first.split(" ")[:2]
        return version, int(status), headers

    async def _chunks(self) -> bytes:
        body = b""
        while size := _size((await self._reader.readuntil(_LINE_END)).partition(b";")[0].decode("latin-1"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(len(_LINE_END))
            if len(body) > MAX_BODY:
                raise ValueError("too long")
        while await self._reader.readuntil(_LINE_END) != _LINE_END:
            pass
        return body


def _ends(version: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a connection ends behind an answer. RFC 9112 section 9.3."""
    words = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    return "close" in words or (version == "HTTP/1.0" and "keep-alive" not in words)


def _size(text: str, radix: int) -> int:
    size = int(text.strip(), radix)
    if not 0 <= size <= MAX_BODY:
        raise ValueError("too long")
    return size


@asynccontextmanager
async def connected(candidate: Candidate) -> AsyncIterator[Line]:
    """Connect to a candidate, by TLS where its URL says so, and hang up at the end. Raises Silent."""
    parts = candidate.parts
    context = _context(candidate) if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or PORTS[parts.scheme], ssl=context, limit=LIMIT
            )
    except TimeoutError:
        raise Silent(f"no connection within {CONNECT_SECONDS:.0f} seconds") from None
    except OSError as error:
        raise Silent(f"no connection: {error}") from None
    try:
        yield Line(reader, writer, candidate.hide)
    finally:
        writer.transport.abort()


def _context(candidate: Candidate) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if candidate.ca_pem:
        context.load_verify_locations(cadata=candidate.authorities)
    return context


def head_of(candidate: Candidate, headers: Mapping[str, str], method: str = "POST") -> bytes:
    """Return the head of a request to a candidate."""
    named = {"host": candidate.parts.netloc, **headers}
    lines = [f"{method} {candidate.path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
