"""What callers must prove: every proof that is configured, and at least one."""

from typing import Any

import pytest

from cardtrail.errors import SettingError, Unauthorized
from cardtrail.issuer.token import LIFETIME
from cardtrail.issuer.trust import MAX_CERTIFICATES, MAX_TOLERANCE, Trust
from cardtrail.protocol.signature import StaleSignature, new_key, new_secret, receivers_secret_of, sign
from cardtrail.protocol.token import thumbprint_of

NOW = 1_795_600_000
BODY = b'{"operations":[]}'
SECRET, NEXT = new_secret(bytes(range(32))), new_secret(bytes(32))
KEY = new_key(bytes(range(32)))
PASSWORD = "a secret of 24 characters or more"
CERTIFICATE = thumbprint_of(b"certificate")


def signed(secret: str = SECRET, at: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return {"webhook-id": "one", "webhook-timestamp": str(at), "webhook-signature": sign([secret], "one", at, body)}


def bearing(trust: Trust, at: int = NOW) -> dict[str, str]:
    assert trust.credentials is not None
    return {"authorization": f"Bearer {trust.credentials.token(at)}"}


def is_let_in(trust: Trust, headers: dict[str, str], certificate: str | None = None) -> bool:
    try:
        trust.check(headers, BODY, certificate, NOW)
    except Unauthorized:
        return False
    return True


# ── signatures ──


def test_a_signed_call_is_let_in_and_another_is_not() -> None:
    trust = Trust(secrets=[SECRET])
    assert is_let_in(trust, signed())
    assert not is_let_in(trust, signed(NEXT))
    assert not is_let_in(trust, signed(body=BODY + b" "))
    assert not is_let_in(trust, {})


def test_a_key_pair_signs_as_well() -> None:
    assert is_let_in(Trust(secrets=[receivers_secret_of(KEY)]), signed(KEY))
    assert not is_let_in(Trust(secrets=[receivers_secret_of(KEY)]), signed(new_key(bytes(32))))


def test_while_a_secret_is_changed_both_are_good() -> None:
    trust = Trust(secrets=[NEXT, SECRET])
    assert is_let_in(trust, signed(SECRET))
    assert is_let_in(trust, signed(NEXT))


@pytest.mark.parametrize("away", [301, -301, 10**9])
def test_a_signature_that_is_stale_is_refused_by_the_tolerance(away: int) -> None:
    with pytest.raises(StaleSignature):
        Trust(secrets=[SECRET]).check(signed(at=NOW - away), BODY, None, NOW)
    assert is_let_in(Trust(secrets=[SECRET], tolerance=301), signed(at=NOW - away)) is (abs(away) == 301)


# ── tokens ──


def test_a_token_of_the_token_endpoint_is_let_in_until_it_expires() -> None:
    trust = Trust(client_id="cardtrail", client_secrets=[PASSWORD])
    assert is_let_in(trust, bearing(trust))
    assert not is_let_in(trust, bearing(trust, NOW - LIFETIME))
    assert not is_let_in(trust, {})


@pytest.mark.parametrize("form", ["{0}", "Basic {0}", "Bearer{0}", "Bearer {0}, Bearer {0}", "Bearer {0}x", "Bearer"])
def test_a_token_in_another_form_is_none(form: str) -> None:
    trust = Trust(client_id="cardtrail", client_secrets=[PASSWORD])
    token = bearing(trust)["authorization"].removeprefix("Bearer ")
    assert is_let_in(trust, {"authorization": f"bearer  {token} "})
    assert not is_let_in(trust, {"authorization": form.format(token)})


# ── certificates ──


@pytest.mark.parametrize("shown", [None, "", "x", thumbprint_of(b"other"), f"{CERTIFICATE}, {CERTIFICATE}"])
def test_only_a_certificate_that_is_listed_is_let_in(shown: str | None) -> None:
    trust = Trust(certificates=[CERTIFICATE])
    assert is_let_in(trust, {}, CERTIFICATE)
    assert not is_let_in(trust, {}, shown)


def test_a_certificate_may_be_listed_and_shown_in_hexadecimal() -> None:
    digits = ":".join(["ab"] * 32)
    assert is_let_in(Trust(certificates=[digits.upper()]), {}, digits.replace(":", ""))


# ── together ──


def test_every_proof_that_is_configured_must_hold() -> None:
    trust = Trust(secrets=[SECRET], client_id="cardtrail", client_secrets=[PASSWORD], certificates=[CERTIFICATE])
    everything = {**signed(), **bearing(trust)}
    assert is_let_in(trust, everything, CERTIFICATE)
    assert not is_let_in(trust, everything)
    assert not is_let_in(trust, signed(), CERTIFICATE)
    assert not is_let_in(trust, bearing(trust), CERTIFICATE)


def test_trust_shows_what_it_asks_for_and_no_secret() -> None:
    trust = Trust(secrets=[SECRET], client_id="c", client_secrets=[PASSWORD], authenticate=lambda _: True)
    assert repr(trust) == "Trust(signature, token, authenticate)"


# ── settings ──


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "trust"),
        ({"tolerance": 5}, "trust"),
        ({"secrets": [], "client_secrets": (), "certificates": set()}, "trust"),
        ({"secrets": SECRET}, "secrets: a list"),
        ({"secrets": [""]}, "secrets"),
        ({"secrets": [KEY]}, "secrets"),
        ({"secrets": [SECRET] * 5}, "secrets"),
        ({"client_id": "c"}, "client_secrets"),
        ({"client_secrets": [PASSWORD]}, "client_id"),
        ({"client_id": "c", "client_secrets": PASSWORD}, "client_secrets: a list"),
        ({"certificates": [""]}, "certificates"),
        ({"certificates": CERTIFICATE}, "certificates: a list"),
        ({"certificates": [CERTIFICATE] * (MAX_CERTIFICATES + 1)}, "certificates"),
        ({"secrets": [SECRET], "tolerance": 0}, "tolerance"),
        ({"secrets": [SECRET], "tolerance": MAX_TOLERANCE + 1}, "tolerance"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is_repeated(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError, match=f"^{named}") as refused:
        Trust(**given)
    assert not any(secret in str(refused.value) for secret in (SECRET, KEY, PASSWORD))
