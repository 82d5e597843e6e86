"""Virtual time: it runs, stands, jumps, and never goes back."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.order import SECOND
from cardtrail.errors import InputError
from cardtrail.sandbox.world.clock import VirtualClock, coming_monday, told_instant, wire_instant
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES, MAX_SPAN

START = int(datetime(2026, 1, 5, 6, tzinfo=UTC).timestamp()) * SECOND


class Real:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_runs_so_many_times_as_fast_and_from_where_it_was() -> None:
    real = Real()
    clock = VirtualClock(START, 1_000, real)
    real.now += 2
    assert clock() == START + 2_000 * SECOND
    clock.run(10)
    real.now += 1
    assert clock() == START + 2_010 * SECOND
    clock.pause()
    real.now += 50
    assert (clock(), clock.word) == (START + 2_010 * SECOND, "paused")
    clock.advance(5 * SECOND)
    assert clock() == START + 2_015 * SECOND
    clock.toggle()
    real.now += 1
    assert (clock(), clock.word) == (START + 2_025 * SECOND, "10x")


MOVES = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 1_000)),
    st.tuples(st.just("run"), st.sampled_from([0.5, 1, 1e6, AS_FAST_AS_IT_GOES])),
    st.tuples(st.just("advance"), st.integers(0, MAX_SPAN)),
    st.tuples(st.just("reach"), st.integers(-MAX_SPAN, MAX_SPAN)),
    st.tuples(st.sampled_from(["pause", "resume", "toggle"]), st.none()),
)  # fmt: skip


@given(st.lists(MOVES, max_size=20))
def test_whatever_is_done_it_never_goes_back(moves: list[tuple[str, float]]) -> None:
    real = Real()
    clock, before = VirtualClock(START, 1, real), START
    for move, value in moves:
        if move == "wait":
            real.now += value
        elif value is None:
            getattr(clock, move)()
        else:
            getattr(clock, move)(START + value if move == "reach" else value)
        assert clock() >= before
        before = clock()


@pytest.mark.parametrize("span", [-1, MAX_SPAN + 1])
def test_time_only_goes_ahead_and_not_for_ever(span: int) -> None:
    with pytest.raises(InputError, match="ahead") as refusal:
        VirtualClock(START).advance(span)
    assert refusal.value.field == "span"


def test_at_max_it_stands_until_something_is_waited_for_and_then_it_is_there() -> None:
    async def play() -> None:
        clock = VirtualClock(START, AS_FAST_AS_IT_GOES)
        await asyncio.wait_for(clock.until(START + MAX_SPAN), 5)
        assert clock() == START + MAX_SPAN

    asyncio.run(play())


def test_who_waits_is_woken_by_every_change_and_by_the_time() -> None:
    async def play() -> None:
        clock = VirtualClock(START, 1)
        for change in (clock.touch, clock.pause, lambda: clock.run(2), lambda: clock.advance(1)):
            waiting = asyncio.create_task(clock.until(None if change == clock.touch else START + MAX_SPAN))
            await asyncio.sleep(0)
            assert not waiting.done()
            change()
            await asyncio.wait_for(waiting, 5)
        clock.run(1_000)
        at = clock() + 20 * SECOND
        await asyncio.wait_for(clock.until(at), 5)
        assert clock() >= at

    asyncio.run(play())


@given(st.integers(0, 4_000_000_000))
def test_a_world_begins_on_a_monday_morning_to_come(seconds: int) -> None:
    monday = coming_monday(seconds * SECOND)
    assert 0 < monday - seconds * SECOND <= 8 * 86_400 * SECOND
    assert told_instant(monday).startswith("Mon")
    assert wire_instant(monday).endswith("T06:00:00.000Z")
