"""The strict server's token endpoint: RFC 7523 with ES256, as published."""

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PATH = "/authz/v1/oauth2/token"
MAX_AHEAD = 900
"""How far ahead an assertion may end, seconds."""
MAX_REMEMBERED = 10_000
"""Most tokens and assertions that are remembered."""


class Refused(Exception):
    """The grant is refused: RFC 6749's error and a text."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.body = json.dumps({"error": error, "error_description": text}).encode()


class Tokens:
    """Trades assertions of one party for tokens, and knows the tokens again; `keys` are public, by `kid`."""

    def __init__(self, party: str, keys: Mapping[str, ECKey]) -> None:
        self._party = party
        self._keys = keys
        self._own = ECKey.generate_key("P-256", private=True)
        self._valid: dict[bytes, float] = {}
        self._used: set[str] = set()

    def exchange(self, content_type: str, body: bytes, seconds: float) -> bytes:
        """Return the answer with a new token that lives for `seconds`. Raises Refused."""
        members = _members_of(content_type, body)
        if members.get("grant_type") != GRANT:
            raise Refused("unsupported_grant_type", "grant_type")
        self._check(members.get("assertion", ""))
        token = self._new(seconds)
        return json.dumps({
            "access_token": token, "expires_in": int(seconds), "token_type": "Bearer",
            "scope": "d1-api:physical-card:read d1-api:physical-card:write",
        }).encode()  # fmt: skip

    def is_valid(self, authorization: bytes) -> bool:
        """Whether this is `Bearer` and a token that lives."""
        return self._valid.get(authorization, 0.0) > time.monotonic()

    def revoke(self) -> None:
        """End all tokens."""
        self._valid.clear()

    def _new(self, seconds: float) -> str:
        now = int(time.time())
        claims = {
            "iss": "strict",
            "sub": self._party,
            "iat": now,
            "exp": now + int(seconds),
            "jti": secrets.token_hex(8),
        }
        token = jwt.encode({"alg": "ES256", "typ": "JWT"}, claims, self._own, algorithms=["ES256"])
        if len(self._valid) >= MAX_REMEMBERED:
            self._valid.clear()
        self._valid[b"Bearer " + token.encode()] = time.monotonic() + seconds
        return token

    def _check(self, assertion: object) -> None:
        now = time.time()
        try:
            read = jwt.decode(str(assertion), self._key_of, algorithms=["ES256"])
        except (JoseError, ValueError, TypeError, KeyError):
            raise Refused("invalid_grant", "the assertion is not valid") from None
        claims = read.claims
        ends, begins = claims.get("exp"), claims.get("nbf", 0)
        if claims.get("iss") != self._party or claims.get("sub") != self._party:
            raise Refused("invalid_grant", "iss and sub must be the issuer")
        if not isinstance(ends, int | float) or not now < ends <= now + MAX_AHEAD + 1 or begins > now + 60:
            raise Refused("invalid_grant", "exp must lie ahead, by 15 minutes at most")
        if "aud" in claims and not _is_for_us(claims["aud"]):
            raise Refused("invalid_grant", "aud is somebody else")
        self._use(claims.get("jti"))

    def _key_of(self, read: Any) -> ECKey:
        return self._keys[read.headers()["kid"]]

    def _use(self, name: object) -> None:
        if name is None:
            return
        if str(name) in self._used:
            raise Refused("invalid_grant", "the assertion was used before")
        if len(self._used) >= MAX_REMEMBERED:
            self._used.clear()
        self._used.add(str(name))


def _is_for_us(audience: object) -> bool:
    named = audience if isinstance(audience, list) else [audience]
    return any(isinstance(one, str) and one.endswith(PATH) for one in named)


def _members_of(content_type: str, body: bytes) -> dict[str, Any]:
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            members = json.loads(body)
            return members if isinstance(members, dict) else {}
        if kind == "application/x-www-form-urlencoded":
            pairs = parse_qsl(body.decode(), strict_parsing=True)
            if len(dict(pairs)) == len(pairs):
                return dict(pairs)
    except ValueError:
        pass
    raise Refused("invalid_request", "form or JSON, each member once")
