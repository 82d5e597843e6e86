"""Settings as they are in force: where each comes from, without passwords, and what nobody reads."""

import pytest

from cardtrail.errors import SettingError
from cardtrail.platform.settings import PREFIX, Settings, described
from cardtrail.settings import Source, Unknown, effective, masked, unknown


def test_every_setting_tells_where_its_value_comes_from() -> None:
    environment = {"CARDTRAIL_PORT": "9000", "CARDTRAIL_HOST": "::1"}
    found = {each.name: each for each in effective(Settings, PREFIX, {"port": 9001}, environment)}
    assert list(found) == list(Settings.__struct_fields__)
    assert (found["port"].value, found["port"].source) == (9001, Source.OPTION)
    assert (found["host"].value, found["host"].source) == ("::1", Source.ENVIRONMENT)
    assert (found["deliver"].value, found["deliver"].source) == (True, Source.DEFAULT)


def test_a_wrong_value_is_refused_as_the_service_would_refuse_it() -> None:
    with pytest.raises(SettingError, match="deliver"):
        effective(Settings, PREFIX, {}, {"CARDTRAIL_DELIVER": "perhaps"})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://user@host/name", "postgresql://user@host/name"),
        ("postgresql://user:secret@host:5432/name", "postgresql://user:***@host:5432/name"),
        ("postgresql://user:se@cr:et/@host/name", "postgresql://user:***@host/name"),
        ("postgresql://:secret@host/name", "postgresql://:***@host/name"),
        ("postgresql:///n?user=u&password=secret&host=h", "postgresql:///n?user=u&password=***&host=h"),
        ("postgresql:///n?sslpassword=secret", "postgresql:///n?sslpassword=***"),
        ("http://me:secret@proxy:3128", "http://me:***@proxy:3128"),
        ("sqlite:////var/lib/cardtrail.db", "sqlite:////var/lib/cardtrail.db"),
        (8080, 8080),
        (False, False),
    ],
)
def test_passwords_are_masked_and_nothing_else(value: str | int, shown: str | int) -> None:
    assert masked(value) == shown
    assert "secret" not in str(masked(value))


def test_what_no_setting_reads_is_named_with_the_nearest_name() -> None:
    known = [each.variable for each in described()]
    environment = {"CARDTRAIL_DATABSE": "x", "CARDTRAIL_PORT": "1", "CARDTRAIL_QZXWV": "", "PATH": "/bin"}
    assert unknown(PREFIX, known, environment) == [
        Unknown("CARDTRAIL_DATABSE", "CARDTRAIL_DATABASE"), Unknown("CARDTRAIL_QZXWV", ""),
    ]  # fmt: skip
