"""Signatures of notifications: Standard Webhooks 1.0, made and verified. Contract section 7.

What is signed is `{webhook-id}.{webhook-timestamp}.{body}`, by one of two schemes that a secret's prefix names::

    scheme            the sender has           the receiver has         signature
    v1   HMAC-SHA256  whsec_ (24 to 64 bytes)  the same                 v1,<base64>
    v1a  ed25519      whsk_  (seed)            whpk_ (public key)       v1a,<base64>

A sender with several secrets signs with each, so that a secret is changed without a gap. Instants are whole seconds
here, as on the wire. No message quotes a secret.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cardtrail.errors import InputError, Unauthorized

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"

TOLERANCE = 300
"""How far a signature's time may lie from the receiver's clock, in either direction, seconds."""
SEED = 32
"""Bytes of an ed25519 seed, and of a public key."""
MAX_SECRETS = 4
"""Most secrets that are in use at once."""
MAX_SIGNATURES = 8
"""Most signatures of a call that are looked at."""
MAX_HEADER = 1_024
"""Longest signature header, characters."""

SYMMETRIC = "whsec_"
PRIVATE = "whsk_"
PUBLIC = "whpk_"
LENGTHS = {
    SYMMETRIC: (range(24, 65), "24 to 64 bytes"),
    PRIVATE: ((SEED, 2 * SEED), "32 bytes, or 64 with the public key,"),
    PUBLIC: ((SEED,), "32 bytes"),
}
"""How many bytes each sort of secret may have, and how that is said."""

_PREFIX = re.compile(f"{SYMMETRIC}|{PRIVATE}|{PUBLIC}")
_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
"""No dot, or the time could be read as a part of the id."""
_SECONDS = re.compile(r"[0-9]{1,12}")

Sign = Callable[[bytes], str]
Check = Callable[[bytes, list[str]], bool]


class StaleSignature(Unauthorized):
    """The time of the call is too far from ours: it is old, or a clock is wrong."""


# ── the sender ───────────────────────────────────────────────────────────────────────────────────────────────


class Signer:
    """Signs for one endpoint with all its secrets. Made once: what is left for each call is the signature alone."""

    __slots__ = ("_signs",)

    def __init__(self, secrets: Sequence[str]) -> None:
        """Take `whsec_` and `whsk_` secrets, the current one first. Raises InputError naming `secret`."""
        self._signs = [_signing(secret) for secret in _counted(secrets)]

    def sign(self, webhook_id: str, timestamp_seconds: int, body: bytes) -> str:
        """Return the `webhook-signature`: one for each secret. Raises InputError for an id with a dot."""
        if not _ID.fullmatch(webhook_id):
            raise InputError(ID, "1 to 256 visible ASCII characters without a dot expected")
        content = _content(webhook_id, str(timestamp_seconds), body)
        return " ".join([sign(content) for sign in self._signs])


def sign(secrets: Sequence[str], webhook_id: str, timestamp_seconds: int, body: bytes) -> str:
    """Return the `webhook-signature` of one call; for many, keep a Signer. Raises InputError."""
    return Signer(secrets).sign(webhook_id, timestamp_seconds, body)


def headers_of(signer: Signer, webhook_id: str, timestamp_seconds: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a call, signed."""
    signature = signer.sign(webhook_id, timestamp_seconds, body)
    return {ID: webhook_id, TIMESTAMP: str(timestamp_seconds), SIGNATURE: signature}


# ── the receiver ─────────────────────────────────────────────────────────────────────────────────────────────


class Verifier:
    """Verifies calls to one receiver, who accepts each of several secrets."""

    __slots__ = ("_checks",)

    def __init__(self, secrets: Sequence[str]) -> None:
        """Take `whsec_` secrets and `whpk_` public keys. Raises InputError naming `secret`."""
        self._checks = [_checking(secret) for secret in _counted(secrets)]

    def verify(self, headers: Mapping[str, str], body: bytes, now_seconds: int, tolerance: int = TOLERANCE) -> str:
        """Return the `webhook-id` of a call that is signed. Raises Unauthorized, or StaleSignature.

        The names of `headers` are in lower case, or looked up without regard to it; `tolerance` is in seconds.
        """
        webhook_id, timestamp, signature = (_header(headers, name) for name in (ID, TIMESTAMP, SIGNATURE))
        if not _ID.fullmatch(webhook_id):
            raise Unauthorized(f"{ID} must be 1 to 256 visible ASCII characters without a dot")
        _check_time(timestamp, now_seconds, tolerance)
        content, signatures = _content(webhook_id, timestamp, body), _signatures(signature)
        if not any(check(content, signatures) for check in self._checks):
            raise Unauthorized(f"{SIGNATURE} holds no signature of this call by a secret that is known here")
        return webhook_id


def verify(
    secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_seconds: int, tolerance: int = TOLERANCE
) -> str:
    """Return the `webhook-id` of one call that is signed; for many, keep a Verifier. Raises as that does."""
    return Verifier(secrets).verify(headers, body, now_seconds, tolerance)


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise Unauthorized(f"{name} is missing")
    return value


