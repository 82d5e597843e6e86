"""Settling: what came of calls goes into the store, many calls in one transaction.

A success counts whoever sent it; a failure only where the lane's fence is still the sender's. Deliveries and failures
are two transactions, each in the order of ids: so no two writers wait for each other in a ring. What came of one
notification twice, as when a batch is split, is settled one after the other.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import structlog

from cardtrail.db import Database, Lanes, Row, Transaction
from cardtrail.errors import StoreUnavailable

MAX_GROUP = 2_000
"""Most notifications settled in one transaction; the results of one call are never split."""
MAX_WAITING = 10_000
"""Most notifications that may wait to be settled; senders then wait too."""
ENOUGH = 256
"""Notifications that are settled at once; fewer first wait for company, since a commit costs as much as all of them."""
GATHER_SECONDS = 0.02
"""How long they wait. Only the store learns later: the endpoint has its answer, and the claim is still held."""
RETRY_SECONDS = 0.5
"""Pause before the store is tried again."""
TRIES = 20
"""How often it is tried; then the rows are left as they are and will be sent again."""

_log = structlog.get_logger()


class Settlement(msgspec.Struct, frozen=True):
    """What came of one call: rows of `add_attempts`, `settle_delivered` and `settle_failed`."""

    attempt: Row
    delivered: Sequence[Row] = ()
    failed: Sequence[Row] = ()

    @property
    def ids(self) -> list[str]:
        """Which notifications it settles."""
        return [row[1] for rows in (self.delivered, self.failed) for row in rows]

    @property
    def size(self) -> int:
        """How many notifications it settles."""
        return len(self.delivered) + len(self.failed)


Done = Callable[[Settlement], None]
"""Told when a settlement is in the store, or was given up."""


class Settler:
    """Settles for all lanes of a process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: list[tuple[Settlement, Done]] = []
        self._size = 0
        self._lanes = Lanes(1, self._drain)
        self._room = asyncio.Event()
        self._room.set()
        self._enough = asyncio.Event()

    async def put(self, settlement: Settlement, done: Done) -> None:
        """Hand over what came of a call; wait only while too much waits already."""
        if self._size >= MAX_WAITING:
            await self._room.wait()
        self._waiting.append((settlement, done))
        self._size += settlement.size
        if self._size >= ENOUGH:
            self._enough.set()
        if self._size >= MAX_WAITING:
            self._room.clear()
        self._lanes.wake()

    async def flush(self) -> None:
        """Wait until everything handed over is settled."""
        self._enough.set()
        await self._lanes.ended()

    async def _drain(self) -> None:
        while self._waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._enough.wait()
            self._enough.clear()
            group = self._next_group()
            await self._write_patiently([settlement for settlement, _ in group])
            for settlement, done in group:
                done(settlement)

    def _next_group(self) -> list[tuple[Settlement, Done]]:
        """Take what fits into one transaction, and no notification twice."""
        size, count, seen = 0, 0, set[str]()
        for settlement, _ in self._waiting:
            ids = settlement.ids
            if count and (size + len(ids) > MAX_GROUP or not seen.isdisjoint(ids)):
                break
            size, count = size + len(ids), count + 1
            seen.update(ids)
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._size -= size
        self._room.set()
        return group

    async def _write_patiently(self, group: Sequence[Settlement]) -> None:
        for _ in range(TRIES):
            try:
                await self._write(group)
            except StoreUnavailable as error:
                _log.warning("not_settled_yet", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:  # noqa: BLE001 -- what cannot be written must not take with it what can
                _log.exception("not_settled", calls=len(group))
                for settlement in group if len(group) > 1 else ():
                    await self._write_patiently([settlement])
                return
            else:
                return
        _log.error("not_settled", calls=len(group))

    async def _write(self, group: Sequence[Settlement]) -> None:
        attempts = sorted(settlement.attempt for settlement in group)
        delivered = sorted(row for settlement in group for row in settlement.delivered)
        failed = sorted(row for settlement in group for row in settlement.failed)

        def keep(tx: Transaction) -> None:
            tx.each("add_attempts", attempts)
            tx.each("settle_delivered", delivered)

        await self._db.transact(keep)
        if failed:
            await self._db.transact(lambda tx: tx.each("settle_failed", failed))
