"""Retention of what is counted by the hour and by the day: old counts go in small steps; what is usual stays."""

from collections.abc import Callable

from cardtrail.db import Database, Transaction
from cardtrail.platform.moves import HOUR

KEPT = 400 * 24 * HOUR
"""How long it stays counted how many orders came to a place, and how due dates were kept, µs of domain time."""
KINDS = ("passage", "promise")
BATCH = 1_000
"""Most counts of one issuer and kind in one transaction."""
MAX_ISSUERS = 1_000
"""Most issuers of one look."""


class Counts:
    """Forgets old counts; `clock` gives domain time in µs."""

    def __init__(self, db: Database, clock: Callable[[], int]) -> None:
        self._db = db
        self._clock = clock

    async def run_once(self) -> int:
        """Forget a batch of each issuer's; return how many went. Raises StoreUnavailable."""
        before = (self._clock() - KEPT) // HOUR
        issuers = await self._db.read(lambda tx: tx.all("issuers", after="", most=MAX_ISSUERS))
        gone = 0
        for (issuer_id,) in issuers:
            gone += await self._forget(issuer_id, before)
        return gone

    async def _forget(self, issuer_id: str, before: int) -> int:
        """Find old counts without a lock, then remove them, if there are any."""

        def look(tx: Transaction) -> list[tuple[object, ...]]:
            where = {"issuer_id": issuer_id, "before": before, "most": BATCH}
            return [row for what in KINDS for row in tx.all("old_tallies", what=what, **where)]

        found = sorted(await self._db.read(look))
        if found:
            await self._db.transact(lambda tx: tx.each("drop_tallies", found))
        return len(found)
