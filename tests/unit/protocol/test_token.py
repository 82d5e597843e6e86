"""Every rule of assertions and access tokens, one by one."""

import base64
import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from cardtrail.errors import InputError, Unauthorized
from cardtrail.protocol.token import (
    ACCESS_TYPE,
    MAX_ASSERTION,
    SECOND,
    AccessToken,
    Assertion,
    PublicKey,
    TokenExpired,
    UnknownKey,
    jwk_of,
    kid_of,
    make_access_token,
    make_assertion,
    private_key_of,
    public_key_of,
    thumbprint_of,
    verify_access_token,
    verify_assertion,
)

NOW = 1_800_000_000 * SECOND
ISSUER = "ISSUER0001"
KEY: ECKey = ECKey.generate_key("P-256")
OTHER: ECKey = ECKey.generate_key("P-256")
PUBLIC = public_key_of(jwk_of(KEY))
CLAIMS: dict[str, Any] = {"iss": ISSUER, "sub": ISSUER, "exp": NOW // SECOND + 300}
HEADER: dict[str, Any] = {"alg": "ES256", "kid": "k1"}


def find_key(party_id: str, kid: str) -> PublicKey | None:
    return PUBLIC if (party_id, kid) == (ISSUER, "k1") else None


def signed(claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None, key: ECKey = KEY) -> str:
    """An assertion as a party could send it: the good one, with other claims or another header on top."""
    payload = msgspec.json.encode(CLAIMS | (claims or {}))
    registry = jws.JWSRegistry(algorithms=["ES256", "ES384", "RS256"], strict_check_header=False)
    return jws.serialize_compact(HEADER | (header or {}), payload, key, registry=registry)


def verified(text: str, now: int = NOW) -> Assertion:
    return verify_assertion(text, find_key, now, {"https://here.example"}.__contains__)


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# ── assertions ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_assertion_tells_who_signed_it_and_until_when() -> None:
    text = make_assertion(ISSUER, "k1", KEY, NOW, audience="https://here.example", jti="once")
    assert verified(text) == Assertion(ISSUER, "k1", NOW + 300 * SECOND, "once")


def test_an_unsigned_assertion_is_refused() -> None:
    text = f"{part({'alg': 'none', 'kid': 'k1'})}.{part(CLAIMS)}."
    with pytest.raises(Unauthorized, match="ES256"):
        verified(text)


@pytest.mark.parametrize("secret", ["jwk", "pem", "der"])
def test_a_public_key_is_no_shared_secret(secret: str) -> None:
    """HS256 with the public key's bytes as the secret, in each form that a verifier may hold it."""
    public = KEY.public_key
    secrets = {
        "jwk": jwk_of(KEY).encode(),
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    }
    content = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{part(CLAIMS)}"
    mac = hmac.new(secrets[secret], content.encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthorized, match="ES256"):
        verified(f"{content}.{part(mac)}")


def test_rs256_is_refused() -> None:
    registry = jws.JWSRegistry(algorithms=["RS256"])
    key: RSAKey = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "kid": "k1"}
    with pytest.raises(Unauthorized, match="ES256"):
        verified(jws.serialize_compact(header, msgspec.json.encode(CLAIMS), key, registry=registry))


def test_es384_is_refused() -> None:
    with pytest.raises(Unauthorized, match="ES256"):
        verified(signed(header={"alg": "ES384"}, key=ECKey.generate_key("P-384")))


def test_a_key_in_the_header_is_not_used() -> None:
    own = {"jwk": OTHER.as_dict(private=False)}
    with pytest.raises(Unauthorized, match="signature"):
        verified(signed(header=own, key=OTHER))


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": False}, {"b64": True}])
def test_a_header_that_demands_an_extension_is_refused(header: dict[str, Any]) -> None:
    text = f"{part(HEADER | header)}.{part(CLAIMS)}.{part(bytes(64))}"
    with pytest.raises(Unauthorized):
        verified(text)


@pytest.mark.parametrize("kid", [None, "", 7, "k" * 129, "k 1", "k\u00001", ["k1"]])
def test_a_missing_or_odd_kid_is_refused(kid: object) -> None:
    header = {"alg": "ES256"} if kid is None else {"alg": "ES256", "kid": kid}
    with pytest.raises(Unauthorized, match="kid"):
        verified(f"{part(header)}.{part(CLAIMS)}.{part(bytes(64))}")


@pytest.mark.parametrize(("claims", "header"), [({}, {"kid": "k2"}), ({"iss": "NOBODY0001", "sub": "NOBODY0001"}, {})])
def test_an_unknown_key_or_party_is_refused(claims: dict[str, Any], header: dict[str, Any]) -> None:
    with pytest.raises(UnknownKey):
        verified(signed(claims, header))


def test_another_partys_signature_is_refused() -> None:
    with pytest.raises(Unauthorized, match="signature"):
        verified(signed(key=OTHER))


def test_a_changed_claim_breaks_the_signature() -> None:
    header, _, signature = signed().split(".")
    with pytest.raises(Unauthorized, match="signature"):
        verified(f"{header}.{part(CLAIMS | {'exp': CLAIMS['exp'] + 1})}.{signature}")


