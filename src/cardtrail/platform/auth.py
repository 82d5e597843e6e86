"""Who is calling? A token is verified once and remembered; its bearer's rights are never older than a second.

`Registry` holds a snapshot of parties and keys and asks the database every second whether anything changed;
without an answer for ten seconds nothing is believed any more. `Authenticator.check` is on the hot path: a
dictionary look-up, four comparisons and the party's rate limit.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import ceil

import msgspec

from cardtrail.core.bucket import Bucket
from cardtrail.core.limit import PeerLimit
from cardtrail.db import Database, Transaction
from cardtrail.errors import StoreUnavailable, TooMany, Unauthorized
from cardtrail.files.box import Box
from cardtrail.platform.parties import ALL, Party, PartyKind, PartyState, all_parties
from cardtrail.platform.signing import Ring, ring_of
from cardtrail.protocol.token import (
    MAX_ACCESS_TOKEN,
    AccessToken,
    PublicKey,
    TokenExpired,
    public_key_of,
    verify_access_token,
)

BELIEVED = 10.0
"""Seconds after which an unconfirmed snapshot is not believed any more."""
MAX_TOKENS = 10_000
"""Most verified tokens that are remembered."""
ISSUER = "cardtrail"
"""`iss` of our access tokens."""
_SCHEME = b"bearer "
_VERSION = "registry_version"


def wall_clock() -> int:
    """Return now in µs by the process's own clock; tokens are never compared with virtual time."""
    return time.time_ns() // 1_000


class Principal(msgspec.Struct, frozen=True):
    """Who calls and what it may do; the sets may hold `*` for all."""

    party_id: str
    kind: PartyKind
    scopes: frozenset[str]
    issuers: frozenset[str]
    sources: frozenset[str]
    kinds: frozenset[str]
    strict: bool

    def may_act_for(self, issuer_id: str) -> bool:
        """Tell whether an issuer's cards are the caller's business."""
        return issuer_id in self.issuers or ALL in self.issuers


class Snapshot(msgspec.Struct, frozen=True):
    """The registry as it was at `version`; `keys` are the active ones, as JWK by party and `kid`."""

    version: str
    parties: Mapping[str, Party]
    keys: Mapping[tuple[str, str], str]
    ring: Ring


