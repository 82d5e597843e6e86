"""What is believed of an ID token, without a provider; what is not, over HTTP too, is in contract/test_oidc.py."""

from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from cardtrail.errors import Unauthorized
from cardtrail.pages.door.oidc.idtoken import MAX_AGE, MAX_KEYS, SECOND, SKEW, Expected, keys_of, subject_of
from tests.provider import compact

NOW = 1_700_000_000
EXPECTED = Expected("https://sso.example", "cardtrail", "nonce")
CLAIMS = {
    "iss": "https://sso.example", "aud": "cardtrail", "nonce": "nonce", "sub": "ada", "iat": NOW, "exp": NOW + 300,
}  # fmt: skip
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})


def published(*keys: Any, **members: str) -> list[dict[str, Any]]:
    return [key.as_dict(private=False) | members for key in keys]


def subject(header: dict[str, Any], key: Any, jwks: list[dict[str, Any]], now: float = NOW, **claims: object) -> str:
    token = compact(CLAIMS | claims, header, key)
    return subject_of(token, keys_of(jwks), EXPECTED, int(now * SECOND))


@pytest.mark.parametrize(
    ("alg", "key"), [("RS256", RSA), ("PS256", RSA), ("ES256", EC), ("EdDSA", ED), ("Ed25519", ED)]
)
def test_these_algorithms_are_known(alg: str, key: Any) -> None:
    header = {"alg": alg, "kid": key.kid}
    for jwks in (published(RSA, EC, ED), published(key, alg=alg), published(key, use="sig", x5t="of no interest")):
        assert subject(header, key, jwks) == "ada"


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("RS512", RSA),
        ("ES512", ECKey.generate_key("P-521")),
        ("ES256K", ECKey.generate_key("secp256k1")),
        ("EdDSA", OKPKey.generate_key("Ed448")),
        ("HS256", OctKey.generate_key(256)),
    ],
)
def test_no_other_is(alg: str, key: Any) -> None:
    with pytest.raises(Unauthorized, match=r"signed by none of|no key with this kid|signature is wrong"):
        subject({"alg": alg}, key, published(key))


def test_a_key_is_good_for_the_algorithm_that_it_names_and_for_signing_only() -> None:
    header = {"alg": "RS256", "kid": "rsa"}
    for members in ({"alg": "PS256"}, {"use": "enc"}, {"kid": "another"}):
        with pytest.raises(Unauthorized):
            subject(header, RSA, published(RSA, **members))


def test_a_token_without_a_kid_is_tried_with_every_key_of_its_kind() -> None:
    jwks = published(RSA, ECKey.generate_key("P-256"), EC)
    assert subject({"alg": "ES256"}, EC, jwks) == "ada"


def test_keys_that_cannot_be_used_are_left_out_and_no_more_are_read_than_so_many() -> None:
    weak = RSA.as_dict(private=False) | {"n": str(RSA.as_dict()["n"])[:170]}
    broken: list[dict[str, Any]] = [
        weak, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "AKP"}, {}, {"kty": []},
        {"kty": "EC", "crv": 1, "x": 2, "y": 3}, {**EC.as_dict(private=False), "kid": 7},
        {"kty": "OKP", "crv": "X25519", "x": "AA"}, {"kty": "oct", "k": "AAAA"},
    ]  # fmt: skip
    assert keys_of(broken) == []
    assert [each.kid for each in keys_of([*broken, *published(EC)])] == ["ec"]
    assert len(keys_of(published(EC) * (MAX_KEYS + 10))) == MAX_KEYS


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ({"exp": NOW - SKEW}, "expired"),
        ({"iat": NOW + SKEW + 1}, "not valid yet"),
        ({"nbf": NOW + SKEW + 1}, "not valid yet"),
        ({"iat": NOW - MAX_AGE}, "too old"),
    ],
)
def test_clocks_may_differ_by_so_much_and_no_more(times: dict[str, int], text: str) -> None:
    header = {"alg": "ES256", "kid": "ec"}
    [(name, value)] = times.items()
    closer = value + (1 if text in ("expired", "too old") else -1)
    assert subject(header, EC, published(EC), **{name: closer}) == "ada"
    with pytest.raises(Unauthorized, match=text):
        subject(header, EC, published(EC), **times)
