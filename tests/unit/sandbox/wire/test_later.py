"""Work in the background is bounded, told when it fails, and ended at the close."""

import asyncio

import pytest
from structlog.testing import capture_logs

from cardtrail.sandbox.wire import later as module
from cardtrail.sandbox.wire.later import Later


def test_it_is_full_when_as_much_waits_as_may_and_has_room_when_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LATER", 1)

    async def play() -> None:
        later, gate = Later(), asyncio.Event()

        async def wait() -> None:
            await gate.wait()

        later.begin(wait())
        assert (later.is_full, len(later)) == (True, 1)
        gate.set()
        await asyncio.gather(*later._tasks)
        await asyncio.sleep(0)
        assert (later.is_full, len(later)) == (False, 0)

    asyncio.run(play())


def test_what_fails_is_told_and_harms_nothing_else() -> None:
    async def play() -> None:
        later = Later()

        async def fail() -> None:
            raise ValueError("broken")

        later.begin(fail())
        await asyncio.gather(*later._tasks, return_exceptions=True)
        await later.close()

    with capture_logs() as told:
        asyncio.run(play())
    assert "broken" in str(told)


def test_what_was_only_just_begun_is_ended_too() -> None:
    async def play() -> list[str]:
        later, done = Later(), list[str]()

        async def work() -> None:
            await asyncio.sleep(3_600)
            done.append("late")

        later.begin(work())
        await later.close()
        assert len(later) == 0
        return done

    assert asyncio.run(play()) == []
