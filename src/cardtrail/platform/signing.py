"""The keys the platform signs access tokens with: made at the first start, rotated, forgotten in the end.

A new key is published a while before it signs, so that every process and every reader of jwks.json knows it.
An old one verifies until the last token it signed has expired.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
from joserfc.jwk import ECKey

from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import Conflict, StoreUnavailable
from cardtrail.files.box import Box
from cardtrail.pages.door.change import Changed
from cardtrail.platform.audit import change
from cardtrail.protocol.token import (
    ACCESS_LIFETIME,
    ALGORITHM,
    CURVE,
    SECOND,
    PrivateKey,
    PublicKey,
    jwk_of,
    private_key_of,
    public_key_of,
)

SETTLE = 60 * SECOND
"""How long a new key is only published, µs. More than any process that may serve lags behind."""
RETIRE = SETTLE + (ACCESS_LIFETIME + 60) * SECOND
"""How long after its successor came a key still verifies, µs."""
MAX_AGE = 90 * 86_400 * SECOND
"""A key older than this gets a successor, µs."""
SUBJECT = "platform"
ACTOR = "platform"
Age = tuple[str, int]
"""A key's name and when it was created, µs."""
Plan = tuple[bool, list[str]]
"""Whether a new key is wanted, and the names of those to forget."""


class SigningKey(msgspec.Struct, frozen=True):
    """One key of the platform; `created_at` in µs."""

    kid: str
    public: PublicKey
    private: PrivateKey
    created_at: int


class Ring(msgspec.Struct, frozen=True):
    """The platform's keys, oldest first, and what each is good for at a moment `now` (µs)."""

    keys: tuple[SigningKey, ...] = ()

    def living(self, now: int) -> Sequence[SigningKey]:
        """Return the keys that still verify."""
        useful = [key for key, after in pairwise(self.keys) if now < after.created_at + RETIRE]
        return [*useful, *self.keys[-1:]]

    def signer(self, now: int) -> SigningKey:
        """Return the key to sign with: the newest that everybody knows, or the first. Raises StoreUnavailable."""
        if not self.keys:
            raise StoreUnavailable("the platform has no key to sign with yet")
        known = [key for key in self.keys if key.created_at + SETTLE <= now]
        return known[-1] if known else self.keys[0]

    def verifier(self, kid: str, now: int) -> PublicKey | None:
        """Return the key of this name, if it still verifies."""
        return next((key.public for key in self.living(now) if key.kid == kid), None)

    def jwks(self, now: int) -> bytes:
        """Return what is published at /.well-known/jwks.json."""
        published = [
            {**msgspec.json.decode(jwk_of(key.public)), "kid": key.kid, "use": "sig", "alg": ALGORITHM}
            for key in self.living(now)
        ]
        return msgspec.json.encode({"keys": published})


def ring_of(rows: Sequence[Row], box: Box) -> Ring:
    """Return the keys of the rows of `signing_keys`. Raises SettingError if the box does not open them."""
    return Ring(tuple(_key_of(row, box) for row in rows))


def _key_of(row: Row, box: Box) -> SigningKey:
    kid, public, sealed, created_at = row
    private = private_key_of(box.open(_name(kid), bytes(sealed)).decode())
    return SigningKey(kid, public_key_of(public), private, created_at)


def _name(kid: str) -> str:
    return f"signing key {kid}"


class Signing:
    """Makes, rotates and forgets keys. `clock` gives µs; call `run_once` at the start and now and then."""

    def __init__(self, db: Database, box: Box, clock: Callable[[], int]) -> None:
        self._db = db
        self._box = box
        self._clock = clock

    async def run_once(self) -> int:
        """Make the first key, or a successor of an old one; forget the dead. Return how many changed."""
        if not any(_upkeep(await self._db.read(_ages), self._clock())):
            return 0
        try:
            return len(await self._renew(ACTOR, _upkeep))
        except Conflict:  # another process was faster
            return 0

    async def rotate(self, actor: str, *, drop_old: bool = False) -> str:
        """Make a new key and return its `kid`. With `drop_old` all tokens issued so far die at once."""

        def plan(ages: list[Age], now: int) -> Plan:
            return True, [kid for kid, _ in ages] if drop_old else _dead(ages, now)

        return (await self._renew(actor, plan))[0]

    async def _renew(self, actor: str, plan: Callable[[list[Age], int], Plan]) -> list[str]:
        """Return the names of the keys made, then of those dropped. Raises Conflict if nothing is to do."""
        now = self._clock()
        kid, public, sealed = self._new_key()

        def work(tx: Transaction) -> Changed[list[str]]:
            ages = _ages(tx)
            wanted, dropped = plan(ages, now)
            if not wanted and not dropped:
                raise Conflict("the keys are as they should be")
            for one in dropped:
                tx.run("drop_signing_key", kid=one)
            if wanted:
                # After the newest, even if that was made by a process whose clock is ahead of ours.
                at = max([now, *(created_at + 1 for _, created_at in ages)])
                tx.run("add_signing_key", kid=kid, public_jwk=public, private_box=sealed, created_at=at)
            made = [kid] if wanted else []
            return Changed("key.rotate", SUBJECT, {"dropped": dropped}, {"made": made}, made + dropped)

        return await change(self._db, actor, now, work)

    def _new_key(self) -> tuple[str, str, bytes]:
        key = ECKey.generate_key(CURVE)
        kid = key.thumbprint()
        return kid, jwk_of(key), self._box.seal(_name(kid), msgspec.json.encode(key.as_dict(private=True)))


def _ages(tx: Transaction) -> list[Age]:
    return [(row[0], row[3]) for row in tx.all("signing_keys")]


def _upkeep(ages: list[Age], now: int) -> Plan:
    return not ages or ages[-1][1] + MAX_AGE <= now, _dead(ages, now)


def _dead(ages: list[Age], now: int) -> list[str]:
    """Return the keys whose last token has expired."""
    return [kid for (kid, _), (_, followed_at) in pairwise(ages) if followed_at + RETIRE <= now]
