"""A task that is cancelled as its answer comes is cancelled: the HTTP client alone loses one in some thirty."""

import asyncio

import pytest

from cardtrail.heed import heeded


async def answer_in_spite_of(answered: asyncio.Event) -> str:
    """Do as the HTTP client does: lose the cancellation that comes in the moment of the answer."""
    try:
        await answered.wait()
    except asyncio.CancelledError:
        return "answer"
    return "answer"


def test_a_cancellation_that_the_http_client_loses_is_heeded() -> None:
    """One of eighty sandboxes did not end: its watch was cancelled in a call, and went on for ever."""

    async def play() -> None:
        task = asyncio.create_task(heeded(answer_in_spite_of(asyncio.Event())))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(play())


def test_a_time_out_that_the_http_client_loses_is_heeded() -> None:
    async def play() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await heeded(answer_in_spite_of(asyncio.Event()))

    asyncio.run(play())


def test_an_answer_and_an_error_come_through_where_nobody_cancels() -> None:
    async def fail() -> None:
        raise ValueError("as it is")

    async def play() -> None:
        answered = asyncio.Event()
        answered.set()
        assert await heeded(answer_in_spite_of(answered)) == "answer"
        with pytest.raises(ValueError, match="as it is"):
            await heeded(fail())

    asyncio.run(play())
