"""How pages say things."""

import pytest

from cardtrail.core.place import OTHER, PLACES
from cardtrail.pages.words import ASIDE, FLOW, WORDS, ago, days, kind_of, number, when, word_of

SECOND = 1_000_000


def test_every_place_has_a_word_and_stands_either_on_the_way_or_beside_it() -> None:
    assert set(WORDS) == {*PLACES, OTHER}
    assert sorted([*FLOW, *ASIDE]) == sorted([*PLACES, OTHER])
    assert {kind_of(place) for place in PLACES} == {"way", "end", "stop"}
    assert word_of("Levitating") == "Levitating"


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (None, "–"), (0, "now"), (SECOND - 1, "now"), (SECOND, "1 second"), (59 * SECOND, "59 seconds"),
        (60 * SECOND, "1 minute"), (3_600 * SECOND, "1 hour"), (49 * 3_600 * SECOND, "2 days"), (-5, "now"),
    ],
)  # fmt: skip
def test_a_span_is_told_in_its_largest_unit(span: float | None, text: str) -> None:
    assert ago(span) == text


def test_times_days_and_numbers() -> None:
    assert (when(None), when(0), when(1_772_323_200 * SECOND)) == ("–", "1970-01-01 00:00", "2026-03-01 00:00")
    assert (days(None), days(10), days(8)) == ("–", "2.5", "2")
    assert number(1_234_567) == "1,234,567"
