"""How the certificate of a call is found, and whom we believe about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.errors import SettingError
from cardtrail.platform.settings import Settings
from cardtrail.platform.tls import named_thumbprint, uvicorn_options
from cardtrail.protocol.certificate import UNCLEAR
from cardtrail.protocol.token import thumbprint_of

NAME = b"x-client-cert-sha256"
THUMBPRINT = thumbprint_of(b"certificate")
HEX = "60a1e66c6de1fa3be2e4ec3e4f6dc4d2db27ee4dd8bf4eea8f3d7bf4ae8a4b6e"


def named(*values: str) -> str | None:
    return named_thumbprint([(b"host", b"x"), *((NAME, value.encode()) for value in values)], NAME)


def test_a_proxy_names_a_certificate_in_base64url_or_hexadecimal() -> None:
    colons = ":".join(HEX[i : i + 2] for i in range(0, 64, 2)).upper()
    assert named(THUMBPRINT) == named(THUMBPRINT + "=") == THUMBPRINT
    assert named(HEX) == named(colons)
    assert len(named(HEX) or "") == 43


@pytest.mark.parametrize("values", [(), ("",)])
def test_a_proxy_may_say_that_there_was_none(values: tuple[str, ...]) -> None:
    assert named(*values) is None


@pytest.mark.parametrize("values", [("x",), (THUMBPRINT, THUMBPRINT), (THUMBPRINT, ""), (HEX[:-1],), ("(null)",)])
def test_what_cannot_be_read_is_neither_a_certificate_nor_none(values: tuple[str, ...]) -> None:
    assert named(*values) == UNCLEAR


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_no_header_makes_the_reader_fail(values: list[bytes]) -> None:
    named_thumbprint([(NAME, value) for value in values], NAME)


def test_only_listed_addresses_are_proxies() -> None:
    options = uvicorn_options(Settings(trusted_proxies="192.0.2.7, 2001:db8::/32"))
    proxies = options["forwarded_allow_ips"]
    assert proxies == ["192.0.2.7/32", "2001:db8::/32"]
    assert options["proxy_headers"] is True


def test_without_proxies_no_forwarded_header_is_believed() -> None:
    options = uvicorn_options(Settings())
    assert (options["proxy_headers"], options["forwarded_allow_ips"]) == (False, [])
    assert "ssl_context_factory" not in options


@pytest.mark.parametrize(
    ("given_settings", "named_setting"),
    [
        ({"client_ca": "ca.pem"}, "tls_cert"),
        ({"tls_key": "key.pem"}, "tls_cert"),
        ({"tls_cert": "missing.pem"}, "tls_cert"),
        ({"trusted_proxies": "proxy.example"}, "trusted_proxies"),
    ],
)
def test_a_wrong_setting_is_named(given_settings: dict[str, str], named_setting: str) -> None:
    with pytest.raises(SettingError, match=named_setting):
        uvicorn_options(Settings(**given_settings))  # type: ignore[arg-type]  # all of them are texts
