"""The silence alarm: it rings when nothing was heard for longer than is usual at that hour of the week."""

from cardtrail.issuer.silence import HOUR, MAX_SILENCE, WEEK, silence_of

MONDAY = 4 * 24 + WEEK * 2_900
"""An hour at which a week begins: midnight before a Monday."""


def office_hours(weeks: int) -> list[int]:
    """The hours in which something came: 8 to 18 on workdays."""
    return [
        MONDAY + week * WEEK + day * 24 + hour for week in range(weeks) for day in range(5) for hour in range(8, 18)
    ]


def rings(hours: list[int], heard: int, now: int) -> bool:
    return silence_of(hours, heard * HOUR + HOUR // 2, now * HOUR).rings


def test_nights_and_weekends_do_not_ring() -> None:
    hours = office_hours(8)
    assert not any(rings(hours, hours[-1], hours[-1] + later) for later in range(1, 62))


def test_a_silent_morning_rings_by_noon() -> None:
    hours = office_hours(8)
    monday = MONDAY + 8 * WEEK
    assert not rings(hours, hours[-1], monday + 9)
    assert rings(hours, hours[-1], monday + 14)


def test_a_night_that_is_always_busy_rings_when_it_is_silent() -> None:
    hours = list(range(MONDAY, MONDAY + 8 * WEEK))
    assert not rings(hours, hours[-1], hours[-1] + 2)
    assert rings(hours, hours[-1], hours[-1] + 8)


def test_it_does_not_ring_before_a_week_was_heard_but_does_after_two_silent_weeks() -> None:
    hours = list(range(MONDAY, MONDAY + 24))
    assert not rings(hours, hours[-1], hours[-1] + 100)
    assert rings(hours, hours[-1], hours[-1] + MAX_SILENCE + 2)


def test_one_call_a_day_is_usual_for_whom_it_is() -> None:
    hours = [MONDAY + day * 24 + 3 for day in range(60)]
    assert not rings(hours, hours[-1], hours[-1] + 30)
    assert rings(hours, hours[-1], hours[-1] + 24 * 8)


def test_a_limit_replaces_what_is_usual() -> None:
    hours = office_hours(8)
    heard = hours[-1] * HOUR
    assert not silence_of(hours, heard, heard + HOUR, 2 * HOUR).rings
    assert silence_of(hours, heard, heard + 3 * HOUR, 2 * HOUR).rings


def test_whoever_was_never_heard_of_does_not_ring() -> None:
    assert not silence_of([], None, 100 * HOUR).rings


def test_a_clock_that_went_back_does_not_ring() -> None:
    hours = office_hours(8)
    silence = silence_of(hours, hours[-1] * HOUR, (hours[-1] - 500) * HOUR)
    assert (silence.rings, silence.seconds) == (False, 0.0)
