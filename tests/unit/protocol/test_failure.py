"""How long a peer wants to be left alone, and what its words may look like in ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyreqwest.exceptions import PyreqwestError

from cardtrail.protocol.failure import MAX_RETRY_AFTER, MAX_TEXT, Failure, failure_of, plain, retry_after_of

NOON = 1_792_411_200_000_000
"""2026-10-19 12:00:00 UTC in µs."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("007", 7),
        ("86400", 86_400),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 5_000, MAX_RETRY_AFTER),
        ("Mon, 19 Oct 2026 12:00:00 GMT", 0),
        ("Mon, 19 Oct 2026 12:01:30 GMT", 90),
        ("Monday, 19-Oct-26 12:01:30 GMT", 90),
        ("Mon Oct 19 12:01:30 2026", 90),
        ("Mon, 19 Oct 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("", None),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("\uff11\uff12", None),
        ("1e3", None),
        ("soon", None),
        ("Mon, 32 Oct 2026 12:00:00 GMT", None),
        ("Mon, 19 Oct 99999 12:00:00 GMT", None),
        ("Mon, 19 Oct 2026 12:00:00 GMT" + " " * 100 + "x", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: int | None) -> None:
    assert retry_after_of([value], NOON) == seconds


def test_of_several_the_longest_counts_and_of_none_nothing() -> None:
    assert retry_after_of(["5", "soon", "60"], NOON) == 60
    assert retry_after_of([], NOON) is None


def test_a_part_of_a_second_is_waited_for() -> None:
    assert retry_after_of(["Mon, 19 Oct 2026 12:00:01 GMT"], NOON + 1) == 1


@given(st.lists(st.text(max_size=60), max_size=3), st.integers(0, 2**53))
def test_no_header_makes_the_reader_fail(values: list[str], now: int) -> None:
    wait = retry_after_of(values, now)
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER


def test_a_text_is_one_short_line() -> None:
    assert plain("a\r\nb\x1b[31mé") == "a?b?[31m?"
    assert len(plain("x" * 10_000)) == MAX_TEXT


def test_an_error_without_causes_is_an_answer_too() -> None:
    failure, text = failure_of(PyreqwestError("odd"))
    assert (failure, "no cause" in text) == (Failure.PROTOCOL, True)
