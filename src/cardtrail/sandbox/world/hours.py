"""When a place works, and how long things take: opening hours and dwell times."""

import math
from datetime import UTC, datetime, timedelta
from random import Random

from cardtrail.core.order import SECOND
from cardtrail.sandbox.world.book import DAYS, Carrier, Site

HOUR = 3_600 * SECOND
DAY = 24 * HOUR
_NINE_IN_TEN = 1.2816
"""How many standard deviations of a normal distribution lie below nine tenths of it."""
LONGEST = 4
"""No step takes longer than so many times what nine in ten take."""


def dwell_of(half: int, most: int, chance: Random) -> int:
    """Draw how long a step takes, µs in whole seconds: log-normal, half by `half`, nine in ten by `most`."""
    spread = math.log(most / half) / _NINE_IN_TEN
    drawn = half * math.exp(spread * chance.gauss(0, 1))
    return round(min(drawn, LONGEST * most) / SECOND) * SECOND


def open_at(place: Site | Carrier, at: int) -> int:
    """Return the first instant at or after `at` when the place works, µs."""
    moment = datetime.fromtimestamp(at // SECOND, UTC)
    opens, closes = place.hours
    for ahead in range(len(DAYS) + 1):
        day = (moment + timedelta(days=ahead)).replace(hour=0, minute=0, second=0)
        if DAYS[day.weekday()] not in place.days:
            continue
        begin, end = day + timedelta(hours=opens), day + timedelta(hours=closes)
        if moment < end:
            return max(int(begin.timestamp()) * SECOND, at)
    raise AssertionError("a place without a working day")  # the book has none


def day_of(at: int) -> int:
    """Return the day of an instant, counted from 1970."""
    return at // DAY
