"""The published schedule, step by step, and what may stretch it."""

import pytest

from cardtrail.core.schedule import (
    HOUR,
    MAX_ATTEMPTS,
    MINUTE,
    SECOND,
    STEPS,
    next_due,
    probe_after,
)

NOW = 1_767_600_060_000_000
PUBLISHED = {
    1: 5 * SECOND, 2: 30 * SECOND, 3: 2 * MINUTE, 4: 10 * MINUTE, 5: 30 * MINUTE, 6: HOUR, 7: 2 * HOUR, 8: 4 * HOUR,
    9: 8 * HOUR, 10: 8 * HOUR, 11: 8 * HOUR, 12: 8 * HOUR, 13: 8 * HOUR, 14: 8 * HOUR, 15: 8 * HOUR, 16: 8 * HOUR,
}  # fmt: skip
MOST = 0.9999999


@pytest.mark.parametrize(("attempt", "wait"), PUBLISHED.items())
def test_each_attempt_is_followed_by_its_published_wait(attempt: int, wait: int) -> None:
    assert next_due(attempt, NOW, 0.0) == NOW + wait


@pytest.mark.parametrize("attempt", [17, 18, 1_000])
@pytest.mark.parametrize("retry_after", [None, 60])
def test_the_seventeenth_attempt_is_the_last(attempt: int, retry_after: int | None) -> None:
    assert MAX_ATTEMPTS == 17
    assert next_due(attempt, NOW, 0.0, retry_after) is None


def test_the_schedule_spans_three_days_to_within_one_step() -> None:
    assert 64 * HOUR < sum(STEPS) <= 72 * HOUR
    assert sum(STEPS) == 258_155 * SECOND


@pytest.mark.parametrize(
    ("attempt", "retry_after", "wait"),
    [
        (1, None, 5), (1, 0, 5), (1, 4, 5), (1, 5, 5), (1, 6, 6), (1, 3_600, 3_600), (1, 86_400, 86_400),
        (1, 86_401, 86_400), (1, 10**30, 86_400), (1, -10**30, 5), (9, 3_600, 28_800), (16, 86_400, 86_400),
    ],
)  # fmt: skip
def test_a_receiver_may_ask_for_more_time_up_to_a_day(attempt: int, retry_after: int | None, wait: int) -> None:
    assert next_due(attempt, NOW, 0.0, retry_after) == NOW + wait * SECOND


def test_chance_adds_up_to_a_fifth_to_the_longer_of_both() -> None:
    assert next_due(1, NOW, 0.5) == NOW + 5_500_000
    assert next_due(1, NOW, 0.5, 100) == NOW + 110 * SECOND
    due = next_due(1, NOW, MOST)
    assert due is not None
    assert NOW + 5_999_990 < due < NOW + 6 * SECOND


@pytest.mark.parametrize(
    ("failures", "wait"), [(0, 5), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300), (10**9, 300)]
)
def test_probes_double_from_five_seconds_to_five_minutes(failures: int, wait: int) -> None:
    assert probe_after(failures, 0.0) == wait * SECOND
    assert probe_after(failures, 0.5) == wait * SECOND * 11 // 10


@pytest.mark.parametrize("attempt", [0, -1])
def test_before_the_first_attempt_nothing_is_repeated(attempt: int) -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        next_due(attempt, NOW, 0.0)


def test_no_probe_failed_less_than_never() -> None:
    with pytest.raises(ValueError, match="a count of failed probes"):
        probe_after(-1, 0.0)


@pytest.mark.parametrize("seed", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
def test_a_seed_is_a_share_of_one(seed: float) -> None:
    with pytest.raises(ValueError, match="a seed"):
        next_due(1, NOW, seed)
    with pytest.raises(ValueError, match="a seed"):
        probe_after(0, seed)
