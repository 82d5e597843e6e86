"""The token endpoint's logic: an assertion in, an access token out. Contract section 5; RFC 7523, 6749, 8705."""

import secrets
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import msgspec

from cardtrail.db import Database
from cardtrail.errors import Refused, Unauthorized
from cardtrail.platform.auth import Authenticator, Registry
from cardtrail.platform.parties import Party
from cardtrail.protocol.certificate import UNCLEAR
from cardtrail.protocol.token import (
    ACCESS_LIFETIME,
    GRANT,
    LEEWAY,
    SECOND,
    TOKEN_PATH,
    AccessToken,
    Assertion,
    UnknownKey,
    make_access_token,
    verify_assertion,
)

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
MAX_BODY = 16_384
"""Largest body of a token request, bytes."""
MAX_FIELDS = 20
"""Most members of a form."""
FORGOTTEN = 1_000
"""Most expired notes dropped in one transaction."""


class GrantRefused(Refused):
    """The token endpoint says no. `error` is a code of RFC 6749, section 5.2; the answer is a 400."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error

    @property
    def body(self) -> bytes:
        """The answer, with no character that RFC 6749 does not allow in it."""
        text = "".join(one if " " <= one <= "~" and one not in '"\\' else "'" for one in str(self))
        return msgspec.json.encode({"error": self.error, "error_description": text})


class _Request(msgspec.Struct):
    """What a client sends; other members are ignored."""

    grant_type: str
    assertion: str
    scope: str | None = None


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: int
    scope: str
    token_type: str = "Bearer"  # noqa: S105 - the published name of the kind


class Tokens:
    """Trades assertions for access tokens. `audience` is the setting: names of ours, separated by commas."""

    def __init__(self, db: Database, authenticator: Authenticator, audience: str = "") -> None:
        self._db = db
        self._authenticator = authenticator
        self._registry: Registry = authenticator.registry
        self._is_ours = audience_of(audience)

    async def exchange(self, content_type: str, body: bytes, certificate: str | None, peer: str) -> bytes:
        """Return the answer to a token request.

        `certificate` is the client certificate's thumbprint or None, `peer` the caller's address. Raises
        GrantRefused, TooMany or StoreUnavailable.
        """
        self._registry.require_fresh()
        now = self._registry.clock()
        self._authenticator.failures.admit(peer, now)
        request = _request_of(content_type, body)
        if certificate == UNCLEAR:
            raise GrantRefused("invalid_request", "what the proxy says of the client certificate cannot be read")
        try:
            assertion, party = await self._believed(request.assertion)
        except Unauthorized as error:
            self._authenticator.failures.charge(peer, now)
            raise GrantRefused("invalid_grant", str(error)) from None
        self._authenticator.take(party)
        scope = _granted(party, request.scope)
        await self._use(assertion)
        return self._answer(assertion, party, scope, certificate)

    async def _believed(self, text: str) -> tuple[Assertion, Party]:
        """Return a verified assertion and its party. Raises Unauthorized."""
        try:
            assertion = self._verified(text)
        except UnknownKey:
            if not await self._registry.run_once():  # registered less than a second ago?
                raise
            assertion = self._verified(text)
        party = self._registry.active_party(assertion.party_id)
        if party is None:
            raise UnknownKey("this party is not active")
        return assertion, party

    def _verified(self, text: str) -> Assertion:
        return verify_assertion(text, self._registry.find_key, self._registry.wall(), self._is_ours)

    async def _use(self, assertion: Assertion) -> None:
        """Let an assertion that has a `jti` be used once, by whatever process. Raises GrantRefused."""
        if assertion.jti is None:
            return
        row = {"party_id": assertion.party_id, "jti": assertion.jti, "expires_at": assertion.expires_at}
        if not await self._db.transact(lambda tx: tx.run("use_assertion", **row)):
            raise GrantRefused("invalid_grant", "the assertion was used before")

    def _answer(self, assertion: Assertion, party: Party, scope: str, certificate: str | None) -> bytes:
        now = self._registry.wall() // SECOND * SECOND
        key = self._registry.snapshot.ring.signer(now)
        token = AccessToken(
            party_id=party.party_id, scope=scope, kid=assertion.kid, generation=party.generation,
            issued_at=now, expires_at=now + ACCESS_LIFETIME * SECOND, jti=secrets.token_urlsafe(12),
            certificate=certificate, signed_by=key.kid,
        )  # fmt: skip
        text = make_access_token(token, self._authenticator.issuer, key.private)
        return msgspec.json.encode(_Answer(text, ACCESS_LIFETIME, scope))

    async def run_once(self) -> int:
        """Forget a batch of used assertions that have expired; return how many."""
        before = self._registry.wall() - LEEWAY * SECOND
        return await self._db.transact(lambda tx: tx.run("forget_assertions", before=before, most=FORGOTTEN))


def audience_of(setting: str) -> Callable[[str], bool]:
    """Return what tells our names in `aud`: those of the setting, or without one any URL with our token path."""
    names = frozenset(name.strip() for name in setting.split(",") if name.strip())
    return names.__contains__ if names else _is_token_url


def _is_token_url(name: str) -> bool:
    try:
        return urlsplit(name).path == TOKEN_PATH
    except ValueError:
        return False


def _request_of(content_type: str, body: bytes) -> _Request:
    """Read a token request. Raises GrantRefused."""
    if len(body) > MAX_BODY:
        raise GrantRefused("invalid_request", f"the request is longer than {MAX_BODY} bytes")
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (FORM, JSON):
        raise GrantRefused("invalid_request", f"Content-Type must be {FORM} or {JSON}")
    try:
        members = _form(body) if kind == FORM else msgspec.json.decode(body)
        if isinstance(members, dict) and members.get("grant_type", GRANT) != GRANT:
            raise GrantRefused("unsupported_grant_type", f"grant_type must be {GRANT}")
        return msgspec.convert(members, _Request)
    except msgspec.ValidationError as error:
        raise GrantRefused("invalid_request", str(error)) from None
    except (ValueError, RecursionError):
        raise GrantRefused("invalid_request", "the request cannot be read") from None


def _form(body: bytes) -> dict[str, str]:
    pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise GrantRefused("invalid_request", "a member is there twice")
    return members


def _granted(party: Party, wanted: str | None) -> str:
    """Return what is granted: all of the party's scopes, or those asked for. Raises GrantRefused."""
    asked = party.scopes if wanted is None else frozenset(wanted.split())
    if not asked or not asked <= party.scopes:
        raise GrantRefused("invalid_scope", "this party may have: " + " ".join(sorted(party.scopes)))
    return " ".join(sorted(asked))
