"""The token endpoint: who gets a token, what it is good for, and that no secret is ever repeated."""

from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.errors import SettingError
from cardtrail.issuer.receipt import Receipt
from cardtrail.issuer.token import (
    LIFETIME,
    MAX_CLIENT_SECRETS,
    MAX_CREDENTIALS,
    MAX_FIELDS,
    MAX_TOKEN_BODY,
    Credentials,
    token_receipt,
)

NOW = 1_795_600_000
SECRET, NEXT = "s3cret+with/odd%characters", "another-secret-of-32-characters!"
CLIENT = Credentials("cardtrail", [SECRET])
FORM = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
GRANT = {"grant_type": "client_credentials"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {**FORM, "authorization": "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()}


def ask(headers: dict[str, str], form: dict[str, str] | bytes = GRANT, *clients: Credentials) -> Receipt:
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    return token_receipt(clients or [CLIENT], headers, body, NOW)


def told(receipt: Receipt) -> Any:
    return msgspec.json.decode(receipt.body)


def token_of(receipt: Receipt) -> str:
    assert receipt.status == 200, receipt
    token: str = told(receipt)["access_token"]
    return token


# ── asking ──


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        (basic("cardtrail", SECRET), GRANT),
        (basic(quote("cardtrail", safe=""), quote(SECRET, safe="")), {**GRANT, "scope": "cards"}),
        (FORM, {**GRANT, "client_id": "cardtrail", "client_secret": SECRET}),
        ({**basic("cardtrail", SECRET), "content-type": "Application/X-WWW-Form-URLEncoded"}, GRANT),
    ],
)
def test_a_client_with_its_secret_gets_a_token(headers: dict[str, str], form: dict[str, str]) -> None:
    receipt = ask(headers, form)
    assert CLIENT.is_good(token_of(receipt), NOW)
    assert (told(receipt)["token_type"], told(receipt)["expires_in"]) == ("Bearer", LIFETIME)
    assert (receipt.headers["cache-control"], receipt.headers["content-type"]) == ("no-store", "application/json")