class Registry:
    """Parties and keys as this process knows them.

    `clock` is monotonic, in seconds; `wall` gives µs and is what tokens are compared with.
    """

    def __init__(
        self,
        db: Database,
        box: Box,
        wall: Callable[[], int] = wall_clock,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._box = box
        self._looking = asyncio.Lock()
        self._asked = float("-inf")
        self.wall = wall
        self.clock = clock
        self.snapshot = Snapshot("", {}, {}, Ring())
        self.epoch = 0
        """Rises with every change that was noticed."""
        self.believed_until = float("-inf")
        """Moment of `clock` after which the snapshot is too old."""

    async def run_once(self) -> int:
        """Ask whether anything changed, and if so load it; return 1 or 0. To be called every second.

        Raises StoreUnavailable, or SettingError if the box does not open the platform's keys.
        """
        called, epoch = self.clock(), self.epoch
        async with self._looking:  # or an older snapshot could overtake a newer one
            if self._asked <= called:  # else somebody looked while this call waited
                await self._look()
        return int(self.epoch != epoch)

    async def _look(self) -> None:
        asked = self.clock()  # before the question: what it answers is at least as new as this
        row = await self._db.read(lambda tx: tx.one("find_meta", name=_VERSION))
        if row is not None and row[0] != self.snapshot.version:
            self.snapshot = await self._db.read(self._load)
            self.epoch += 1
        self._asked = asked
        self.believed_until = asked + BELIEVED

    def _load(self, tx: Transaction) -> Snapshot:
        row = tx.one("find_meta", name=_VERSION)  # first: a change that slips in after it is loaded next time
        return Snapshot(
            version=row[0] if row else "",
            parties={party.party_id: party for party in all_parties(tx)},
            keys={(row[0], row[1]): row[2] for row in tx.all("active_keys")},
            ring=ring_of(tx.all("signing_keys"), self._box),
        )

    @property
    def age(self) -> float:
        """For how long nobody has confirmed the snapshot, seconds; infinite before it was loaded."""
        return self.clock() - (self.believed_until - BELIEVED)

    def require_fresh(self) -> None:
        """Raise StoreUnavailable if the snapshot is too old to be believed."""
        if self.clock() > self.believed_until:
            raise StoreUnavailable("the registry of parties cannot be read now")

    def active_party(self, party_id: str) -> Party | None:
        """Return a party that is believed."""
        party = self.snapshot.parties.get(party_id)
        return party if party is not None and party.state is PartyState.ACTIVE else None

    def find_key(self, party_id: str, kid: str) -> PublicKey | None:
        """Return an active party's active key."""
        jwk = self.snapshot.keys.get((party_id, kid))
        return None if jwk is None or self.active_party(party_id) is None else _imported(jwk)

    def jwks(self) -> bytes:
        """Return the platform's public keys, as published."""
        return self.snapshot.ring.jwks(self.wall())

    def may_reach(self, party_id: str, issuer_id: str) -> bool:
        """Tell whether a party's events reach an issuer's cards; also of a party that was revoked since."""
        party = self.snapshot.parties.get(party_id)
        return party is not None and party.may_act_for(issuer_id)


@lru_cache(maxsize=1_000)
def _imported(jwk: str) -> PublicKey:
    return public_key_of(jwk)


class _Known:
    """A verified token: what it said, and who that makes its bearer as of `epoch`, until `until`."""

    __slots__ = ("bucket", "certificate", "epoch", "principal", "token", "until")

    def __init__(self, token: AccessToken) -> None:
        self.token = token
        self.certificate = token.certificate
        self.epoch = -1
        self.until = 0.0
        self.principal: Principal
        self.bucket: Bucket


class Authenticator:
    """Checks access tokens of this platform, whose `iss` is `issuer`."""

    def __init__(self, registry: Registry, issuer: str = ISSUER) -> None:
        self.registry = registry
        self.issuer = issuer
        self.failures = PeerLimit()
        self._clock = registry.clock
        self._recent: dict[bytes | None, _Known] = {}
        self._older: dict[bytes | None, _Known] = {}
        self._buckets: dict[str, Bucket] = {}

    def check(self, authorization: bytes | None, certificate: str | None = None, peer: str = "") -> Principal:
        """Return who sends this `Authorization` header over a connection with this client certificate.

        `certificate` is the thumbprint (`x5t#S256`) or None, `peer` the caller's address. Raises Unauthorized,
        TooMany (its party's rate, or its address has failed too often) or StoreUnavailable. Never waits.
        """
        registry = self.registry
        now = self._clock()
        known = self._recent.get(authorization)
        if (
            known is None
            or known.epoch != registry.epoch
            or known.certificate != certificate
            or now >= known.until
            or now > registry.believed_until
        ):
            known = self._admit(authorization or b"", certificate, peer, now)
        bucket = known.bucket
        if bucket.due <= now:  # as in Bucket.take, without the price of a call
            bucket.due = now + bucket.interval
        elif wait := bucket.take(now):
            raise _too_fast(wait)
        return known.principal

    def take(self, party: Party) -> None:
        """Count a call of a party that was made known otherwise than by a token. Raises TooMany."""
        if wait := self._bucket_of(party).take(self._clock()):
            raise _too_fast(wait)

    def _admit(self, authorization: bytes, certificate: str | None, peer: str, now: float) -> _Known:
        """Verify a token that is new, or find out anew whose it is after the registry changed."""
        self.registry.require_fresh()
        known = self._recent.get(authorization) or self._older.get(authorization)
        if known is None:
            known = _Known(self._verified(authorization, peer, now))
        self._remember(authorization, known)
        self._resolve(known, certificate, now)
        return known

    def _remember(self, authorization: bytes, known: _Known) -> None:
        """Keep a token. When half the room is full, what was not used since it was last so is forgotten.

        That is nearly the order of use, and costs nothing where a token is found.
        """
        if len(self._recent) >= MAX_TOKENS // 2 and authorization not in self._recent:
            self._older, self._recent = self._recent, {}
        self._recent[authorization] = known

    def _verified(self, authorization: bytes, peer: str, now: float) -> AccessToken:
        """Return what a token says; every failure but lateness is charged to the caller's address."""
        if not authorization:
            raise Unauthorized("a bearer token is needed")
        self.failures.admit(peer, now)
        try:
            return self._token_of(authorization)
        except TokenExpired:
            raise
        except Unauthorized:
            self.failures.charge(peer, now)
            raise

    def _token_of(self, authorization: bytes) -> AccessToken:
        if len(authorization) > MAX_ACCESS_TOKEN or authorization[:7].lower() != _SCHEME:
            raise Unauthorized("a bearer token is needed")
        wall = self.registry.wall()
        ring = self.registry.snapshot.ring
        return verify_access_token(authorization[7:], lambda kid: ring.verifier(kid, wall), wall, self.issuer)

    def _resolve(self, known: _Known, certificate: str | None, now: float) -> None:
        """Tie a verified token to the registry as it is now. Raises Unauthorized."""
        token, registry, wall = known.token, self.registry, self.registry.wall()
        if token.expires_at <= wall:
            raise TokenExpired("the access token has expired")
        if token.certificate != certificate:
            raise Unauthorized("the access token was not issued for this client certificate")
        party = registry.snapshot.parties.get(token.party_id)
        if party is None or party.generation < token.generation:  # another process signed it, and knows more
            raise StoreUnavailable("the token's party changed a moment ago")
        if party.state is not PartyState.ACTIVE or party.generation != token.generation:
            raise Unauthorized("the access token was revoked")
        if registry.snapshot.ring.verifier(token.signed_by, wall) is None:
            raise Unauthorized("the key that signed this access token is not in use")
        known.principal = _principal_of(party, token.scope)
        known.bucket = self._bucket_of(party)
        known.until = now + (token.expires_at - wall) / 1_000_000
        known.epoch = registry.epoch

    def _bucket_of(self, party: Party) -> Bucket:
        """Return the party's rate limit in this process; a new rate holds from now on."""
        bucket = self._buckets.get(party.party_id)
        if bucket is None:
            bucket = self._buckets[party.party_id] = Bucket(party.rate, party.rate)
        bucket.set_rate(party.rate, party.rate)
        return bucket


def _principal_of(party: Party, scope: str) -> Principal:
    scopes = party.scopes.intersection(scope.split())
    return Principal(party.party_id, party.kind, scopes, party.issuers, party.sources, party.kinds, party.strict)


def _too_fast(wait: float) -> TooMany:
    return TooMany("more calls than agreed for this party", ceil(wait))
