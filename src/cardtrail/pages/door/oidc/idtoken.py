"""What is believed of an ID token: OpenID Connect Core 1.0, section 3.1.3.7.

Only four algorithms are known here at all, each with a public key that the provider publishes; what a header says of
keys is compared and never followed.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from msgspec import Meta

from cardtrail.errors import Unauthorized

MAX_TOKEN = 16_384
"""Longest ID token, characters."""
MAX_KEYS = 50
"""Most keys of a provider that are read."""
MAX_AGE = 900
"""How long ago a token may have been made, seconds: it is fetched as soon as it is."""
SKEW = 60
"""How far the provider's clock may be from ours, seconds."""
SECOND = 1_000_000
MIN_MODULUS = 342
"""Shortest `n` of an RSA key in base64url, characters: 2,048 bits."""
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""What there is of a public key, by its kind; nothing else is read of it."""
_KINDS: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_JOSE_ERRORS = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
Number = int | float


class _Registry(jws.JWSRegistry):
    """Knows these algorithms and no other; EdDSA is the older name of Ed25519."""

    algorithms = {name: jws.JWSRegistry.algorithms[name] for name in ("RS256", "PS256", "ES256", "Ed25519")}  # noqa: RUF012 -- as the parent has it
    algorithms["EdDSA"] = algorithms["Ed25519"]
    max_header_length = 2_048


_registry = _Registry(algorithms=list(_Registry.algorithms), strict_check_header=False)


class UnknownKey(Unauthorized):
    """The provider has published no such key; perhaps it is very new."""


class PublicKey(msgspec.Struct, frozen=True):
    """A key that the provider publishes; without an `alg` it is good for all that its kind can."""

    kid: str | None
    alg: str | None
    key: RSAKey | ECKey | OKPKey


class Expected(msgspec.Struct, frozen=True):
    """What a token must say to be the answer to our question."""

    issuer: str
    client_id: str
    nonce: str


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class _Claims(msgspec.Struct):
    iss: str
    sub: Annotated[str, Meta(pattern=r"^[\x20-\x7e]{1,255}\Z")]
    aud: str | list[str]
    exp: Number
    iat: Number
    nonce: str
    azp: str | None = None
    nbf: Number | None = None


def subject_of(text: str, keys: Sequence[PublicKey], expected: Expected, now: int) -> str:
    """Return the `sub` of a token; `now` in µs. Raises Unauthorized for every rule that is broken, or UnknownKey."""
    token, header = _opened(text)
    known = [each for each in keys if header.kid in (None, each.kid)]
    if not known:
        raise UnknownKey("the provider has published no key with this kid")
    if not any(_is_signed(token, header.alg, each) for each in known):
        raise Unauthorized("the token's signature is wrong")
    claims = _claims_of(token)
    _check_parties(claims, expected)
    _check_times(claims, now / SECOND)
    return claims.sub


def keys_of(published: Iterable[Mapping[str, Any]]) -> list[PublicKey]:
    """Return the keys of a JWKS that can verify a token; what is of another kind or cannot be read is left out."""
    found = (_key_of(members) for members, _ in zip(published, range(MAX_KEYS), strict=False))
    return [key for key in found if key is not None]


def _key_of(members: Mapping[str, Any]) -> PublicKey | None:
    kty, kid, alg = members.get("kty"), members.get("kid"), members.get("alg")
    if (
        not isinstance(kty, str)
        or kty not in _KINDS
        or members.get("use", "sig") != "sig"
        or not isinstance(kid, str | None)
    ):
        return None
    if kty == "RSA" and len(str(members.get("n"))) < MIN_MODULUS:
        return None
    try:
        key = _KINDS[kty].import_key({"kty": kty} | {name: members[name] for name in _MEMBERS[kty]})
    except _JOSE_ERRORS:
        return None
    return PublicKey(kid, alg if isinstance(alg, str) else None, key)


def _opened(text: str) -> tuple[jws.CompactSignature, _Header]:
    """Split and decode a token, nothing of which can be believed yet."""
    if len(text) > MAX_TOKEN:
        raise Unauthorized(f"the token is longer than {MAX_TOKEN} characters")
    try:
        token = jws.extract_compact(text.encode(), registry=_registry)
        members: Any = token.headers()
        header = msgspec.convert(members, _Header)
    except (msgspec.ValidationError, *_JOSE_ERRORS):
        raise Unauthorized("not a signed JWT in compact form") from None
    if header.alg not in _Registry.algorithms:
        raise Unauthorized("the token is signed by none of " + ", ".join(_Registry.algorithms))
    if "crit" in members or "b64" in members:
        raise Unauthorized("the token's header demands an extension we do not know")
    return token, header


def _is_signed(token: jws.CompactSignature, alg: str, key: PublicKey) -> bool:
    if key.alg not in (None, alg):
        return False
    try:
        return jws.validate_compact(token, key.key, registry=_registry)
    except _JOSE_ERRORS:
        return False


def _claims_of(token: jws.CompactSignature) -> _Claims:
    try:
        return msgspec.json.decode(token.payload, type=_Claims)
    except msgspec.ValidationError as error:
        raise Unauthorized(f"the token's claims: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unauthorized("the token's claims are no JSON object") from None


def _check_parties(claims: _Claims, expected: Expected) -> None:
    """Raise Unauthorized unless this provider made the token for us, and for this log-in."""
    if claims.iss != expected.issuer:
        raise Unauthorized("iss of the token is another provider's")
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if expected.client_id not in audience:
        raise Unauthorized("aud of the token does not name this service")
    if (len(audience) > 1 or claims.azp is not None) and claims.azp != expected.client_id:
        raise Unauthorized("azp of the token does not name this service")
    if not hmac.compare_digest(claims.nonce.encode(), expected.nonce.encode()):
        raise Unauthorized("nonce of the token is another log-in's")


def _check_times(claims: _Claims, now: float) -> None:
    if claims.exp + SKEW <= now:
        raise Unauthorized("the token has expired")
    if max(claims.iat, claims.nbf or 0) > now + SKEW:
        raise Unauthorized("the token is not valid yet")
    if claims.iat + MAX_AGE <= now:
        raise Unauthorized("the token is too old")
