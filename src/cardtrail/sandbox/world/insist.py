"""A call that is made again until it is answered, or until whoever waits for it has waited long enough."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from cardtrail.errors import StoreUnavailable

FIRST_SECONDS = 0.05
"""Wait before a call is made again; each further one is twice as long."""
RETRY_SECONDS = 1.0
"""The longest."""
PATIENCE_SECONDS = 10.0
"""How long a call is made again for somebody who waits."""

R = TypeVar("R")
_log = structlog.get_logger()


async def insist(call: Callable[[], Awaitable[R]], seconds: float) -> R:
    """Make a call until it is answered. Raises what it raises, and StoreUnavailable only after so many seconds."""
    deadline, pause = time.monotonic() + seconds, FIRST_SECONDS
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            if time.monotonic() + pause > deadline:
                raise StoreUnavailable(f"the platform does not answer within {seconds:g} s: {error}") from None
            _log.warning("tried_again", error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS)
