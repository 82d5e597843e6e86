"""Settings: who wins, and what is refused."""

import pytest

from cardtrail.errors import SettingError
from cardtrail.platform.settings import Settings, described, settings_of


def test_a_given_value_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"CARDTRAIL_PORT": "9000", "CARDTRAIL_HOST": "0.0.0.0"}  # noqa: S104 - only a text here
    settings = settings_of({"port": 9001, "host": None}, environment)
    assert (settings.port, settings.host, settings.database) == (9001, "0.0.0.0", Settings().database)  # noqa: S104 - as above


def test_a_wrong_value_names_the_setting() -> None:
    with pytest.raises(SettingError, match="port"):
        settings_of({}, {"CARDTRAIL_PORT": "many"})


def test_every_setting_is_described_with_its_default() -> None:
    assert [setting.name for setting in described()] == list(Settings.__struct_fields__)
    assert all(setting.text.endswith(".") for setting in described())
