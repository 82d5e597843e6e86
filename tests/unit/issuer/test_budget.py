"""Calls a second and a day: never more than allowed, a share for the sweep, and a patience that follows the need."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.issuer.budget import BURST, DAY, MOST, SECOND, SWEEP_AFTER, Budget, Limits, Usage, bound_of

NOW = 20_000 * DAY


@pytest.mark.parametrize(
    "given", [(0, 1, 0.2), (1, 0, 0.2), (-1, 5, 0.2), (1, 5, 0.0), (1, 5, 1.5), (float("nan"), 5, 0.2)]
)
def test_what_is_no_limit_is_refused(given: tuple[float, int, float]) -> None:
    per_second, per_day, share = given
    with pytest.raises(ValueError, match="above 0"):
        Limits(per_second=per_second, per_day=per_day, sweep_share=share)


@given(st.lists(st.tuples(st.integers(0, 4 * 3_600), st.integers(0, 500), st.integers(0, 500)), max_size=60),
       st.integers(1, 2_000), st.floats(0.01, 50))  # fmt: skip
def test_no_day_and_no_second_has_more_calls_than_allowed(
    asked: list[tuple[int, int, int]], per_day: int, per_second: float
) -> None:
    budget, now = Budget(Limits(per_second=per_second, per_day=per_day)), NOW
    granted: list[tuple[int, int]] = []
    for pause, due, sweep in asked:
        now += pause * SECOND
        granted.append((now, budget.grant(now, due=due, sweep=sweep).calls))
    for day in {at // DAY for at, _ in granted}:
        assert sum(calls for at, calls in granted if at // DAY == day) <= per_day
    for first, (begin, _) in enumerate(granted):
        calls = 0
        for at, count in granted[first:]:
            calls += count
            assert calls <= per_second * (at - begin) / SECOND + max(1.0, per_second * BURST) + 1


def test_a_restart_does_not_give_the_calls_of_a_day_back() -> None:
    limits, usage = Limits(per_second=100, per_day=50), Usage()
    calls = 0
    for minute in range(24 * 60):
        budget = Budget(limits, usage)
        calls += budget.grant(NOW + minute * 60 * SECOND, due=100).calls
        usage = budget.usage
    assert calls == usage.calls == 50


def test_the_next_day_has_calls_again_and_one_that_is_over_says_how_long_to_wait() -> None:
    budget = Budget(Limits(per_second=1_000, per_day=10), Usage(NOW // DAY, NOW // DAY, due=10))
    grant = budget.grant(NOW + DAY // 2, due=5)
    assert (grant.calls, grant.wait) == (0, DAY // 2)
    assert budget.grant(NOW + DAY, due=5).calls > 0


def test_nothing_is_granted_where_nothing_is_wanted() -> None:
    grant = Budget(Limits(per_second=10, per_day=1_000)).grant(NOW)
    assert (grant.calls, grant.wait) == (0, 0)


def test_the_sweep_keeps_its_share_and_others_get_what_it_leaves() -> None:
    budget = Budget(Limits(per_second=10, per_day=10**6, sweep_share=0.25))
    grants = [budget.grant(NOW + second * SECOND, due=1_000, looks=1_000, sweep=1_000) for second in range(1_000)]
    calls = sum(grant.calls for grant in grants)
    assert 0.24 <= sum(grant.sweep for grant in grants) / calls <= 0.27
    alone = Budget(Limits(per_second=10, per_day=10**6)).grant(NOW, sweep=1_000)
    assert alone.sweep == alone.calls > 0


def test_due_cards_come_before_last_looks() -> None:
    grant = Budget(Limits(per_second=100, per_day=10**6, sweep_share=0.01)).grant(NOW, due=60, looks=1_000)
    assert grant.due == 60
    assert grant.looks > 0


def test_no_more_than_a_round_is_granted_at_once() -> None:
    assert Budget(Limits(per_second=10_000, per_day=10**9)).grant(NOW, due=10**6).calls <= MOST


def test_a_clock_that_is_put_back_neither_stops_the_calls_nor_gives_them_back() -> None:
    budget = Budget(Limits(per_second=10, per_day=1_000_000))
    before = sum(budget.grant(NOW + DAY + second * SECOND, due=10).calls for second in range(10))
    after = sum(budget.grant(NOW + second * SECOND, due=10).calls for second in range(10))
    assert after > 0
    assert budget.usage.calls == before + after


def test_patience_grows_where_calls_are_short_and_falls_where_they_are_left_over() -> None:
    def patience(per_day: int) -> list[float]:
        budget, found = Budget(Limits(per_second=100, per_day=per_day)), []
        for day in range(8):
            for hour in range(24):
                budget.grant(NOW + day * DAY + hour * DAY // 24, due=50)
            found.append(budget.usage.patience)
        return found

    assert all(sooner <= later for sooner, later in pairwise(patience(100)))
    assert patience(100)[-1] > patience(100)[0]
    assert patience(100_000)[-1] < patience(100_000)[0]


def test_the_bound_is_the_wait_before_the_sweeps_line_and_the_whole_line() -> None:
    """Regression: the wait before a card joins the line was left out where the line is longer than a day."""
    limits = Limits(per_second=100, per_day=1_000, sweep_share=0.2)
    assert bound_of(0, limits) == SWEEP_AFTER
    assert bound_of(200, limits) == SWEEP_AFTER + DAY
    assert bound_of(2_000, limits) == SWEEP_AFTER + 10 * DAY
