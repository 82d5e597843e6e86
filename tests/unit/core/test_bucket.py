"""Buckets hold what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.bucket import Bucket


@pytest.mark.parametrize("rate", [1, 3, 7, 100, 2_000, 1_000_000])
def test_a_full_bucket_gives_its_burst_and_no_more(rate: int) -> None:
    bucket = Bucket(rate, min(rate, 5_000))
    given_out = sum(bucket.take(10.0) == 0.0 for _ in range(6_000))
    assert given_out == min(rate, 5_000)


def test_who_waits_as_long_as_told_gets_a_token() -> None:
    bucket = Bucket(4, 4)
    while not (wait := bucket.take(10.0)):
        pass
    assert 0.0 < wait <= 0.25
    assert bucket.take(10.0 + wait) == 0.0


@given(st.lists(st.floats(0, 2), min_size=1, max_size=200), st.integers(1, 20))
def test_no_pattern_of_calls_gets_more_than_burst_and_rate(pauses: list[float], rate: int) -> None:
    bucket, now, given_out = Bucket(rate, rate), 1_000.0, 0
    for pause in pauses:
        now += pause
        given_out += bucket.take(now) == 0.0
    assert given_out <= rate + rate * (now - 1_000.0) + 1


def test_a_new_rate_holds_at_once() -> None:
    bucket = Bucket(1, 1)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(10.0) > 0.0
    bucket.set_rate(100, 100)
    assert bucket.take(10.1) == 0.0


def test_tokens_are_booked_in_turn_one_interval_apart() -> None:
    bucket = Bucket(10, 2)
    assert [round(bucket.book(50.0), 6) for _ in range(5)] == [0.0, 0.0, 0.05, 0.15, 0.25]
    assert bucket.book(51.0) == 0.0


@given(st.lists(st.floats(0, 2), min_size=1, max_size=200), st.integers(1, 20))
def test_what_is_booked_keeps_the_rate_too(pauses: list[float], rate: int) -> None:
    bucket, now = Bucket(rate, rate), 1_000.0
    due = []
    for pause in pauses:
        now += pause
        due.append(now + bucket.book(now))
    assert due == sorted(due)
    for first, begin in enumerate(due):  # never more than the burst and what the rate gives, but for half a token
        assert all(later - first + 1 <= rate + 0.5 + rate * (end - begin) + 1e-6
                   for later, end in enumerate(due[first:], first))  # fmt: skip
