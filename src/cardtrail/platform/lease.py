"""Leases of lanes: one process sends to an endpoint, so its limits hold over any number of processes.

A lease is written in the database's own time, the one clock that all processes share. Its holder counts on its own
monotonic clock from before it asked, so it stops before anyone else may begin.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence

import msgspec

from cardtrail.db import Database, Row, Transaction

LaneKey = tuple[str, str]
"""Issuer id, endpoint id."""
SECOND = 1_000_000
MAX_SECONDS = 300.0
"""Longest lease that any process takes, whatever its settings. One that ends later is from before a clock jumped."""
MAX_LOOK = 2_000
"""Most lanes with work that one look lists: more than a process holds, or its own would hide those that nobody has."""
_FAR = round(MAX_SECONDS * SECOND)


class Work(msgspec.Struct, frozen=True):
    """A lane that has something to do."""

    key: LaneKey
    has_chore: bool
    version: str


class Lease(msgspec.Struct):
    """A lane that is held, with its fence, until a moment of the monotonic clock."""

    key: LaneKey
    fence: int
    until: float


class Leases:
    """Leases of one process. `seconds` is how long one lasts; `monotonic` gives seconds."""

    def __init__(self, db: Database, seconds: float, monotonic: Callable[[], float]) -> None:
        self.holder = secrets.token_hex(8)
        self.seconds = seconds
        self._db = db
        self._span = round(seconds * SECOND)
        self._monotonic = monotonic

    async def look(self, now: int) -> list[Work]:
        """Return the lanes that have something to do at `now` (µs) and that nobody else holds."""

        def work(tx: Transaction) -> list[Row]:
            clock = _clock(tx)
            return tx.all("lanes_with_work", me=self.holder, clock=clock, too_far=clock + _FAR, now=now, most=MAX_LOOK)

        rows = await self._db.read(work)
        return [Work((row[0], row[1]), bool(row[2]), row[3]) for row in rows]

    async def acquire(self, keys: Sequence[LaneKey]) -> list[Lease]:
        """Lease lanes; return those that were had. A lease that ends absurdly late is from before a clock jumped.

        One of our own is had again: whoever asks has lost sight of it.
        """
        if not keys:
            return []
        until = self._monotonic() + self.seconds

        def work(tx: Transaction) -> list[Row]:
            clock = _clock(tx)
            tail = (self.holder, clock, clock + _FAR, clock + self._span)
            return tx.each("acquire_lanes", [(*key, *tail) for key in sorted(keys)])

        rows = await self._db.transact(work)
        return [Lease((row[0], row[1]), row[2], until) for row in rows]

    async def renew(self, leases: Iterable[Lease]) -> list[Lease]:
        """Hold on to these; return those that are lost."""
        held = sorted(leases, key=lambda lease: lease.key)
        if not held:
            return []
        until = self._monotonic() + self.seconds

        def work(tx: Transaction) -> list[Row]:
            end = _clock(tx) + self._span
            return tx.each("renew_lanes", [(*lease.key, lease.fence, end) for lease in held])

        kept = {(row[0], row[1]) for row in await self._db.transact(work)}
        for lease in held:
            if lease.key in kept:
                lease.until = until
        return [lease for lease in held if lease.key not in kept]

    async def release(self, leases: Iterable[Lease]) -> None:
        """Let go, so that others need not wait."""
        rows = [(*lease.key, lease.fence) for lease in sorted(leases, key=lambda lease: lease.key)]
        if rows:
            await self._db.transact(lambda tx: tx.each("release_lanes", rows))


def _clock(tx: Transaction) -> int:
    row = tx.one("clock")
    assert row is not None  # noqa: S101 -- the query always gives one row
    return int(row[0])
