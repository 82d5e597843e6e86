"""Retention of the outbox: what was settled long ago goes, in small batches by index, so that nobody waits long.

Times are process time: a notification's age has nothing to do with when a card was made.
"""

from collections.abc import Callable

from cardtrail.db import Database, Row, Transaction
from cardtrail.platform.endpoint import EndpointState
from cardtrail.platform.outbox import NotificationState, id_before
from cardtrail.platform.sweep import DAY

BATCH = 1_000
"""Most notifications of one state, or attempts of one issuer, of one transaction."""
MAX_ENDPOINTS = 10_000
"""Most endpoints that are looked at."""
SETTLED = (NotificationState.DELIVERED, NotificationState.SUPERSEDED)
UNDELIVERED = (NotificationState.REFUSED, NotificationState.DEAD)


class Prune:
    """Removes in small steps. `clock` gives process time in µs; retention is in days, 0 keeps for ever."""

    def __init__(self, db: Database, clock: Callable[[], int], settled_days: int, undelivered_days: int) -> None:
        self._db = db
        self._clock = clock
        self._settled = settled_days * DAY
        self._undelivered = undelivered_days * DAY

    @property
    def keeps(self) -> dict[NotificationState, int]:
        """How long notifications stay once they are settled, µs; of a state that is not here, for ever."""
        settled = dict.fromkeys(SETTLED, self._settled)
        return {
            state: span for state, span in (settled | dict.fromkeys(UNDELIVERED, self._undelivered)).items() if span
        }

    async def run_once(self) -> int:
        """Remove one batch of each kind; return how many rows went."""
        now = self._clock()
        gone = 0
        if self._settled:
            gone += await self._drop_settled(SETTLED, now - self._settled)
            gone += await self._drop_attempts(now - self._settled)
        if self._undelivered:
            gone += await self._drop_settled(UNDELIVERED, now - self._undelivered)
            gone += await self._drop_withheld(now - self._undelivered)
        return gone

    async def _drop_settled(self, states: tuple[NotificationState, ...], before: int) -> int:
        """Remove some of what was settled before; its age counts from then."""
        gone = 0
        for state in states:
            gone += await self._drop("drop_notifications", "old_notifications", state=state.value, before=before)
        return gone

    async def _drop_withheld(self, before: int) -> int:
        """Remove some of what was withheld from endpoints that are disabled; its age counts from the beginning."""
        gone = 0
        for issuer_id, endpoint_id, state, *_ in await self._db.read(_endpoints):
            if state == EndpointState.DISABLED:
                where = {"issuer_id": issuer_id, "endpoint_id": endpoint_id, "before": id_before(before)}
                gone += await self._drop("drop_notifications", "old_withheld", **where)
        return gone

    async def _drop_attempts(self, before: int) -> int:
        gone = 0
        for issuer_id in sorted({row[0] for row in await self._db.read(_endpoints)}):
            gone += await self._drop("drop_attempts", "old_attempts", issuer_id=issuer_id, before=id_before(before))
        return gone

    async def _drop(self, drop: str, find: str, **where: object) -> int:
        """Find some rows without a lock, then remove them, if there are any."""
        found = sorted(await self._db.read(lambda tx: tx.all(find, most=BATCH, **where)))
        if found:
            await self._db.transact(lambda tx: tx.each(drop, found))
        return len(found)


def _endpoints(tx: Transaction) -> list[Row]:
    return tx.all("list_endpoints", issuer_id="", most=MAX_ENDPOINTS)
