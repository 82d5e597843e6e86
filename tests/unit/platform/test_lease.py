"""Leases of lanes on both engines: one holder at a time, whatever the clocks do."""

import asyncio
from collections.abc import Iterator

import pytest

from cardtrail.platform.app import MAX_DELIVERY_TIMEOUT
from cardtrail.platform.deliver import MAX_LANES, MOST_NEW, lease_seconds
from cardtrail.platform.lease import MAX_LOOK, MAX_SECONDS, SECOND, Lease, Leases
from tests.delivering import Delivering, delivering
from tests.desk import execute
from tests.serving import ISSUER

KEY = (ISSUER, "one")
SPAN = 30.0


@pytest.fixture
def site(database_url: str) -> Iterator[Delivering]:
    """A desk with one endpoint, to which one notification goes."""
    with delivering(database_url) as opened:
        opened.add("http://127.0.0.1:9")
        opened.order("a")
        yield opened


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def leases(site: Delivering, clock: Clock | None = None) -> Leases:
    return Leases(site.desk.db, SPAN, clock or Clock())


def acquire(site: Delivering, mine: Leases) -> list[Lease]:
    return site.desk.run(mine.acquire([KEY]))


def shift(site: Delivering, seconds: float) -> None:
    """Move the end of the lease, as if the database's clock had moved the other way."""
    execute(site.desk.url, f"UPDATE lane SET leased_until = leased_until + {round(seconds * SECOND)}")  # noqa: S608 - our own


def test_one_of_two_has_it_and_the_other_neither_sees_nor_gets_it(site: Delivering) -> None:
    one, two = leases(site), leases(site)
    [mine] = acquire(site, one)
    assert (mine.key, mine.fence, mine.until) == (KEY, 1, 100.0 + SPAN)
    assert acquire(site, two) == []
    assert site.desk.run(two.look(site.desk.now)) == []
    assert [work.key for work in site.desk.run(one.look(site.desk.now))] == [KEY]


def test_of_many_at_once_one_has_it(site: Delivering) -> None:
    many = [leases(site) for _ in range(12)]

    async def all_at_once() -> list[list[Lease]]:
        return await asyncio.gather(*(each.acquire([KEY]) for each in many))

    assert sorted(len(had) for had in site.desk.run(all_at_once())) == [0] * 11 + [1]


def test_it_is_taken_over_when_it_ran_out_and_the_fence_rises(site: Delivering) -> None:
    one, two = leases(site), leases(site)
    [mine] = acquire(site, one)
    shift(site, -SPAN - 1)
    [theirs] = acquire(site, two)
    assert theirs.fence == mine.fence + 1
    assert site.desk.run(one.renew([mine])) == [mine]
    site.desk.run(one.release([mine]))
    assert site.lane()["holder"] == two.holder, "who lost it releases nothing"


def test_it_is_kept_by_renewing_and_the_time_counts_from_before_the_question(site: Delivering) -> None:
    clock = Clock()
    one = leases(site, clock)
    [mine] = acquire(site, one)
    shift(site, 1 - SPAN)
    clock.now = 129.0
    assert site.desk.run(one.renew([mine])) == []
    assert mine.until == 129.0 + SPAN
    assert acquire(site, leases(site)) == []


def test_it_is_free_at_once_when_it_was_released(site: Delivering) -> None:
    one = leases(site)
    site.desk.run(one.release(acquire(site, one)))
    [theirs] = acquire(site, leases(site))
    assert theirs.fence == 2


def test_a_released_one_is_not_renewed(site: Delivering) -> None:
    one = leases(site)
    [mine] = acquire(site, one)
    site.desk.run(one.release([mine]))
    assert site.desk.run(one.renew([mine])) == [mine]


@pytest.mark.parametrize("jump", [-3 * SPAN, MAX_SECONDS, 10 * 365 * 86_400.0], ids=["ahead", "back", "ten years back"])
def test_after_a_jump_of_the_databases_clock_a_dead_holders_lane_is_taken_over(site: Delivering, jump: float) -> None:
    """The clock jumps ahead: the lease has run out. It jumps back: the lease would end absurdly late."""
    one, two = leases(site), leases(site)
    [mine] = acquire(site, one)
    shift(site, jump)
    assert [work.key for work in site.desk.run(two.look(site.desk.now))] == [KEY]
    [theirs] = acquire(site, two)
    assert theirs.fence == mine.fence + 1


def test_a_small_step_of_the_databases_clock_takes_nothing_from_its_holder(site: Delivering) -> None:
    [_] = acquire(site, leases(site))
    for seconds in (SPAN / 2, -SPAN):
        shift(site, seconds)
        assert acquire(site, leases(site)) == []


def test_a_process_with_shorter_calls_takes_nothing_from_one_with_longer_ones(site: Delivering) -> None:
    """Was a bug: its own leases were its measure, so that both sent while a setting was being changed."""
    [_] = acquire(site, leases(site))
    hasty = Leases(site.desk.db, SPAN / 10, Clock())
    assert acquire(site, hasty) == []
    assert site.desk.run(hasty.look(site.desk.now)) == []
    assert lease_seconds(MAX_DELIVERY_TIMEOUT) <= MAX_SECONDS


def test_what_a_process_lost_sight_of_it_gets_again_at_once(site: Delivering) -> None:
    """As after a commit whose answer was lost."""
    one = leases(site)
    [mine] = acquire(site, one)
    [again] = acquire(site, one)
    assert again.fence == mine.fence + 1


def test_nothing_is_asked_of_the_store_where_nothing_is_wanted(
    site: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = leases(site)
    with monkeypatch.context() as broken:
        broken.setattr(site.desk.db, "transact", None)
        assert site.desk.run(one.acquire([])) == []
        assert site.desk.run(one.renew([])) == []
        site.desk.run(one.release([]))


def test_a_look_sees_what_is_due_and_what_is_to_be_moved(site: Delivering) -> None:
    one, now = leases(site), site.desk.now

    def seen(at: int) -> list[tuple[str, bool]]:
        return [(work.key[1], work.has_chore) for work in site.desk.run(one.look(at))]

    assert seen(now) == [("one", False)]
    assert seen(now - 1_000_000) == []
    site.disable()
    assert seen(now - 1_000_000) == [("one", True)]
    execute(site.desk.url, "UPDATE lane SET chore = 0")
    assert seen(now) == []


def test_the_lanes_of_a_process_that_is_busy_with_all_it_can_hold_hide_no_other() -> None:
    """Was a bug: 500 busy lanes were all that it saw."""
    assert MAX_LOOK >= MAX_LANES + MOST_NEW
