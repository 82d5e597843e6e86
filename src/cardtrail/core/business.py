"""Business time: how long something took, or may take, when nobody works on weekends and holidays.

A day of work has 24 hours here: parcels and machines know no closing time, and a site's own hours are not known. Days
are UTC days. Holidays are given by whoever asks; without any, weekends alone are free.
"""

from collections.abc import Container
from datetime import UTC, date, datetime, timedelta

from cardtrail.core.track import SECOND

DAY = 86_400 * SECOND
QUARTERS = 4
"""A business day is counted in so many parts."""
MAX_DAYS = 366
"""Most days that are looked at one by one where there are holidays; whatever is longer counts five of seven days."""
_THURSDAY, _SATURDAY = 3, 5
"""Days of the week from Monday on; 1970 began on a Thursday."""
_EPOCH = date(1970, 1, 1)


def business_time(start: int, end: int, holidays: Container[date] | None = None) -> int:
    """Return the business time between two instants, all in µs; 0 where the end comes first."""
    if end <= start:
        return 0
    if holidays is None:  # asked with every step of every order
        return _worked(end) - _worked(start)
    first, last = start // DAY, end // DAY
    if last - first > MAX_DAYS:
        return (end - start) * 5 // 7
    worked = [day for day in range(first, last + 1) if is_business_day(day, holidays)]
    return sum(min(end, (day + 1) * DAY) - max(start, day * DAY) for day in worked)


def _worked(at: int) -> int:
    """Return the business time from a Monday to an instant: five days of each whole week, and what is left of five."""
    weeks, left = divmod(at + _THURSDAY * DAY, 7 * DAY)
    return weeks * 5 * DAY + min(left, 5 * DAY)


def quarters_between(start: int, end: int) -> int:
    """Return the business time between two instants in whole quarters of a day; weekends alone are free."""
    return business_time(start, end) * QUARTERS // DAY


def before(now: int, span: int, holidays: Container[date] | None = None) -> int:
    """Return the instant from which until `now` a span of business time passes, all in µs."""
    day, left, end = now // DAY, span, now
    for _ in range(MAX_DAYS):
        if is_business_day(day, holidays):
            worked = end - day * DAY
            if worked >= left:
                return end - left
            left -= worked
        end, day = day * DAY, day - 1
    return end - left * 7 // 5


def is_business_day(day: int, holidays: Container[date] | None = None) -> bool:
    """Tell whether somebody works on a day, counted since 1970."""
    at = _EPOCH + timedelta(days=day)
    return at.weekday() < _SATURDAY and (holidays is None or at not in holidays)


def date_of(at: int) -> date:
    """Return the UTC date of an instant in µs."""
    return datetime.fromtimestamp(at / SECOND, UTC).date()
