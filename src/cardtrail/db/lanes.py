"""Lanes: a few tasks that work off what is waiting, started when something comes and ended when nothing is left."""

import asyncio
from collections.abc import Awaitable, Callable


class Lanes:
    """At most `most` runs of `drain` side by side; `drain` returns when nothing waits any more."""

    def __init__(self, most: int, drain: Callable[[], Awaitable[None]]) -> None:
        self._most = most
        self._drain = drain
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something waits: start a lane unless all are running."""
        if len(self._tasks) < self._most:
            self._tasks.add(asyncio.create_task(self._run()))

    async def _run(self) -> None:
        try:
            await self._drain()
        finally:
            # Here and not in a callback of the task, which would come too late: whoever is woken between the last
            # look at the queue and that callback would find a lane that is counted and never looks again.
            self._tasks.discard(asyncio.current_task())

    async def ended(self) -> None:
        """Wait until no lane runs."""
        while self._tasks:
            await asyncio.wait(self._tasks)
