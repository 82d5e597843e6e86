"""Opening hours and dwell times."""

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.order import SECOND
from cardtrail.sandbox.world.book import DAYS, Carrier, Site, shipped_book
from cardtrail.sandbox.world.hours import DAY, HOUR, LONGEST, dwell_of, open_at

PLACES: list[Site | Carrier] = [*shipped_book().sites.values(), *shipped_book().carriers.values()]


@given(st.sampled_from(PLACES), st.integers(1_700_000_000 * SECOND, 2_000_000_000 * SECOND))
def test_nothing_happens_while_a_place_is_closed_and_nothing_waits_while_it_is_open(
    place: Site | Carrier, at: int
) -> None:
    opened = open_at(place, at)
    assert at <= opened <= at + 8 * DAY
    moment = datetime.fromtimestamp(opened / SECOND, UTC)
    assert DAYS[moment.weekday()] in place.days
    assert place.hours[0] <= moment.hour < place.hours[1]
    assert open_at(place, opened) == opened


def test_half_of_all_take_the_first_span_and_nine_in_ten_the_second() -> None:
    chance = Random(1)
    drawn = sorted(dwell_of(4 * HOUR, 10 * HOUR, chance) for _ in range(5_000))
    assert drawn[2_500] == pytest.approx(4 * HOUR, rel=0.1)
    assert drawn[4_500] == pytest.approx(10 * HOUR, rel=0.1)
    assert drawn[0] > 0
    assert drawn[-1] <= LONGEST * 10 * HOUR
