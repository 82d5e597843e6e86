"""A token endpoint for issuers that have none: client credentials in, an opaque token out. Contract section 7.

A token is base64url over a version, the second it expires and a MAC over that and the client, under a key derived from
the client's secret. Whatever process knows the secret can verify it, and nothing is stored: not in a process and not
in a database. It is bound to the client and not to an issuer, since a client may have several.
"""

import hmac
import re
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct as Layout
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from cardtrail.errors import SettingError
from cardtrail.issuer.receipt import JSON, Receipt

LIFETIME = 900
"""How long a token is valid, seconds."""
MAX_TOKEN_BODY = 8_192
"""Largest body of a token request, bytes."""
MAX_FIELDS = 20
"""Most members of a form."""
MAX_CREDENTIALS = 1_024
"""Longest Authorization header of a client, characters."""
MAX_CLIENT_SECRETS = 4
"""Most secrets of a client that are in use at once."""
GRANT = "client_credentials"
FORM = "application/x-www-form-urlencoded"

_CLIENT_ID = re.compile(r"[\x21-\x39\x3b-\x7e]{1,128}")
"""No colon, at which Basic credentials are split."""
_SECRET = re.compile(r"[\x20-\x7e]{24,256}")
_VERSION = 1
_layout = Layout(">BQ")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{55}")
"""41 bytes: version, second, 32 of the MAC."""
_NO_STORE = {**JSON, "cache-control": "no-store", "pragma": "no-cache"}
_CHALLENGE = {"www-authenticate": 'Basic realm="cardtrail", charset="UTF-8"'}


class _Answer(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: int


class _Refusal(msgspec.Struct):
    error: str
    error_description: str


class Credentials:
    """A client and its secrets, the current one first; tokens of any of them are good."""

    __slots__ = ("_keys", "_secrets", "client_id")

    def __init__(self, client_id: str, secrets: Sequence[str]) -> None:
        """Take visible ASCII. Raises SettingError, which quotes no secret."""
        if not _CLIENT_ID.fullmatch(client_id):
            raise SettingError("client_id: 1 to 128 visible ASCII characters without a colon expected")
        if not 1 <= len(secrets) <= MAX_CLIENT_SECRETS or not all(map(_SECRET.fullmatch, secrets)):
            raise SettingError(
                f"client_secrets: 1 to {MAX_CLIENT_SECRETS} expected, each of 24 to 256 visible ASCII characters"
            )
        self.client_id = client_id
        self._secrets = [secret.encode() for secret in secrets]
        self._keys = [_key_of(secret, client_id) for secret in self._secrets]

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return f"Credentials({self.client_id!r}, ***)"

    def knows(self, secret: str) -> bool:
        """Tell whether this is a secret of the client."""
        told = secret.encode("utf-8", "replace")
        return any(hmac.compare_digest(told, each) for each in self._secrets)

    def token(self, now_seconds: int) -> str:
        """Return a token that is good for LIFETIME."""
        content = _layout.pack(_VERSION, now_seconds + LIFETIME)
        return urlsafe_b64encode(content + _mac(self._keys[0], content)).rstrip(b"=").decode()

    def is_good(self, token: str, now_seconds: int) -> bool:
        """Tell whether a token is one of this client's and has not expired."""
        if not _TOKEN.fullmatch(token):
            return False
        data = urlsafe_b64decode(token + "=")
        content, mac = data[: _layout.size], data[_layout.size :]
        version, expires = _layout.unpack(content)
        if version != _VERSION or expires <= now_seconds:
            return False
        return any(hmac.compare_digest(mac, _mac(key, content)) for key in self._keys)


def _key_of(secret: bytes, client_id: str) -> hmac.HMAC:
    """Return the MAC of a client's tokens, to be continued; what it is keyed with serves nothing else."""
    derived = hmac.digest(secret, b"cardtrail issuer access token 1", "sha256")
    return hmac.new(derived, client_id.encode() + b":", "sha256")


def _mac(key: hmac.HMAC, content: bytes) -> bytes:
    mac = key.copy()
    mac.update(content)
    return mac.digest()


# ── the endpoint ─────────────────────────────────────────────────────────────────────────────────────────────


class _Refused(Exception):
    """The endpoint says no, with a code of RFC 6749, section 5.2."""

    def __init__(self, error: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self._error = error
        self._status = status

    @property
    def receipt(self) -> Receipt:
        """The answer."""
        challenge = _CHALLENGE if self._status == 401 else {}  # noqa: PLR2004 -- an HTTP status
        body = msgspec.json.encode(_Refusal(self._error, str(self)))
        return Receipt(status=self._status, headers={**_NO_STORE, **challenge}, body=body, why=str(self))


def token_receipt(clients: Iterable[Credentials], headers: Mapping[str, str], body: bytes, now_seconds: int) -> Receipt:
    """Answer a token request. The names of `headers` are in lower case."""
    try:
        client = _asking(clients, headers, body)
    except _Refused as refused:
        return refused.receipt
    answer = _Answer(client.token(now_seconds), "Bearer", LIFETIME)
    return Receipt(status=200, headers=_NO_STORE, body=msgspec.json.encode(answer))


def _asking(clients: Iterable[Credentials], headers: Mapping[str, str], body: bytes) -> Credentials:
    """Return who asks, and asks rightly."""
    form = _form_of(headers.get("content-type", ""), body)
    client = _client_of(clients, _credentials(headers.get("authorization"), form))
    if form.get("grant_type") != GRANT:
        raise _Refused("unsupported_grant_type", f"grant_type must be {GRANT}")
    return client


def _client_of(clients: Iterable[Credentials], told: Sequence[tuple[str, str]]) -> Credentials:
    for client in clients:
        if any(client_id == client.client_id and client.knows(secret) for client_id, secret in told):
            return client
    raise _Refused("invalid_client", "no client of this name and secret is known here", 401)


def _form_of(content_type: str, body: bytes) -> dict[str, str]:
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise _Refused("invalid_request", f"{FORM} is expected")
    if len(body) > MAX_TOKEN_BODY:
        raise _Refused("invalid_request", f"at most {MAX_TOKEN_BODY} bytes")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise _Refused("invalid_request", f"a form in UTF-8 of at most {MAX_FIELDS} members is expected") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise _Refused("invalid_request", "a member is there twice")
    return form


def _credentials(authorization: str | None, form: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return client and secret as they may be meant: by the Authorization header or in the form, never both."""
    if authorization is None:
        return [(form.get("client_id", ""), form.get("client_secret", ""))]
    if "client_secret" in form:
        raise _Refused("invalid_request", "credentials are there twice, as a header and in the form")
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(authorization) > MAX_CREDENTIALS:
        raise _Refused("invalid_client", "Basic credentials are expected", 401)
    try:
        client_id, _, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        raise _Refused("invalid_client", "Basic credentials are base64 of UTF-8", 401) from None
    # RFC 6749, section 2.3.1, has both encoded as in a form, which not every client does.
    return [(client_id, secret), (unquote_plus(client_id), unquote_plus(secret))]
