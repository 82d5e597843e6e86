"""How a token request is read, and which names we go by."""

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.platform.tokens import FORM, JSON, MAX_BODY, GrantRefused, _request_of, audience_of
from cardtrail.protocol.token import GRANT

GOOD = {"grant_type": GRANT, "assertion": "a.b.c"}


def test_a_form_and_json_are_read_alike() -> None:
    members = GOOD | {"scope": "a b", "client_id": "ignored"}
    read = [_request_of(FORM, urlencode(members).encode()), _request_of(JSON, msgspec.json.encode(members))]
    assert read[0] == read[1]
    assert (read[0].assertion, read[0].scope) == ("a.b.c", "a b")


@pytest.mark.parametrize("kind", ["Application/JSON", "application/json; charset=utf-8", " application/json ;x=y"])
def test_a_content_type_is_read_liberally(kind: str) -> None:
    assert _request_of(kind, msgspec.json.encode(GOOD)).assertion == "a.b.c"


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("", b"", "invalid_request"),
        ("text/plain", urlencode(GOOD).encode(), "invalid_request"),
        (FORM, b"", "invalid_request"),
        (FORM, urlencode({"grant_type": GRANT}).encode(), "invalid_request"),
        (FORM, urlencode([*GOOD.items(), ("assertion", "d.e.f")]).encode(), "invalid_request"),
        (FORM, urlencode([*GOOD.items(), *((f"f{n}", "x") for n in range(30))]).encode(), "invalid_request"),
        (FORM, b"grant_type=%ff", "invalid_request"),
        (FORM, "grant_type=é".encode("latin-1"), "invalid_request"),
        (FORM, urlencode(GOOD | {"grant_type": "client_credentials"}).encode(), "unsupported_grant_type"),
        (JSON, b"", "invalid_request"),
        (JSON, b"[]", "invalid_request"),
        (JSON, b'"x"', "invalid_request"),
        (JSON, b"[" * 10_000, "invalid_request"),
        (JSON, msgspec.json.encode(GOOD | {"assertion": 7}), "invalid_request"),
        (JSON, msgspec.json.encode(GOOD | {"scope": ["a"]}), "invalid_request"),
        (JSON, msgspec.json.encode(GOOD | {"grant_type": ["x"]}), "unsupported_grant_type"),
        (JSON, b" " * MAX_BODY + b"x", "invalid_request"),
    ],
)
def test_a_bad_request_is_refused_as_rfc_6749_says(kind: str, body: bytes, error: str) -> None:
    with pytest.raises(GrantRefused) as refusal:
        _request_of(kind, body)
    assert refusal.value.error == error


@given(st.sampled_from([FORM, JSON]), st.binary(max_size=300))
def test_no_body_makes_the_reader_fail_in_another_way(kind: str, body: bytes) -> None:
    with pytest.raises(GrantRefused):
        _request_of(kind, body)


@given(st.text())
def test_a_refusal_keeps_to_the_characters_of_rfc_6749(text: str) -> None:
    body: dict[str, Any] = msgspec.json.decode(GrantRefused("invalid_grant", text).body)
    assert set(body) == {"error", "error_description"}
    assert all(" " <= one <= "~" and one not in '"\\' for one in body["error_description"])


@pytest.mark.parametrize(
    ("setting", "name", "ours"),
    [
        ("", "https://any.example/authz/v1/oauth2/token", True),
        ("", "https://any.example/other", False),
        ("", "https://any.example", False),
        ("", "", False),
        ("", "https://[", False),
        ("a, https://b.example ,", "https://b.example", True),
        ("a, https://b.example ,", "a", True),
        ("a", "https://any.example/authz/v1/oauth2/token", False),
        ("a", "", False),
    ],
)
def test_our_names_are_those_of_the_setting_or_any_token_url(setting: str, name: str, ours: bool) -> None:  # noqa: FBT001 - a row of a table
    assert audience_of(setting)(name) is ours
