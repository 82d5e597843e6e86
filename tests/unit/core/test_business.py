"""Business time: weekends and holidays do not count."""

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.business import DAY, MAX_DAYS, QUARTERS, before, business_time, quarters_between
from cardtrail.core.track import SECOND

HOUR = 3_600 * SECOND


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-01-05T08:00", "2026-01-05T20:00", 12), ("2026-01-09T12:00", "2026-01-12T12:00", 24),
        ("2026-01-10T08:00", "2026-01-11T20:00", 0), ("2026-01-10T08:00", "2026-01-12T06:00", 6),
        ("2026-01-05T08:00", "2026-01-05T08:00", 0), ("2026-01-06T08:00", "2026-01-05T08:00", 0),
        ("2026-01-05T00:00", "2026-01-19T00:00", 240),
    ],
)  # fmt: skip
def test_weekends_do_not_count(start: str, end: str, hours: int) -> None:
    assert business_time(at(start), at(end)) == hours * HOUR


def test_holidays_do_not_count() -> None:
    epiphany = {date(2026, 1, 6)}
    assert business_time(at("2026-01-05T12:00"), at("2026-01-07T12:00"), epiphany) == DAY
    assert before(at("2026-01-07T12:00"), DAY, epiphany) == at("2026-01-05T12:00")


def test_quarters_are_whole_and_round_down() -> None:
    assert quarters_between(at("2026-01-05T00:00"), at("2026-01-05T11:59")) == 1
    assert quarters_between(at("2026-01-05T00:00"), at("2026-01-06T12:00")) == 6
    assert DAY // QUARTERS == 6 * HOUR


def test_a_span_of_years_is_not_walked_through() -> None:
    assert business_time(0, 700 * MAX_DAYS * DAY) == 500 * MAX_DAYS * DAY


instants = st.integers(at("2026-01-01T00:00"), at("2026-12-31T00:00"))


@given(instants, st.integers(0, 60 * DAY))
def test_before_is_where_just_so_much_business_time_has_passed(now: int, span: int) -> None:
    assert business_time(before(now, span), now) == span


@given(instants, st.integers(0, 300 * DAY))
def test_weeks_are_counted_as_their_days_one_by_one_would_be(start: int, span: int) -> None:
    assert business_time(start, start + span) == business_time(start, start + span, ())


@given(st.lists(instants, min_size=2, max_size=6))
def test_business_time_adds_up(moments: list[int]) -> None:
    moments.sort()
    assert sum(business_time(a, b) for a, b in pairwise(moments)) == business_time(moments[0], moments[-1])
