"""Spans and speeds as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.order import SECOND
from cardtrail.errors import InputError
from cardtrail.sandbox.world.span import MAX_SPAN, MAX_SPEED, span_of, speed_of, told_span, told_speed

HOUR = 3_600 * SECOND


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", 90 * SECOND), ("20m", HOUR // 3), ("3h", 3 * HOUR), ("2d", 48 * HOUR), ("6w", 1_008 * HOUR),
        ("1d12h", 36 * HOUR), ("1.5h", 90 * 60 * SECOND), ("-3h", -3 * HOUR), ("+5h", 5 * HOUR), (" 3h ", 3 * HOUR),
    ],
)  # fmt: skip
def test_a_span_is_read(text: str, span: int) -> None:
    assert span_of(text) == span


@pytest.mark.parametrize("text", ["", "3", "h", "3x", "3h!", "--3h", "1e9d", "3 h", "9999999d", "\u0663h"])
def test_what_is_no_span_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InputError, match=r"^late: ") as refusal:
        span_of(text, "late")
    assert refusal.value.field == "late"


def test_no_span_is_longer_than_ten_years() -> None:
    assert span_of("3650d") == MAX_SPAN
    with pytest.raises(InputError, match="at most 3650 days"):
        span_of("3650d1s")


@given(st.integers(0, 59), st.integers(0, 23), st.integers(0, 3_000))
def test_a_told_span_says_no_more_than_there_is(minutes: int, hours: int, days: int) -> None:
    span = span_of(f"{days}d{hours}h{minutes}m")
    told = span_of(told_span(span).replace(" ", ""))
    assert 0 <= span - told < (24 * HOUR if days and not hours else HOUR)


@pytest.mark.parametrize(
    ("text", "speed"), [("1x", 1), ("1000x", 1_000), ("250", 250), ("0.5x", 0.5), ("max", math.inf)]
)
def test_a_speed_is_read_and_told(text: str, speed: float) -> None:
    assert speed_of(text) == speed
    assert speed_of(told_speed(speed)) == speed


@pytest.mark.parametrize("text", ["", "0x", "-1x", "fast", "1e5x", "1000001x", "inf", "nan"])
def test_what_is_no_speed_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InputError, match=r"^speed: "):
        speed_of(text)
    assert speed_of(f"{MAX_SPEED:.0f}x") == MAX_SPEED
