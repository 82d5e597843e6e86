"""How it goes in the store, for alarms: what waits, for how long, which endpoints are not sent to, what should be gone.

A notification can wait although every process is well; so the store itself is what is looked at. Whatever is counted is
counted by an index, and no further than a limit: the look costs as much where much waits.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import StoreUnavailable
from cardtrail.meters.meter import COUNTED
from cardtrail.platform.endpoint import EndpointState
from cardtrail.platform.metrics import Metrics
from cardtrail.platform.outbox import NotificationState, made_at

MAX_LANES = 10_000
"""Most lanes that are looked at."""
HEALTHS = ("enabled", "failing", "disabled")
WAITING = ("card", "parcel", "operation")
UNDELIVERED = (
    NotificationState.PENDING, NotificationState.WITHHELD, NotificationState.REFUSED, NotificationState.DEAD,
)  # fmt: skip
SECOND = 1_000_000


class Clocks(NamedTuple):
    """Now in µs: `wall` of processes, `domain` of cards, and `monotonic` in seconds."""

    wall: Callable[[], int]
    domain: Callable[[], int]
    monotonic: Callable[[], float]


class Found(NamedTuple):
    """What a look found; `due`: since when a message is due at most; `settled`: when the oldest of each state was."""

    lanes: list[Row]
    due: int | None
    undelivered: dict[str, int]
    waiting: Row
    fanouts: int
    settled: dict[NotificationState, int]
    schema: int


class Health:
    """Looks at the store and tells the metrics. `keeps` has how long settled notifications may stay, µs."""

    def __init__(self, db: Database, metrics: Metrics, clocks: Clocks, keeps: Mapping[NotificationState, int]) -> None:
        self._db = db
        self._metrics = metrics
        self._clocks = clocks
        self._keeps = keeps
        self._looked_at = clocks.monotonic()
        self.oldest: float | None = None
        """Age of the notification that has waited longest, seconds, as of the last look; 0 where none waits."""
        metrics.read("cardtrail_look_age_seconds", lambda: clocks.monotonic() - self._looked_at)

    async def run_once(self) -> int:
        """Look once; return 0, since nothing is left to do. Raises StoreUnavailable."""
        try:
            found = await self._db.read(self._look)
        except StoreUnavailable:
            self._metrics.set("cardtrail_store_available", 0)
            raise
        self._looked_at = self._clocks.monotonic()
        self._metrics.set("cardtrail_store_available", 1)
        self._metrics.set("cardtrail_schema_version", found.schema)
        self._tell_of_deliveries(found)
        self._tell_of_waiting(found)
        return 0

    def _look(self, tx: Transaction) -> Found:
        undelivered = {state.lower(): _count(tx, "count_undelivered", state=state.value) for state in UNDELIVERED}
        [waiting] = tx.all("waiting_health", most=COUNTED + 1)
        settled = {state: row[0] for state in self._keeps for row in tx.all("oldest_settled", state=state.value)}
        [[schema]] = tx.all("find_meta", name="schema_version")
        return Found(
            lanes=tx.all("lane_health", most=MAX_LANES), due=tx.all("due_longest", most=MAX_LANES)[0][0],
            undelivered=undelivered, waiting=waiting,
            fanouts=_count(tx, "count_fanouts"), schema=int(schema),
            settled={state: at for state, at in settled.items() if at is not None},
        )  # fmt: skip

    def _tell_of_deliveries(self, found: Found) -> None:
        now = self._clocks.wall()
        self.oldest = max((now - made_at(row[2]) for row in found.lanes if row[2] is not None), default=0) / SECOND
        self._metrics.set("cardtrail_oldest_pending_seconds", self.oldest)
        overdue = 0 if found.due is None else max(0, now - found.due)
        self._metrics.set("cardtrail_overdue_seconds", overdue / SECOND)
        counts = Counter(map(_health_of, found.lanes))
        self._metrics.set("cardtrail_endpoints", {health: counts[health] for health in HEALTHS})
        self._metrics.set("cardtrail_notifications", found.undelivered)
        late = max((now - at - self._keeps[state] for state, at in found.settled.items()), default=0)
        self._metrics.set("cardtrail_retention_overdue_seconds", max(0, late) / SECOND)

    def _tell_of_waiting(self, found: Found) -> None:
        now, counts = self._clocks.domain(), found.waiting[::2]
        ages = [0.0 if since is None else max(0, now - since) / SECOND for since in found.waiting[1::2]]
        self._metrics.set("cardtrail_waiting", dict(zip(WAITING, counts, strict=False)))
        self._metrics.set("cardtrail_waiting_seconds", dict(zip(WAITING, ages, strict=False)))
        self._metrics.set("cardtrail_orders_unconfirmed", counts[-1])
        self._metrics.set("cardtrail_orders_unconfirmed_seconds", ages[-1])
        self._metrics.set("cardtrail_fanouts", found.fanouts)


def _count(tx: Transaction, name: str, **where: object) -> int:
    [[count]] = tx.all(name, most=COUNTED + 1, **where)
    return int(count)


def _health_of(row: Row) -> str:
    if row[0] == EndpointState.DISABLED:
        return "disabled"
    return "failing" if row[1] is not None else "enabled"
