"""Things that a test which calls and waits needs beside it: a receiver on a thread of its own, and patience."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

from tests.receiver import Receiver
from tests.serving import PATIENCE

T = TypeVar("T")
LOOPBACK = ("--egress-http", "--egress-allow", "127.0.0.0/8")
"""Options with which a service calls a receiver of a test."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    receiver, loop = Receiver(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(receiver.start(), loop).result(PATIENCE)
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(_end(receiver), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


@contextmanager
def beside(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Hold an asynchronous context on a thread of its own until the block ends; yield what it gives."""
    begun: Future[tuple[T, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def hold() -> None:
        end = asyncio.Event()
        async with context as given:
            begun.set_result((given, asyncio.get_running_loop(), end))
            await end.wait()

    with ThreadPoolExecutor(1) as aside:
        holding = aside.submit(asyncio.run, hold())
        either: list[Future[Any]] = [begun, holding]
        wait(either, PATIENCE, FIRST_COMPLETED)
        if not begun.done():
            holding.result(0)  # raises what was in its way
        given, loop, end = begun.result(0)
        try:
            yield given
        finally:
            loop.call_soon_threadsafe(end.set)
            holding.result(PATIENCE)


async def _end(receiver: Receiver) -> None:
    await receiver.stop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def eventually(look: Callable[[], T]) -> T:
    """Look until there is something to see, and return it; each look takes its time, so there is no pause."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
    return seen
