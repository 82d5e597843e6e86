"""Work that goes on when its call has been answered: a bounded number of hand-overs, all ended at the close."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

MAX_LATER = 1_000
"""Most hand-overs that wait; what would be one more is handed over at once."""

_log = structlog.get_logger()


class Later:
    """Hand-overs in the background."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_full(self) -> bool:
        """Whether no more can wait."""
        return len(self._tasks) >= MAX_LATER

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work go on; whoever calls has asked whether there is room."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("late_hand_over", error=repr(task.exception()))

    async def close(self) -> None:
        """End all that waits; what was not handed over never is."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
