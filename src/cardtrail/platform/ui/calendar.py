"""Public holidays, on which neither sites nor carriers work: whose they are is a setting."""

from collections.abc import Container
from datetime import date
from typing import Final

from cardtrail.errors import SettingError

MAX_CALENDARS: Final = 20
"""Most countries and parts of countries that can be set."""


class Calendar(Container[date]):
    """The holidays of some countries together; a year's are made when they are first asked for."""

    def __init__(self, parts: tuple[Container[object], ...] = ()) -> None:
        self._parts = parts

    def __contains__(self, day: object) -> bool:
        return any(day in part for part in self._parts)


def calendar_of(text: str) -> Calendar:
    """Return the calendar that the setting `holidays` names. Raises SettingError for what is no country or part."""
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    if len(names) > MAX_CALENDARS:
        raise SettingError(f"holidays: at most {MAX_CALENDARS} countries")
    return Calendar(tuple(_holidays_of(name) for name in names))


def _holidays_of(name: str) -> Container[object]:
    from holidays import country_holidays  # noqa: PLC0415 -- the package is large, and most services set none

    country, _, part = name.partition("-")
    try:
        found: Container[object] = country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        raise SettingError(f"holidays: {name[:20]!r} is no country, or none of its parts, as DE or DE-BY") from None
    return found
