"""The mirror: the issuer's own copy of where its cards are. It keeps the newest operation of each order.

`Mirror` is for programs without an event loop, `AsyncMirror` for those that have one; both run the same works, each one
transaction. Any number of processes may share a mirror.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from cardtrail.db import Database, Row, Transaction
from cardtrail.issuer.dwell import Dwell
from cardtrail.issuer.rows import known_of
from cardtrail.issuer.schedule import Schedule
from cardtrail.issuer.standing import FOLDED, Known, Observed, Outcome
from cardtrail.issuer.store import open_store
from cardtrail.issuer.take import Batch, Sighting, taking, ticket_of
from cardtrail.protocol.reading import Operation, operation_of

T = TypeVar("T")
MAX_CHANGES = 1_000
"""Most changes that are read at once."""
Clock = Callable[[], int]


def wall_clock() -> int:
    """Return now, µs since 1970 UTC."""
    return time.time_ns() // 1_000


class Held(msgspec.Struct, frozen=True):
    """One order in the mirror: the operation as it was received, and how it came to be what the mirror says."""

    operation: Operation
    known: Known


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the mirror. `number` rises with every change of an issuer's mirror; instants in µs.

    `wrong_since` is set where an answer told what no notification had: since then, at most, the mirror was wrong.
    """

    number: int
    card_id: str
    operation_id: str
    outcome: str
    source: str
    why: str
    learned_at: int
    wrong_since: int | None
    stage_before: str | None
    shipment_before: str | None
    stage: str
    shipment_status: str | None
    picture: bytes


def change_of(row: Row) -> Change:
    """Return the change of a row of `changes_after`."""
    return Change(
        number=row[0], card_id=row[1], operation_id=row[2], outcome=row[3], source=row[4], why=row[5],
        learned_at=row[6], wrong_since=row[7], stage_before=row[8], shipment_before=row[9], stage=row[10],
        shipment_status=row[11], picture=bytes(row[12]),
    )  # fmt: skip


# ── works ────────────────────────────────────────────────────────────────────────────────────────────────────


def held_of(tx: Transaction, issuer_id: str, card_id: str) -> list[Held]:
    """Return the orders of a card, newest first, then its operations of other kinds."""
    rows = tx.all("pictures_of_card", issuer_id=issuer_id, card_id=card_id)
    held = [Held(operation_of(bytes(row[-1])), known_of(row)) for row in rows]
    return sorted(held, key=lambda each: each.known.operation not in FOLDED)


def _changes(issuer_id: str, after: int, most: int) -> Callable[[Transaction], list[Change]]:
    def work(tx: Transaction) -> list[Change]:
        rows = tx.all("changes_after", issuer_id=issuer_id, after=after, most=min(most, MAX_CHANGES))
        return [change_of(row) for row in rows]

    return work


class AsyncMirror:
    """A mirror for programs with an event loop. `clock` gives wall-clock µs."""

    def __init__(self, db: Database, clock: Clock = wall_clock) -> None:
        self.db = db
        self.clock = clock
        self.schedule = Schedule(Dwell())

    @classmethod
    def open(cls, url: str, *, make: bool = True) -> Self:
        """Open `sqlite:///path` or `postgresql://…`; without `make` a missing file stays so.

        Raises SettingError, StoreUnavailable or SchemaMismatch.
        """
        return cls(open_store(url, make=make))

    async def ticket(self, issuer_id: str) -> int:
        """Return what the `asked_at` of an answer must be that is asked for from now on. Raises StoreUnavailable."""
        return await self.db.read(lambda tx: ticket_of(tx, issuer_id))

    async def apply(self, issuer_id: str, observed: Sequence[Observed]) -> list[Outcome]:
        """Take observations in, all or none; return what became of each. Raises InputError or StoreUnavailable."""
        return await self.put(issuer_id, Batch(now=self.clock(), observed=observed))

    async def take(
        self, issuer_id: str, observed: Sequence[Observed], *, mark: str | None, sightings: Sequence[Sighting],
        messages: int = 1,
    ) -> list[Outcome]:  # fmt: skip
        """Take messages in, with the newest high-water mark and what was not understood. Raises StoreUnavailable."""
        batch = Batch(now=self.clock(), observed=observed, heard=messages, mark=mark, sightings=sightings)
        return await self.put(issuer_id, batch)

    async def put(self, issuer_id: str, batch: Batch) -> list[Outcome]:
        """Take in all that belongs into one transaction. Raises InputError or StoreUnavailable."""
        return await self.db.transact(taking(issuer_id, batch, self.schedule))

    async def card(self, issuer_id: str, card_id: str) -> list[Held]:
        """Return the orders of a card, newest first, then its operations of other kinds. Raises StoreUnavailable."""
        return await self.db.read(lambda tx: held_of(tx, issuer_id, card_id))

    async def changes(self, issuer_id: str, after: int = 0, most: int = MAX_CHANGES) -> list[Change]:
        """Return the log of changes after a number, in commit order. Raises StoreUnavailable."""
        return await self.db.read(_changes(issuer_id, after, most))

    def close(self) -> None:
        """Close the store."""
        self.db.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Mirror:
    """A mirror for programs without an event loop; threads may share it. Its methods are those of `AsyncMirror`."""

    def __init__(self, db: Database, clock: Clock = wall_clock) -> None:
        self.db = db
        self.clock = clock
        self.schedule = Schedule(Dwell())

    @classmethod
    def open(cls, url: str, *, make: bool = True) -> Self:
        """Open `sqlite:///path` or `postgresql://…`; without `make` a missing file stays so.

        Raises SettingError, StoreUnavailable or SchemaMismatch.
        """
        return cls(open_store(url, make=make))

    def ticket(self, issuer_id: str) -> int:
        """Return what the `asked_at` of an answer must be that is asked for from now on. Raises StoreUnavailable."""
        return self.db.read_blocking(lambda tx: ticket_of(tx, issuer_id))

    def apply(self, issuer_id: str, observed: Sequence[Observed]) -> list[Outcome]:
        """Take observations in, all or none; return what became of each. Raises InputError or StoreUnavailable."""
        return self.put(issuer_id, Batch(now=self.clock(), observed=observed))

    def take(
        self, issuer_id: str, observed: Sequence[Observed], *, mark: str | None, sightings: Sequence[Sighting],
        messages: int = 1,
    ) -> list[Outcome]:  # fmt: skip
        """Take messages in, with the newest high-water mark and what was not understood. Raises StoreUnavailable."""
        batch = Batch(now=self.clock(), observed=observed, heard=messages, mark=mark, sightings=sightings)
        return self.put(issuer_id, batch)

    def put(self, issuer_id: str, batch: Batch) -> list[Outcome]:
        """Take in all that belongs into one transaction. Raises InputError or StoreUnavailable."""
        return self.db.transact_blocking(taking(issuer_id, batch, self.schedule))

    def card(self, issuer_id: str, card_id: str) -> list[Held]:
        """Return the orders of a card, newest first, then its operations of other kinds. Raises StoreUnavailable."""
        return self.db.read_blocking(lambda tx: held_of(tx, issuer_id, card_id))

    def changes(self, issuer_id: str, after: int = 0, most: int = MAX_CHANGES) -> list[Change]:
        """Return the log of changes after a number, in commit order. Raises StoreUnavailable."""
        return self.db.read_blocking(_changes(issuer_id, after, most))

    def close(self) -> None:
        """Close the store."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
