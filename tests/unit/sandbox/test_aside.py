"""A thread with a loop: results and errors come back, waits end, and nothing is left behind."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from cardtrail.sandbox.aside import Aside

PATIENCE = 30.0


def opening(closed: list[str], broken: Exception | None = None) -> Callable[[], AbstractAsyncContextManager[str]]:
    """What gives a text while it is open, and breaks when `broken` is set as an error."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as group:
            if broken is not None:
                group.create_task(_breaking(broken))
            yield "inside"
        closed.append(threading.current_thread().name)

    return opened


async def _breaking(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def there() -> str:
    return threading.current_thread().name


async def wrong() -> None:
    raise ValueError("wrong")


async def for_ever() -> None:
    await asyncio.Event().wait()


async def late() -> None:
    raise TimeoutError("its own")


def test_calls_run_on_the_thread_and_their_results_come_back() -> None:
    closed: list[str] = []
    aside = Aside(opening(closed), "thread of the test")
    assert aside.start() == "inside"
    assert aside.call(there, PATIENCE, "there") == "thread of the test"
    aside.stop()
    assert closed == ["thread of the test"]
    assert "thread of the test" not in {thread.name for thread in threading.enumerate()}


def test_what_a_call_raises_is_raised_and_the_next_one_works() -> None:
    aside = Aside(opening([]), "aside")
    aside.start()
    with pytest.raises(ValueError, match="wrong"):
        aside.call(wrong, PATIENCE, "wrong")
    with pytest.raises(TimeoutError, match="its own"):
        aside.call(late, PATIENCE, "late")
    assert aside.call(there, PATIENCE, "there") == "aside"
    aside.stop()


def test_a_wait_that_is_too_long_says_for_what_and_ends_the_call() -> None:
    ended = threading.Event()

    async def waits() -> None:
        try:
            await for_ever()
        finally:
            ended.set()

    aside = Aside(opening([]), "aside")
    aside.start()
    with pytest.raises(TimeoutError, match=r"delivery: not done within 0\.05 s"):
        aside.call(waits, 0.05, "delivery")
    assert ended.wait(PATIENCE)
    aside.stop()


def test_what_cannot_be_opened_is_raised_by_start() -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        raise ValueError("not today")
        yield ""

    with pytest.raises(ValueError, match="not today"):
        Aside(opened, "aside").start()


def test_what_takes_too_long_to_open_is_told() -> None:
    go = threading.Event()

    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        await asyncio.to_thread(go.wait, PATIENCE)
        yield ""

    aside = Aside(opened, "aside")
    with pytest.raises(TimeoutError, match=r"aside: not open within 0\.05 s"):
        aside.start(0.05)
    go.set()
    aside._ready.result(PATIENCE)
    aside.stop()


def test_what_breaks_inside_is_raised_by_whoever_waits_by_later_calls_and_by_stop() -> None:
    aside = Aside(opening([], ValueError("broken")), "aside")
    aside.start()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"aside: ValueError\('broken'\)"):
            aside.call(for_ever, PATIENCE, "for ever")
    with pytest.raises(ValueError, match="broken"):
        aside.stop()
