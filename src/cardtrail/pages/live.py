"""Live pages: a stream that says when an issuer's cards have moved, so that a page is drawn anew only then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cardtrail.errors import StoreUnavailable
from cardtrail.pages.door.visitor import issuer_of

EVERY = 2.0
"""Seconds between two looks at an issuer's counter."""
MAX_STREAMS = 200
"""Most pages that are live at once; a further one is drawn anew only by hand."""
MAX_SECONDS = 3_600.0
"""After so long a page asks anew, and whoever may not see it any more is let in no longer."""
PING = b": still here\n\n"
MOVED = b"event: moved\ndata: \n\n"


Newest = Callable[[str], Awaitable[int]]
"""Returns the number of an issuer's newest change, by one read of its key."""


class Streams:
    """The live pages of one process."""

    def __init__(self, newest: Newest) -> None:
        self._read = newest
        self._open = 0
        self._ended = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether no further page may be live."""
        return self._open >= MAX_STREAMS

    def release(self) -> None:
        """End all streams: the service stops."""
        self._ended.set()

    async def answer(self, request: Request) -> Response:
        """Say when the issuer's cards have moved, for as long as the page is open. Raises HTTPException 404 or 503."""
        issuer_id, _ = issuer_of(request)
        if self.is_full:
            raise HTTPException(503, "too many pages are live; this one is drawn anew by hand")
        return StreamingResponse(self.of_issuer(issuer_id), media_type="text/event-stream")

    async def of_issuer(self, issuer_id: str, *, every: float = EVERY) -> AsyncIterator[bytes]:
        """Yield `MOVED` whenever the issuer's newest change is another one, and pings meanwhile."""
        self._open += 1
        try:
            seen = await self._newest(issuer_id)
            yield PING
            for _ in range(int(MAX_SECONDS / every)):
                if await self._is_over(every):
                    return
                now = await self._newest(issuer_id)
                yield PING if now == seen else MOVED
                seen = now
        finally:
            self._open -= 1

    async def _is_over(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def _newest(self, issuer_id: str) -> int:
        try:
            return await self._read(issuer_id)
        except StoreUnavailable:
            return -1
