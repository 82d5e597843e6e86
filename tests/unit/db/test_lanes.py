"""Lanes never leave anything waiting."""

import asyncio
from collections import deque

from cardtrail.db import Lanes


async def worked_off(callers: int, most: int) -> int:
    """Let each caller hand in its next piece the moment its last one is done; return how many were done."""
    waiting: deque[asyncio.Future[None]] = deque()
    done = 0

    async def drain() -> None:
        nonlocal done
        while waiting:
            piece = waiting.popleft()
            await asyncio.sleep(0)
            piece.set_result(None)
            done += 1

    lanes = Lanes(most, drain)

    async def caller() -> None:
        for _ in range(20):
            piece = asyncio.get_running_loop().create_future()
            waiting.append(piece)
            lanes.wake()
            async with asyncio.timeout(5):
                await piece

    await asyncio.gather(*(caller() for _ in range(callers)))
    await lanes.ended()
    return done


def test_a_caller_that_comes_just_as_a_lane_ends_is_not_left_waiting() -> None:
    """The lane was counted as running until the callback of its task: the caller woke nobody and waited for ever."""
    assert asyncio.run(worked_off(callers=1, most=1)) == 20
    assert asyncio.run(worked_off(callers=64, most=2)) == 64 * 20
