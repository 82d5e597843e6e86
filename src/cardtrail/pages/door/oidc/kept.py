"""A document of somebody else's, fetched once for all who ask, and kept for a while."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from cardtrail.errors import RemoteError

LIFE = 3_600.0
"""How long a document is used, seconds."""
PAUSE = 30.0
"""How often it is fetched at most, whoever hopes for a newer one, seconds."""
HOLD_OFF = 5.0
"""For how long after a failure nobody tries again, seconds: its error is everybody's."""
T = TypeVar("T")


class Kept(Generic[T]):
    """What `fetch` gives. `monotonic` gives seconds."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._found: tuple[float, T] | None = None
        self._failed: tuple[float, RemoteError] | None = None

    async def get(self, *, newer: bool = False) -> T:
        """Return the document; with `newer` fetch it again unless that was a moment ago. Raises RemoteError."""
        async with self._lock:
            now, most = self._monotonic(), PAUSE if newer else LIFE
            if self._found is not None and now - self._found[0] < most:
                return self._found[1]
            if self._failed is not None and now - self._failed[0] < HOLD_OFF:
                raise copy.copy(self._failed[1])  # raised by many, and each adds its own traceback
            try:
                value = await self._fetch()
            except RemoteError as error:
                self._failed = (self._monotonic(), error)
                raise
            self._found, self._failed = (now, value), None
            return value
