"""The search for secrets in logs can find each kind of them, however it is written."""

import json
from base64 import b64encode
from urllib.parse import urlencode

import pytest

from tests.leaks import leaks

HIDDEN = {
    "password": 'correct "horse" battery',
    "signing": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=",
    "key": "-----BEGIN EC KEY-----\nMHcCAQEEIIvX/line+1\nAwEHoUQDQgAE/line+2\n-----END EC KEY-----\n",
    "tracking": "JD014600006281230704",
}
CLEAN = '{"event": "request", "endpoint_id": "whsec", "kind": "Bearer", "line": "-----END EC KEY-----"}'


def test_a_text_without_secrets_has_none() -> None:
    assert leaks(CLEAN, HIDDEN) == []
    assert leaks("", HIDDEN) == []


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (json.dumps({"error": HIDDEN["password"]}), ["password"]),
        (f"POST /login?{urlencode({'p': HIDDEN['password']})}", ["password"]),
        (f"basic={b64encode(HIDDEN['password'].encode()).decode()}", ["password"]),
        ("key=c2VjcmV0LXNlY3JldC1zZWNyZXQ=", ["signing"]),
        (HIDDEN["signing"], ["a signing secret", "signing"]),
        (json.dumps({"pem": HIDDEN["key"]}), ["key"]),
        ("... AwEHoUQDQgAE/line+2 ...", ["key"]),
        ("GET /cards?q=JD014600006281230704", ["tracking"]),
        ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", ["a token"]),
        ("whsk_b3RoZXItc2VjcmV0", ["a signing secret"]),
        ("-----BEGIN PRIVATE KEY-----", ["a private key"]),
        ("{'authorization': 'Bearer abcd.efgh'}", ["credentials"]),
        ("Authorization: Basic YWJjOmRlZg==", ["credentials"]),
    ],
)
def test_each_kind_of_secret_is_found_however_it_is_written(written: str, found: list[str]) -> None:
    assert leaks(f"{CLEAN}\n{written}\n{CLEAN}", HIDDEN) == found


def test_what_is_too_short_to_be_looked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="pin is too short"):
        leaks(CLEAN, {"pin": "1234"})
