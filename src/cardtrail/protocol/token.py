"""Assertions and access tokens: ES256 JWTs, made and verified. Contract section 5.

An *assertion* is signed by a party with its own key and traded for an *access token*, which the platform
signs. Only ES256 is read, only with registered keys on P-256; what a header says of keys and algorithms is
compared and never followed. Instants are µs UTC here, whole seconds on the wire.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from msgspec import Meta

from cardtrail.errors import InputError, Unauthorized

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""The grant by which an assertion is traded for an access token, RFC 7523."""
TOKEN_PATH = "/authz/v1/oauth2/token"  # noqa: S105 -- a path
"""Where that is done."""
MAX_ASSERTION = 8_192
"""Longest assertion, characters."""
MAX_ACCESS_TOKEN = 4_096
"""Longest access token, characters."""
MAX_KEY = 8_192
"""Longest text of a key, characters."""
ASSERTION_LIFETIME = 900
"""How far ahead an assertion's `exp` may lie, seconds."""
ACCESS_LIFETIME = 900
"""How long an access token is valid, seconds."""
LEEWAY = 60
"""How far a party's clock may be ahead of ours, seconds; for `nbf` and `iat` only."""
SECOND = 1_000_000
ALGORITHM = "ES256"
CURVE = "P-256"
ACCESS_TYPE = "at+jwt"
ASSERTION_TYPE = "JWT"

PublicKey = ECKey
PrivateKey = ECKey
T = TypeVar("T")

Kid = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z")]
Jti = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]
Number = int | float

_registry = jws.JWSRegistry(algorithms=[ALGORITHM], strict_check_header=False)
_registry.max_header_length = 2_048
_JWS_ERRORS = (JoseError, ValueError, TypeError, RecursionError)


class TokenExpired(Unauthorized):
    """The token was good once: its holder is late, not hostile."""


class UnknownKey(Unauthorized):
    """No such key is known of this party; perhaps it is very new."""


class Assertion(msgspec.Struct, frozen=True):
    """What a verified assertion says; `expires_at` in µs."""

    party_id: str
    kid: str
    expires_at: int
    jti: str | None


class AccessToken(msgspec.Struct, frozen=True):
    """What an access token says. `kid` is the assertion's, `signed_by` the platform key's; instants in µs.

    `certificate` is the SHA-256 thumbprint (base64url) of the client certificate it is bound to, RFC 8705.
    """

    party_id: str
    scope: str
    kid: str
    generation: int
    issued_at: int
    expires_at: int
    jti: str
    certificate: str | None
    signed_by: str


class _Header(msgspec.Struct):
    alg: str
    kid: Kid
    typ: str | None = None


class _AssertionClaims(msgspec.Struct):
    iss: str
    sub: str
    exp: Number
    aud: str | list[str] | None = None
    nbf: Number | None = None
    iat: Number | None = None
    jti: Jti | None = None


class _Confirmation(msgspec.Struct):
    thumbprint: str = msgspec.field(name="x5t#S256")


class _AccessClaims(msgspec.Struct, omit_defaults=True):
    iss: str
    sub: str
    scope: str
    kid: str
    gen: int
    iat: int
    exp: int
    jti: str
    cnf: _Confirmation | None = None


# ── assertions ────────────────────────────────────────────────────────────────────────────────────────────


def make_assertion(  # noqa: PLR0913 - each is a claim or what signs them
    party_id: str, kid: str, key: PrivateKey, now: int, *,
    audience: str | None = None, jti: str | None = None, lifetime: int = 300,
) -> str:  # fmt: skip
    """Return an assertion signed by a party. `now` in µs, `lifetime` in s, at most ASSERTION_LIFETIME."""
    claims: dict[str, object] = {
        "iss": party_id, "sub": party_id, "iat": now // SECOND, "exp": now // SECOND + lifetime,
    }  # fmt: skip
    if audience is not None:
        claims["aud"] = audience
    if jti is not None:
        claims["jti"] = jti
    return _signed(claims, ASSERTION_TYPE, kid, key)


