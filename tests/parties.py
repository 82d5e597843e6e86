"""The platform as far as parties and tokens go, on clocks that move only when a test says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import msgspec
from joserfc.jwk import ECKey

from cardtrail.db import Database
from cardtrail.files.box import Box
from cardtrail.platform.auth import Authenticator, Registry
from cardtrail.platform.parties import Parties, PartyKind, Rights, new_party
from cardtrail.platform.signing import Signing
from cardtrail.platform.store import open_store
from cardtrail.platform.tokens import FORM, Tokens
from cardtrail.protocol.token import GRANT, jwk_of, make_assertion

ISSUER = "ISSUER0001"
KID = "key-1"
ACTOR = "operator:ada"
PEER = "192.0.2.1"
BOX = Box(bytes(range(32)))


class Clock:
    """A process's two clocks: monotonic seconds, and µs since 1970."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return 5_000.0 + self.seconds

    def wall(self) -> int:
        return 1_800_000_000_000_000 + round(self.seconds * 1_000_000)

    def forward(self, seconds: float) -> None:
        self.seconds += seconds


class Node:
    """One process of the platform: its own view of the registry, its own token cache."""

    def __init__(self, db: Database, clock: Clock, audience: str = "") -> None:
        self.db = db
        self.clock = clock
        self.parties = Parties(db, clock.wall)
        self.signing = Signing(db, BOX, clock.wall)
        self.registry = Registry(db, BOX, clock.wall, clock.monotonic)
        self.authenticator = Authenticator(self.registry)
        self.tokens = Tokens(db, self.authenticator, audience)
        self.check = self.authenticator.check

    async def start(self) -> "Node":
        """Do what a starting process does."""
        await self.signing.run_once()
        await self.registry.run_once()
        return self

    async def register(self, party_id: str = ISSUER, kind: PartyKind = PartyKind.ISSUER, **rights: object) -> ECKey:
        """Register a party with one key `KID`, let this process notice, and return the private key."""
        key: ECKey = ECKey.generate_key("P-256")
        await self.parties.add(new_party(kind, party_id, msgspec.convert(rights, Rights)), ACTOR)
        await self.parties.add_key(party_id, jwk_of(key), ACTOR, KID)
        await self.registry.run_once()
        return key

    def assertion(self, key: ECKey, party_id: str = ISSUER, jti: str | None = None) -> str:
        """Return a good assertion."""
        return make_assertion(party_id, KID, key, self.clock.wall(), jti=jti)

    async def exchange(self, assertion: str, certificate: str | None = None, peer: str = PEER, **more: str) -> bytes:
        """Return the `Authorization` header that an assertion gives. Raises what the token endpoint raises."""
        body = urlencode({"grant_type": GRANT, "assertion": assertion, **more}).encode()
        answer = await self.tokens.exchange(FORM, body, certificate, peer)
        return b"Bearer " + str(msgspec.json.decode(answer)["access_token"]).encode()

    async def token(self, key: ECKey, party_id: str = ISSUER, certificate: str | None = None) -> bytes:
        """Return the `Authorization` header of a party."""
        return await self.exchange(self.assertion(key, party_id), certificate)


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open a store, and close it at the end."""
    db = open_store(url)
    try:
        yield db
    finally:
        db.close()
