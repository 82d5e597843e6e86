"""The provider that the settings name: what is missing or wrong is said at the start."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from cardtrail.errors import SettingError
from cardtrail.pages.door.oidc.given import MAX_FILE, provider_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    secret = tmp_path / "secret"
    secret.write_text("a secret\n")
    return Settings(
        oidc_issuer="https://sso.example/realms/bank", oidc_client_id="cardtrail", oidc_client_secret_file=str(secret),
        public_url="https://cards.bank.example/",
    )  # fmt: skip


def test_a_provider_is_asked_by_what_the_settings_say(settings: Settings) -> None:
    provider = provider_of(settings, wall_clock)
    assert provider is not None
    found = provider.registration
    assert (found.client_secret, found.name) == ("a secret", "single sign-on")
    assert found.redirect_uri == "https://cards.bank.example/ui/login/oidc/callback"
    assert found.begin_url == "https://cards.bank.example/ui/login/oidc"
    assert "a secret" not in repr(found)


def test_without_an_issuer_there_is_none(settings: Settings) -> None:
    assert provider_of(replace(settings, oidc_issuer=""), wall_clock) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"oidc_issuer": "http://sso.example"}, "oidc_issuer: https://host expected"),
        ({"oidc_issuer": "https://user:word@sso.example"}, "oidc_issuer: https://host expected"),
        ({"oidc_issuer": "https://sso.example?x=1"}, "oidc_issuer: https://host expected"),
        ({"oidc_issuer": "https://sso.example#x"}, "oidc_issuer: https://host expected"),
        ({"oidc_issuer": "https://sso.example:port"}, "oidc_issuer: https://host expected"),
        ({"oidc_issuer": "https://[sso"}, "oidc_issuer: https://host expected"),
        ({"oidc_issuer": "https://" + "x" * 2_048}, "oidc_issuer: https://host expected"),
        ({"public_url": ""}, "public_url: needed with oidc_issuer"),
        ({"public_url": "http://cards.bank.example"}, "public_url: https://host expected"),
        ({"public_url": "https://cards.bank.example/ui/"}, "public_url: a URL without a path"),
        ({"oidc_client_id": ""}, "oidc_client_id: needed with oidc_issuer"),
        ({"oidc_client_id": "two words"}, "oidc_client_id: printable characters"),
        ({"oidc_client_secret_file": ""}, "oidc_client_secret_file: needed with oidc_issuer"),
        ({"oidc_client_secret_file": "/nowhere"}, "oidc_client_secret_file: /nowhere: No such file"),
        ({"oidc_name": ""}, "oidc_name: 1 to 60 printable"),
        ({"oidc_name": "x" * 61}, "oidc_name: 1 to 60 printable"),
        ({"oidc_ca": "/nowhere"}, "oidc_ca: /nowhere: No such file"),
    ],
)
def test_what_is_missing_or_wrong_is_named(settings: Settings, given: dict[str, str], text: str) -> None:
    with pytest.raises(SettingError, match=text):
        provider_of(replace(settings, **given), wall_clock)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "1 to 4096 printable"),
        (b"\n", "1 to 4096 printable"),
        (b"one\ntwo", "1 to 4096 printable"),
        (b"x" * 4_097, "1 to 4096 printable"),
        (b"x" * (MAX_FILE + 1), "more than 65536 bytes"),
        (b"\xff\xfe", "1 to 4096 printable"),
    ],
)
def test_a_secret_is_one_line_of_so_many_characters(settings: Settings, content: bytes, text: str) -> None:
    Path(settings.oidc_client_secret_file).write_bytes(content)
    with pytest.raises(SettingError, match=f"oidc_client_secret_file: .*{text}"):
        provider_of(settings, wall_clock)


def test_authorities_that_cannot_be_read_are_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n")
    with pytest.raises(SettingError, match="oidc_ca: a file with certificates in PEM expected"):
        provider_of(replace(settings, oidc_ca=str(tmp_path / "ca.pem")), wall_clock)
