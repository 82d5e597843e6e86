"""Cancellations that the HTTP client loses, heeded all the same.

Where a task is cancelled in the moment in which its answer comes, pyreqwest gives the answer, and the task goes on as
if nobody had cancelled it (seen with 0.15: one in thirty, where the two are a millisecond apart). Whoever waits for
the task to end then waits for ever.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeded(call: Awaitable[T]) -> T:
    """Return what a call gives, or raise what it raises; or CancelledError where the task was cancelled meanwhile."""
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        return await call
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