def verify_assertion(
    text: str,
    find_key: Callable[[str, str], PublicKey | None],
    now: int,
    is_ours: Callable[[str], bool],
) -> Assertion:
    """Return what a party's assertion says. `now` in µs; raises Unauthorized for every rule that is broken.

    `find_key(party_id, kid)` gives an active party's active key. `is_ours(name)` knows the names we go by: an
    `aud`, where there is one, must hold one of them.
    """
    token, header = _opened(text.encode("utf-8", "replace"), MAX_ASSERTION)
    claims = _decoded(token.payload, _AssertionClaims)
    if claims.iss != claims.sub:
        raise Unauthorized("iss and sub of the assertion differ")
    key = find_key(claims.iss, header.kid)
    if key is None:
        raise UnknownKey("no active key with this kid is registered for this iss")
    _verify(token, key)
    _check_times(claims, now)
    _check_audience(claims.aud, is_ours)
    return Assertion(claims.iss, header.kid, int(claims.exp * SECOND), claims.jti)


def _check_times(claims: _AssertionClaims, now: int) -> None:
    if claims.exp * SECOND <= now:
        raise Unauthorized("the assertion has expired")
    if claims.exp * SECOND > now + ASSERTION_LIFETIME * SECOND:
        raise Unauthorized(f"exp of the assertion is more than {ASSERTION_LIFETIME} seconds ahead")
    if max(claims.nbf or 0, claims.iat or 0) * SECOND > now + LEEWAY * SECOND:
        raise Unauthorized("the assertion is not valid yet")


def _check_audience(named: str | list[str] | None, is_ours: Callable[[str], bool]) -> None:
    if named is None:
        return
    if not any(map(is_ours, [named] if isinstance(named, str) else named)):
        raise Unauthorized("aud of the assertion does not name this platform")


# ── access tokens ─────────────────────────────────────────────────────────────────────────────────────────


def make_access_token(token: AccessToken, issuer: str, key: PrivateKey) -> str:
    """Return the token signed by the platform's key `token.signed_by`."""
    claims = _AccessClaims(
        iss=issuer, sub=token.party_id, scope=token.scope, kid=token.kid, gen=token.generation,
        iat=token.issued_at // SECOND, exp=token.expires_at // SECOND, jti=token.jti,
        cnf=None if token.certificate is None else _Confirmation(token.certificate),
    )  # fmt: skip
    return _signed(claims, ACCESS_TYPE, token.signed_by, key)


def verify_access_token(text: bytes, find_key: Callable[[str], PublicKey | None], now: int, issuer: str) -> AccessToken:
    """Return what one of our own tokens says. `now` in µs; raises TokenExpired or Unauthorized.

    The party's generation and the certificate are compared by the caller, who knows them.
    """
    token, header = _opened(text, MAX_ACCESS_TOKEN)
    claims = _decoded(token.payload, _AccessClaims)
    if header.typ != ACCESS_TYPE or claims.iss != issuer:
        raise Unauthorized("not an access token of this platform")
    if claims.exp * SECOND <= now:  # before the signature, so that an old token costs no verification
        raise TokenExpired("the access token has expired")
    key = find_key(header.kid)
    if key is None:
        raise Unauthorized("the key that signed this access token is not in use")
    _verify(token, key)
    return AccessToken(
        party_id=claims.sub, scope=claims.scope, kid=claims.kid, generation=claims.gen,
        issued_at=claims.iat * SECOND, expires_at=claims.exp * SECOND, jti=claims.jti,
        certificate=None if claims.cnf is None else claims.cnf.thumbprint, signed_by=header.kid,
    )  # fmt: skip


# ── compact JWS ───────────────────────────────────────────────────────────────────────────────────────────


def _signed(claims: object, kind: str, kid: str, key: PrivateKey) -> str:
    header = {"alg": ALGORITHM, "typ": kind, "kid": kid}
    return jws.serialize_compact(header, msgspec.json.encode(claims), key, registry=_registry)