def test_iss_and_sub_must_be_the_same() -> None:
    with pytest.raises(Unauthorized, match="iss and sub"):
        verified(signed({"sub": "ISSUER0002"}))


@pytest.mark.parametrize("missing", ["iss", "sub", "exp"])
def test_iss_sub_and_exp_are_required(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    registry = jws.JWSRegistry(algorithms=["ES256"])
    with pytest.raises(Unauthorized, match=missing):
        verified(jws.serialize_compact(HEADER, msgspec.json.encode(claims), KEY, registry=registry))


@pytest.mark.parametrize(
    ("ahead", "good"), [(0, False), (-1, False), (1, True), (900, True), (901, False), (0.5, True)]
)
def test_exp_lies_after_now_and_at_most_fifteen_minutes_ahead(ahead: float, good: bool) -> None:  # noqa: FBT001 - a row of a table
    text = signed({"exp": NOW // SECOND + ahead})
    if good:
        assert verified(text).expires_at == NOW + round(ahead * SECOND)
    else:
        with pytest.raises(Unauthorized, match="exp"):
            verified(text)


@pytest.mark.parametrize("exp", [True, "1800000300", None, [1], 10**30, -1])
def test_an_exp_that_is_no_sensible_number_is_refused(exp: object) -> None:
    with pytest.raises(Unauthorized):
        verified(signed({"exp": exp}))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_clock_may_be_a_minute_ahead_of_ours_and_no_more(claim: str) -> None:
    verified(signed({claim: NOW // SECOND + 60}))
    with pytest.raises(Unauthorized, match="not valid yet"):
        verified(signed({claim: NOW // SECOND + 61}))


@pytest.mark.parametrize("aud", ["https://here.example", ["https://x.example", "https://here.example"], None])
def test_aud_may_be_absent_or_name_us(aud: object) -> None:
    verified(signed({"aud": aud}))


@pytest.mark.parametrize("aud", ["https://elsewhere.example", ["https://x.example"], [], "", 7, {"a": 1}])
def test_aud_that_does_not_name_us_is_refused(aud: object) -> None:
    with pytest.raises(Unauthorized, match="aud"):
        verified(signed({"aud": aud}))


@pytest.mark.parametrize("jti", ["", "x" * 65, "a\u0000b", 5])
def test_a_jti_that_cannot_be_kept_is_refused(jti: object) -> None:
    with pytest.raises(Unauthorized, match="jti"):
        verified(signed({"jti": jti}))


def test_an_assertion_that_is_too_long_is_not_even_read() -> None:
    with pytest.raises(Unauthorized, match=f"longer than {MAX_ASSERTION}"):
        verified(signed({"more": "x" * MAX_ASSERTION}))


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b", "a.b.c.d", "é.é.é", f"{part([1])}.{part(CLAIMS)}.x", f"{part(['alg'])}.{part(CLAIMS)}.x",
     f"{part(HEADER)}.{part([])}.x", f"{part(HEADER)}.{part(b'[' * 3000)}.x", f"{part(b'[' * 1000)}.x.x",
     f"{part(HEADER)}.{part(CLAIMS)}", f"{part(HEADER)}.{part(CLAIMS)}.", f"{part(HEADER)}.{part(CLAIMS)}.AA==",
     f"{part({'alg': ['ES256'], 'kid': 'k1'})}.{part(CLAIMS)}.x", "\ud800.x.x"],
)  # fmt: skip
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        verified(text)


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60).map(part), max_size=4).map(".".join))
def test_no_text_makes_the_verifier_fail_in_another_way(text: str) -> None:
    with pytest.raises(Unauthorized):
        verified(text)


ODD_CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "sub", "exp", "aud", "nbf", "iat", "jti"]),
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(ODD_CLAIMS)
def test_no_claims_make_the_verifier_fail_in_another_way(claims: dict[str, Any]) -> None:
    try:
        verified(signed(claims))
    except Unauthorized:
        return


# ── access tokens ────────────────────────────────────────────────────────────────────────────────────────────

TOKEN = AccessToken(ISSUER, "a b", "k1", 3, NOW, NOW + 900 * SECOND, "id", None, "p1")


def believed(text: str, now: int = NOW, issuer: str = "cardtrail") -> AccessToken:
    return verify_access_token(text.encode(), lambda kid: PUBLIC if kid == "p1" else None, now, issuer)


@pytest.mark.parametrize("certificate", [None, "x" * 43])
def test_an_access_token_says_what_it_was_made_of(certificate: str | None) -> None:
    token = msgspec.structs.replace(TOKEN, certificate=certificate)
    assert believed(make_access_token(token, "cardtrail", KEY)) == token


def test_a_bound_access_token_carries_the_confirmation_of_rfc_8705() -> None:
    text = make_access_token(msgspec.structs.replace(TOKEN, certificate="thumb"), "cardtrail", KEY)
    claims = msgspec.json.decode(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    assert claims == {
        "iss": "cardtrail", "sub": ISSUER, "scope": "a b", "kid": "k1", "gen": 3,
        "iat": 1_800_000_000, "exp": 1_800_000_900, "jti": "id", "cnf": {"x5t#S256": "thumb"},
    }  # fmt: skip


def test_an_access_token_ends_with_its_last_second() -> None:
    text = make_access_token(TOKEN, "cardtrail", KEY)
    believed(text, NOW + 900 * SECOND - 1)
    with pytest.raises(TokenExpired):
        believed(text, NOW + 900 * SECOND)


def test_another_platforms_token_is_refused() -> None:
    with pytest.raises(Unauthorized, match="not an access token"):
        believed(make_access_token(TOKEN, "cardtrail", KEY), issuer="elsewhere")


def test_a_token_of_a_key_that_is_gone_is_refused() -> None:
    with pytest.raises(Unauthorized, match="not in use"):
        believed(make_access_token(msgspec.structs.replace(TOKEN, signed_by="p0"), "cardtrail", KEY))


def test_a_token_signed_by_somebody_else_is_refused() -> None:
    with pytest.raises(Unauthorized, match="signature"):
        believed(make_access_token(TOKEN, "cardtrail", OTHER))


def test_an_assertion_is_no_access_token() -> None:
    text = signed({"iss": "cardtrail", "scope": "a", "kid": "k", "gen": 1, "iat": 1, "jti": "j"}, {"kid": "p1"})
    with pytest.raises(Unauthorized, match="not an access token"):
        believed(text)


def test_an_access_token_in_hs256_is_refused() -> None:
    key = OctKey.import_key(jwk_of(KEY))
    header = {"alg": "HS256", "kid": "p1", "typ": ACCESS_TYPE}
    text = jws.serialize_compact(header, b"{}", key, registry=jws.JWSRegistry(algorithms=["HS256"]))
    with pytest.raises(Unauthorized):
        believed(text)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_token_check_fail_in_another_way(text: bytes) -> None:
    with pytest.raises(Unauthorized):
        verify_access_token(text, lambda _: PUBLIC, NOW, "cardtrail")


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_public_key_comes_as_pem_or_jwk() -> None:
    pem = KEY.as_pem(private=False).decode()
    jwk = msgspec.json.encode(KEY.as_dict(private=False, kid="mine", use="sig", alg="ES256")).decode()
    assert jwk_of(public_key_of(pem)) == jwk_of(public_key_of(jwk)) == jwk_of(KEY)


def test_a_stored_key_has_nothing_private_in_it() -> None:
    assert set(msgspec.json.decode(jwk_of(KEY))) == {"kty", "crv", "x", "y"}


PRIVATE_KEYS = {
    "pem": KEY.as_pem(private=True).decode(),
    "jwk": msgspec.json.encode(KEY.as_dict(private=True)).decode(),
    "both halves": KEY.as_pem(private=False).decode() + KEY.as_pem(private=True).decode(),
    "shared secret": '{"kty": "oct", "k": "c2VjcmV0"}',
}


@pytest.mark.parametrize("name", PRIVATE_KEYS)
def test_a_private_key_is_refused_and_the_message_says_what_to_do(name: str) -> None:
    with pytest.raises(InputError, match="this is a private key; keep it to yourself"):
        public_key_of(PRIVATE_KEYS[name])


NO_KEYS = {
    "nothing": "",
    "no members": "{}",
    "a list": "[]",
    "half an object": "{",
    "a word": "text",
    "an empty PEM": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    "too long": "x" * 9000,
    "P-384": ECKey.generate_key("P-384").as_pem(private=False).decode(),
    "RSA": RSAKey.generate_key(2048).as_pem(private=False).decode(),
    "secp256k1": ECKey.generate_key("secp256k1").as_pem(private=False).decode(),
    "off the curve": '{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}',
    "numbers": '{"kty":"EC","crv":"P-256","x":1,"y":2}',
    "no point": '{"kty":"EC","crv":"P-256"}',
    "a lone surrogate": '{"a":"\ud800"}',
    "for encryption": msgspec.json.encode(KEY.as_dict(private=False, use="enc")).decode(),
    "for ES384": msgspec.json.encode(KEY.as_dict(private=False, alg="ES384")).decode(),
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_is_no_p256_public_key_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="key: "):
        public_key_of(NO_KEYS[name])


def test_a_private_key_is_read_for_signing_only() -> None:
    assert jwk_of(private_key_of(KEY.as_pem(private=True).decode())) == jwk_of(KEY)
    with pytest.raises(InputError, match="this is a public key"):
        private_key_of(KEY.as_pem(private=False).decode())


def test_a_key_without_a_name_is_called_by_its_thumbprint() -> None:
    assert kid_of(KEY.as_pem(private=False).decode()) == KEY.thumbprint()
    assert kid_of(msgspec.json.encode(KEY.as_dict(private=False, kid="mine")).decode()) == "mine"


def test_a_thumbprint_is_written_as_rfc_8705_has_it() -> None:
    assert thumbprint_of(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
