"""Usual dwell times: guesses at first, then what was learned; weeks with nights; plans of when to ask."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.issuer.dwell import GUESSES, MAX_KEYS, OTHER, Dwell
from cardtrail.issuer.patience import LAST, LEAST, MOST, SHORTEST, next_ask, plan_of, tuned
from cardtrail.issuer.spread import AGES, BUCKETS, Guess, bucket_of, quantile_of, shares_of
from cardtrail.issuer.week import EVEN, HOUR, HOURS, WEEK, Week

NOW = 1_793_491_200_000_000
KEY = "CARD_PROD_READY/"


def median(dwell: Dwell, key: str) -> float:
    return quantile_of(dwell.stay(key).shares, 0.5) / HOUR


def test_before_anything_is_learned_the_guess_counts() -> None:
    guess, _ = GUESSES[KEY]
    assert median(Dwell(), KEY) == pytest.approx(guess.median, rel=0.3)


def test_what_is_learned_takes_the_place_of_the_guess() -> None:
    dwell = Dwell()
    for number in range(2_000):
        dwell.learn(KEY, NOW + number * HOUR, NOW + (number + 3) * HOUR)
    assert median(dwell, KEY) > 10  # not before it was settled
    dwell.settle(dwell.patience)
    assert 1 < median(dwell, KEY) < 6


def test_what_was_learned_is_kept_and_found_again() -> None:
    dwell = Dwell()
    for number in range(500):
        dwell.learn(KEY, NOW + number * HOUR, NOW + (number + 5) * HOUR)
    dwell.settle(2.0)
    again = Dwell.of(dwell.rows(), 2.0)
    assert again.stay(KEY).shares == dwell.stay(KEY).shares
    with pytest.raises(msgspec.ValidationError):
        Dwell.of([(KEY, b'{"dwells":"x"}')])


def test_only_so_many_keys_are_kept_apart() -> None:
    dwell = Dwell()
    for number in range(MAX_KEYS + 50):
        dwell.learn(f"NEW_{number}/", NOW, NOW + HOUR)
    assert len(dwell.rows()) == MAX_KEYS
    dwell.learn(KEY, NOW, NOW + HOUR)
    assert KEY in dict(dwell.rows())
    assert dwell.stay("NEVER_SEEN/") is dwell.stay(OTHER)


@given(st.integers(0, 10**16), st.integers(0, 10**16))
def test_a_dwell_of_a_clock_that_went_back_counts_as_none(since: int, until: int) -> None:
    dwell = Dwell()
    dwell.learn(KEY, since, until)
    dwell.settle(2.0)
    assert dwell.stay(KEY).shares == sorted(dwell.stay(KEY).shares)


@given(st.lists(st.floats(0, 100), min_size=HOURS, max_size=HOURS).filter(any), st.integers(0, 10**17))
def test_active_time_never_goes_back_and_is_found_again(weights: list[float], at: int) -> None:
    week = Week(weights)
    assert week.active(at + WEEK) - week.active(at) == WEEK
    assert week.active(at + HOUR) >= week.active(at)
    assert abs(week.instant(week.active(at)) - at) <= 200


def test_a_week_has_168_hours() -> None:
    with pytest.raises(ValueError, match="168"):
        Week([1.0] * 7)
    assert EVEN.active(5 * HOUR) == 5 * HOUR


@given(st.integers(0, 10**17))
def test_every_duration_has_a_bucket(duration: int) -> None:
    bucket = bucket_of(duration)
    assert 0 <= bucket < BUCKETS
    assert AGES[bucket] <= duration


@given(st.lists(st.integers(0, 1_000), min_size=BUCKETS, max_size=BUCKETS), st.floats(0.5, 200), st.floats(1.5, 20))
def test_shares_rise_and_something_always_lasts_longer(counts: list[int], middle: float, factor: float) -> None:
    shares = shares_of(counts, Guess(middle, middle * factor))
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] < 1


def test_a_card_is_asked_later_the_more_patience_there_is_and_not_while_everything_rests() -> None:
    shares = shares_of([0] * BUCKETS, Guess(24, 72))
    eager, calm = (plan_of(shares, EVEN.weights, 0, patience) for patience in (0.01, 100.0))
    assert next_ask(eager, 0) < next_ask(calm, 0)
    busy = Week([10.0 if 8 <= hour % 24 < 18 else 0.0 for hour in range(HOURS)])
    first = next_ask(plan_of(shares_of([0] * BUCKETS, Guess(3, 9)), busy.weights, 19, 2.0), 0) // HOUR
    assert first > 24 + 8 - 19  # told at 19:00, asked in the morning at the earliest


@given(st.integers(0, HOURS - 1), st.floats(LEAST, MOST), st.integers(0, 10**16))
def test_nobody_is_asked_again_sooner_than_in_ten_minutes_and_everybody_some_day(
    hour: int, patience: float, elapsed: int
) -> None:
    plan = plan_of(shares_of([0] * BUCKETS, Guess(24, 72)), EVEN.weights, hour, patience)
    at = next_ask(plan, elapsed)
    assert elapsed + SHORTEST <= at <= max(elapsed, LAST * HOUR) + 241 * HOUR


@given(st.floats(LEAST, MOST), st.floats(0, 10**7), st.floats(1, 10**7))
def test_patience_stays_within_its_limits_and_goes_the_right_way(patience: float, usual: float, target: float) -> None:
    better, need = tuned(patience, usual, target)
    assert LEAST <= better <= MOST
    assert patience / 4.01 <= better <= patience * 4.01
    assert (better >= patience) if max(usual, 1.0) >= target else (better <= patience)
    assert need >= 0
