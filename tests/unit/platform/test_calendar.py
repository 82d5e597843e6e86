"""Public holidays by a setting."""

from datetime import date

import pytest

from cardtrail.errors import SettingError
from cardtrail.platform.ui.calendar import MAX_CALENDARS, calendar_of

EPIPHANY, UNITY, FRIDAY = date(2026, 1, 6), date(2026, 10, 3), date(2026, 1, 9)


def test_without_a_setting_no_day_is_a_holiday() -> None:
    assert EPIPHANY not in calendar_of("")


def test_countries_and_their_parts_have_their_own() -> None:
    assert UNITY in calendar_of("de")
    assert EPIPHANY not in calendar_of("DE")
    assert EPIPHANY in calendar_of("DE-BY")
    assert EPIPHANY in calendar_of("DE, AT")
    assert FRIDAY not in calendar_of("DE-BY, AT")


@pytest.mark.parametrize("text", ["XX", "DE-XX", "DE;AT", ",".join(["DE"] * (MAX_CALENDARS + 1))])
def test_what_is_no_country_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="holidays"):
        calendar_of(text)
