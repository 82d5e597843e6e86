"""What a client is told is checked at once, and never shown where it is secret."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc.jwk import ECKey

from cardtrail.errors import InputError
from cardtrail.issuer.link import (
    MAX_CONCURRENCY,
    MAX_RATE,
    MAX_RETRIES,
    MAX_TIME,
    MAX_URL,
    MIN_RATE,
    Link,
    Options,
    link_of,
)
from cardtrail.protocol.token import public_key_of

KEY: ECKey = ECKey.generate_key("P-256")
PEM = KEY.as_pem(private=True).decode()
GOOD: dict[str, Any] = {"base_url": "https://d1.example/banking/v1", "issuer_id": "ISSUER0001", "key": PEM, "kid": "k1"}


def made(**changed: Any) -> Link:
    return link_of(**GOOD | changed)


@pytest.mark.parametrize(
    ("given", "base_url", "token_url"),
    [
        ("https://d1.example/banking/v1", "https://d1.example/banking/v1", "https://d1.example/authz/v1/oauth2/token"),
        ("https://d1.example/banking/v1/", "https://d1.example/banking/v1", "https://d1.example/authz/v1/oauth2/token"),
        ("https://d1.example", "https://d1.example/banking/v1", "https://d1.example/authz/v1/oauth2/token"),
        ("https://d1.example:8443/a/b", "https://d1.example:8443/a/b", "https://d1.example:8443/authz/v1/oauth2/token"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80/banking/v1", "http://127.0.0.1:80/authz/v1/oauth2/token"),
        ("http://[::1]:80", "http://[::1]:80/banking/v1", "http://[::1]:80/authz/v1/oauth2/token"),
        ("http://localhost", "http://localhost/banking/v1", "http://localhost/authz/v1/oauth2/token"),
    ],
)
def test_the_base_url_leads_to_everything_else(given: str, base_url: str, token_url: str) -> None:
    link = made(base_url=given)
    assert (link.base_url, link.token_url) == (base_url, token_url)


def test_tokens_may_be_given_elsewhere() -> None:
    assert made(token_url="https://id.example/token").token_url == "https://id.example/token"


def test_the_issuer_calls_for_itself_unless_an_aggregator_does() -> None:
    assert made().party_id == "ISSUER0001"
    assert made(party_id="AGGREGATOR").party_id == "AGGREGATOR"


@pytest.mark.parametrize(
    "url", ["http://d1.example", "http://10.0.0.1", "http://127.0.0.1.example", "http://localhost.example"]
)
@pytest.mark.parametrize("field", ["base_url", "token_url"])
def test_without_tls_only_this_machine_is_called_unless_that_is_allowed(field: str, url: str) -> None:
    with pytest.raises(InputError) as wrong:
        made(**{field: url})
    assert wrong.value.field == field
    assert isinstance(made(**{field: url}, allow_http=True), Link)


@pytest.mark.parametrize(
    "url",
    ["", "d1.example", "ftp://d1.example", "https://", "https://user:secret@d1.example", "https://d1.example/#x",
     "https://d1.example/a b", "https://d1.example/\n", "https://d1.example:0", "https://d1.example:99999", "https://[::1",
     "https://d1.exämple", f"https://d1.example/{'x' * MAX_URL}"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["base_url", "token_url"])
def test_what_is_no_url_to_call_is_refused(field: str, url: str) -> None:
    with pytest.raises(InputError) as wrong:
        made(**{field: url})
    assert wrong.value.field == field
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("base_url", ["https://d1.example/?a=b"]),
        ("issuer_id", ["", "ISSUER", "ISSUER00011", "ISSUER/001"]),
        ("kid", ["", "a b", "k" * 129, "k\n"]),
        ("party_id", [""]),
        ("key", ["", "no key", KEY.as_pem(private=False).decode()]),
        ("timeout", [0, -1, MAX_TIME + 1, float("nan")]),
        ("connect_timeout", [0, MAX_TIME + 1]),
        ("deadline", [0, MAX_TIME + 1]),
        ("retries", [-1, MAX_RETRIES + 1]),
        ("concurrency", [0, MAX_CONCURRENCY + 1]),
        ("rate", [0, MIN_RATE / 2, MAX_RATE * 2]),
        ("proxy", ["socks5://user:secret@proxy", "proxy:3128", ""]),
    ],
)
def test_what_is_wrong_is_named_and_never_quoted(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InputError) as wrong:
            made(**{field: value})
        assert wrong.value.field == field
        assert "secret" not in str(wrong.value)


def test_the_limits_themselves_are_allowed() -> None:
    most = made(timeout=MAX_TIME, deadline=MAX_TIME, retries=MAX_RETRIES, concurrency=MAX_CONCURRENCY, rate=MIN_RATE)
    least = made(retries=0, concurrency=1, rate=MAX_RATE)
    assert (most.retries, least.retries) == (MAX_RETRIES, 0)


def test_a_key_is_pem_or_jwk_or_one_that_was_read() -> None:
    same = public_key_of(KEY.as_pem(private=False).decode()).thumbprint()
    for key in (PEM, made().key, msgspec.json.encode(KEY.as_dict(private=True)).decode()):
        assert made(key=key).key.thumbprint() == same


def test_a_link_shows_no_secret() -> None:
    link = made(proxy="http://user:secret@proxy:3128", client_pem=b"secret", ca_pem=b"ca")
    assert "secret" not in repr(link)
    assert str(KEY.as_dict(private=True)["d"]) not in repr(link)


def test_every_option_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/client.md").read_text()
    options = page[page.index("## Options") :]
    assert [name for name in (*Options.__annotations__, "allow_http") if f"`{name}`" not in options] == []