def _check_time(timestamp: str, now_seconds: int, tolerance: int) -> None:
    if not _SECONDS.fullmatch(timestamp):
        raise Unauthorized(f"{TIMESTAMP} must be whole seconds since 1970")
    late = now_seconds - int(timestamp)
    if abs(late) > tolerance:
        how = f"{late} seconds old" if late > 0 else f"{-late} seconds ahead"
        raise StaleSignature(f"{TIMESTAMP} is {how}, which is more than {tolerance}")


def _signatures(header: str) -> list[str]:
    signatures = header.split(" ", MAX_SIGNATURES)
    if len(header) > MAX_HEADER or len(signatures) > MAX_SIGNATURES:
        raise Unauthorized(f"{SIGNATURE} is longer than {MAX_HEADER} characters or {MAX_SIGNATURES} signatures")
    return signatures


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────


def new_secret(chance: bytes) -> str:
    """Return a symmetric secret of random bytes, best 32. Raises InputError where they are too few or too many."""
    secret = SYMMETRIC + b64encode(chance).decode()
    _key_of(secret)
    return secret


def new_key(chance: bytes) -> str:
    """Return an ed25519 secret key of 32 random bytes. Raises InputError."""
    secret = PRIVATE + b64encode(chance).decode()
    _private_key(_key_of(secret)[1])
    return secret


def receivers_secret_of(secret: str) -> str:
    """Return what the receiver needs to verify: the public key of a pair, else the secret itself. Raises InputError."""
    prefix, key = _key_of(secret)
    if prefix != PRIVATE:
        return secret
    return PUBLIC + b64encode(_private_key(key).public_key().public_bytes_raw()).decode()


def _counted(secrets: Sequence[str]) -> Sequence[str]:
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise InputError("secret", f"1 to {MAX_SECRETS} secrets expected, got {len(secrets)}", "FIELD_INVALID_VALUE")
    return secrets


def _signing(secret: str) -> Sign:
    prefix, key = _key_of(secret)
    if prefix == SYMMETRIC:
        return _symmetric(key)
    if prefix == PRIVATE:
        private = _private_key(key)
        return lambda content: f"v1a,{b64encode(private.sign(content)).decode()}"
    raise InputError("secret", f"{PUBLIC} is a public key; to sign takes {SYMMETRIC} or {PRIVATE}")


def _symmetric(key: bytes) -> Sign:
    prepared = hmac.new(key, digestmod=hashlib.sha256)

    def signature(content: bytes) -> str:
        mac = prepared.copy()
        mac.update(content)
        return f"v1,{b64encode(mac.digest()).decode()}"

    return signature


def _checking(secret: str) -> Check:
    prefix, key = _key_of(secret)
    if prefix == SYMMETRIC:
        return _symmetric_check(_symmetric(key))
    if prefix == PUBLIC:
        return _public_check(Ed25519PublicKey.from_public_bytes(key))
    raise InputError("secret", f"{PRIVATE} is the sender's alone; to verify takes {SYMMETRIC} or {PUBLIC}")


def _symmetric_check(sign: Sign) -> Check:
    def check(content: bytes, signatures: list[str]) -> bool:
        expected = sign(content).encode()
        return any(hmac.compare_digest(expected, one.encode("ascii", "replace")) for one in signatures)

    return check


def _public_check(public: Ed25519PublicKey) -> Check:
    def is_signed(content: bytes, signature: str) -> bool:
        try:
            public.verify(_decoded(signature), content)
        except (InvalidSignature, ValueError):
            return False
        return True

    return lambda content, signatures: any(is_signed(content, one[4:]) for one in signatures if one.startswith("v1a,"))


def _private_key(key: bytes) -> Ed25519PrivateKey:
    """Return the key of a seed; where a public key follows it, that one must be its own."""
    private = Ed25519PrivateKey.from_private_bytes(key[:SEED])
    if key[SEED:] not in (b"", private.public_key().public_bytes_raw()):
        raise InputError("secret", f"the public half of the {PRIVATE} key is not that of its seed")
    return private


def _key_of(secret: str) -> tuple[str, bytes]:
    """Return a secret's prefix and bytes. Raises InputError."""
    prefix = _PREFIX.match(secret)
    if prefix is None:
        raise InputError("secret", f"{SYMMETRIC}, {PRIVATE} or {PUBLIC} and base64 expected")
    try:
        key = _decoded(secret[prefix.end() :])
    except ValueError:
        raise InputError("secret", f"base64 expected after {prefix[0]}") from None
    lengths, told = LENGTHS[prefix[0]]
    if len(key) not in lengths:
        raise InputError("secret", f"{told} expected after {prefix[0]}, got {len(key)}")
    return prefix[0], key


def _decoded(text: str) -> bytes:
    """Return the bytes of base64 that is written the one right way. Raises ValueError."""
    data = b64decode(text, validate=True)
    if b64encode(data).decode() != text:
        raise ValueError("bits that belong to no byte are set")
    return data


def _content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%b.%b.%b" % (webhook_id.encode(), timestamp.encode(), body)
