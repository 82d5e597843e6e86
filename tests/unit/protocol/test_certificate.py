"""Thumbprints as proxies write them, and whose word counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.errors import SettingError
from cardtrail.protocol.certificate import UNCLEAR, is_listed, proxies_of, thumbprint_in
from cardtrail.protocol.token import thumbprint_of

THUMBPRINT = thumbprint_of(b"certificate")
PROXIES = proxies_of(["192.0.2.7", " 2001:db8::/32 ", ""])


def test_a_thumbprint_has_one_form_however_it_was_written() -> None:
    digits = "60a1e66c6de1fa3be2e4ec3e4f6dc4d2db27ee4dd8bf4eea8f3d7bf4ae8a4b6e"
    colons = ":".join(digits[i : i + 2] for i in range(0, 64, 2)).upper()
    assert thumbprint_in(f" {THUMBPRINT}=") == thumbprint_in(THUMBPRINT) == THUMBPRINT
    assert thumbprint_in(digits) == thumbprint_in(colons) != UNCLEAR


@pytest.mark.parametrize("text", ["", "x", "(null)", f"{THUMBPRINT}, {THUMBPRINT}", THUMBPRINT[:-1], "é" * 43])
def test_what_is_no_thumbprint_is_unclear(text: str) -> None:
    assert thumbprint_in(text) == UNCLEAR


@given(st.text(max_size=90))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    thumbprint_in(text)
    is_listed(text, PROXIES)


@pytest.mark.parametrize("address", ["192.0.2.8", "unix", "", "2001:db9::1", "192.0.2.7:80", "::ffff:192.0.2.8"])
def test_who_is_not_listed_is_no_proxy(address: str) -> None:
    assert is_listed(address, PROXIES) is False
    assert is_listed("192.0.2.7", []) is False


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"])
def test_who_is_listed_is_a_proxy(address: str) -> None:
    assert is_listed(address, PROXIES) is True


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(SettingError, match=r"trusted_proxies: '192\.0\.2\.x'"):
        proxies_of(["192.0.2.x"])