@pytest.mark.parametrize(
    ("headers", "form", "status", "error"),
    [
        (basic("cardtrail", NEXT), GRANT, 401, "invalid_client"),
        (basic("somebody", SECRET), GRANT, 401, "invalid_client"),
        (basic("cardtrail", ""), GRANT, 401, "invalid_client"),
        (FORM, GRANT, 401, "invalid_client"),
        ({**FORM, "authorization": "Bearer x"}, GRANT, 401, "invalid_client"),
        ({**FORM, "authorization": "Basic ***"}, GRANT, 401, "invalid_client"),
        ({**FORM, "authorization": "Basic /w=="}, GRANT, 401, "invalid_client"),
        ({**FORM, "authorization": "Basic " + "a" * MAX_CREDENTIALS}, GRANT, 401, "invalid_client"),
        (basic("cardtrail", SECRET), {**GRANT, "client_secret": SECRET}, 400, "invalid_request"),
        (basic("cardtrail", SECRET), {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (basic("cardtrail", SECRET), {}, 400, "unsupported_grant_type"),
        (basic("cardtrail", SECRET), b"grant_type=client_credentials&grant_type=x", 400, "invalid_request"),
        (basic("cardtrail", SECRET), b"grant_type=%ff", 400, "invalid_request"),
        (basic("cardtrail", SECRET), b"\xff", 400, "invalid_request"),
        (basic("cardtrail", SECRET), b"a=1&" * (MAX_FIELDS + 1), 400, "invalid_request"),
        (basic("cardtrail", SECRET), b"a" * (MAX_TOKEN_BODY + 1), 400, "invalid_request"),
        ({**basic("cardtrail", SECRET), "content-type": "application/json"}, b"{}", 400, "invalid_request"),
        ({}, GRANT, 400, "invalid_request"),
    ],
)
def test_whoever_asks_otherwise_is_told_why(
    headers: dict[str, str], form: dict[str, str] | bytes, status: int, error: str
) -> None:
    receipt = ask(headers, form)
    assert (receipt.status, told(receipt)["error"]) == (status, error)
    assert ("www-authenticate" in receipt.headers) is (status == 401)
    assert SECRET not in str(receipt)


def test_each_client_gets_its_own_token() -> None:
    other = Credentials("other", [NEXT])
    token = token_of(ask(basic("other", NEXT), GRANT, CLIENT, other))
    assert (other.is_good(token, NOW), CLIENT.is_good(token, NOW)) == (True, False)


def test_two_clients_of_one_name_are_told_apart_by_their_secrets() -> None:
    namesake = Credentials("cardtrail", [NEXT])
    assert namesake.is_good(token_of(ask(basic("cardtrail", NEXT), GRANT, CLIENT, namesake)), NOW)


@given(st.text(max_size=80), st.binary(max_size=200))
def test_no_request_makes_the_endpoint_fail(credentials: str, body: bytes) -> None:
    for headers in ({**FORM, "authorization": credentials}, {**FORM, "authorization": f"Basic {credentials}"}, FORM):
        assert ask(headers, body).status in {400, 401}


# ── tokens ──


def test_a_token_is_good_until_it_expires_in_whatever_process_knows_the_secret() -> None:
    token = CLIENT.token(NOW)
    another_process = Credentials("cardtrail", [SECRET])
    assert another_process.is_good(token, NOW)
    assert another_process.is_good(token, NOW + LIFETIME - 1)
    assert not another_process.is_good(token, NOW + LIFETIME)


def test_a_token_is_of_one_client_and_one_secret() -> None:
    token = CLIENT.token(NOW)
    assert not Credentials("cardtrai", [SECRET]).is_good(token, NOW)
    assert not Credentials("cardtrail", [NEXT]).is_good(token, NOW)


def test_while_a_secret_is_changed_both_are_good() -> None:
    changing = Credentials("cardtrail", [NEXT, SECRET])
    assert changing.is_good(CLIENT.token(NOW), NOW)
    assert Credentials("cardtrail", [NEXT]).is_good(changing.token(NOW), NOW)
    assert changing.knows(SECRET)
    assert changing.knows(NEXT)


@pytest.mark.parametrize("place", range(41))
def test_no_byte_of_a_token_can_be_changed(place: int) -> None:
    data = bytearray(urlsafe_b64decode(CLIENT.token(NOW) + "="))
    data[place] ^= 1
    assert not CLIENT.is_good(urlsafe_b64encode(data).rstrip(b"=").decode(), NOW)


@given(st.text(max_size=80))
def test_no_text_passes_for_a_token(text: str) -> None:
    assert CLIENT.is_good(text, NOW) is False


# ── settings ──


@pytest.mark.parametrize(
    ("client_id", "secrets", "named"),
    [
        ("", [SECRET], "client_id"),
        ("a:b", [SECRET], "client_id"),
        ("a b", [SECRET], "client_id"),
        ("a" * 129, [SECRET], "client_id"),
        ("a", [], "client_secrets"),
        ("a", ["short-of-24-characters!"], "client_secrets"),
        ("a", ["s" * 257], "client_secrets"),
        ("a", ["ü" * 30], "client_secrets"),
        ("a", [SECRET] * (MAX_CLIENT_SECRETS + 1), "client_secrets"),
    ],
)
def test_credentials_that_are_none_are_refused_and_not_repeated(client_id: str, secrets: list[str], named: str) -> None:
    with pytest.raises(SettingError, match=f"^{named}: ") as refused:
        Credentials(client_id, secrets)
    assert not any(secret in str(refused.value) for secret in secrets)


def test_credentials_do_not_show_their_secrets() -> None:
    assert repr(CLIENT) == "Credentials('cardtrail', ***)"