def _opened(text: bytes, most: int) -> tuple[jws.CompactSignature, _Header]:
    """Split and decode a token, nothing of which can be believed yet."""
    if len(text) > most:
        raise Unauthorized(f"the token is longer than {most} characters")
    try:
        token = jws.extract_compact(text, registry=_registry)
        members: Any = token.headers()
        header = msgspec.convert(members, _Header)
    except msgspec.ValidationError as error:
        raise Unauthorized(f"the token's header: {error}") from None
    except _JWS_ERRORS:
        raise Unauthorized("not a signed JWT in compact form") from None
    if header.alg != ALGORITHM:
        raise Unauthorized(f"alg of the token must be {ALGORITHM}")
    if "crit" in members or "b64" in members:
        raise Unauthorized("the token's header demands an extension we do not know")
    return token, header


def _decoded(payload: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.ValidationError as error:
        raise Unauthorized(f"the token's claims: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unauthorized("the token's claims are no JSON object") from None


def _verify(token: jws.CompactSignature, key: PublicKey) -> None:
    try:
        good = jws.validate_compact(token, key, registry=_registry)
    except _JWS_ERRORS:
        good = False
    if not good:
        raise Unauthorized("the token's signature is wrong")


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────


def public_key_of(text: str) -> PublicKey:
    """Read a public key, PEM or JWK, on P-256. Raises InputError, above all for a private key."""
    text = _limited(text)
    if text.startswith("{"):
        return _public_jwk(_members(text))
    if "PRIVATE KEY" in text:
        raise _private_key_given()
    if not text.startswith("-----BEGIN PUBLIC KEY-----"):
        raise InputError("key", "a public key as PEM (-----BEGIN PUBLIC KEY-----) or as JWK expected")
    return _imported(text)


def private_key_of(text: str) -> PrivateKey:
    """Read a party's own private key, PEM or JWK, on P-256, without a password. Raises InputError."""
    text = _limited(text)
    key = _imported(_members(text) if text.startswith("{") else text)
    if not key.is_private:
        raise InputError("key", "this is a public key; the private key is needed to sign")
    return key


def kid_of(text: str) -> str:
    """Return the `kid` a JWK carries, or else the key's thumbprint. Raises InputError."""
    text = _limited(text)
    named = _members(text).get("kid") if text.startswith("{") else None
    return named if isinstance(named, str) else public_key_of(text).thumbprint()


def jwk_of(key: PublicKey) -> str:
    """Return the public half of a key as a bare JWK: the form in which it is stored and published."""
    members = key.as_dict(private=False)
    return msgspec.json.encode({name: members[name] for name in ("crv", "kty", "x", "y")}).decode()


def thumbprint_of(certificate: bytes) -> str:
    """Return the SHA-256 thumbprint of a DER certificate, base64url as in `x5t#S256`."""
    return urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()


def _limited(text: str) -> str:
    if len(text) > MAX_KEY:
        raise InputError("key", f"longer than {MAX_KEY} characters")
    return text.strip()


def _members(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise InputError("key", "not a JWK: a JSON object is expected") from None


def _public_jwk(members: dict[str, Any]) -> PublicKey:
    if "d" in members or "k" in members:
        raise _private_key_given()
    if members.get("use", "sig") != "sig" or members.get("alg", ALGORITHM) != ALGORITHM:
        raise InputError("key", f"use must be sig and alg {ALGORITHM}, if given", "FIELD_INVALID_VALUE")
    return _imported({name: members.get(name) for name in ("kty", "crv", "x", "y")})


def _private_key_given() -> InputError:
    advice = "keep it to yourself and give the public half (openssl ec -in private.pem -pubout)"
    return InputError("key", f"this is a private key; {advice}", "FIELD_INVALID_VALUE")


def _imported(value: str | dict[str, Any]) -> ECKey:
    if isinstance(value, dict) and (value.get("kty"), value.get("crv")) != ("EC", CURVE):
        raise InputError("key", f"an EC key on {CURVE} expected", "FIELD_INVALID_VALUE")
    try:
        key = ECKey.import_key(value)
        curve = key.curve_name
    except (*_JWS_ERRORS, KeyError, AttributeError):
        raise InputError("key", f"cannot be read as an EC key on {CURVE} without a password") from None
    if curve != CURVE:
        raise InputError("key", f"an EC key on {CURVE} expected, not {curve}", "FIELD_INVALID_VALUE")
    return key
