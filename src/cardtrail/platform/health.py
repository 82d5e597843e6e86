"""The health of deliveries, for an alarm: what has waited longest, and which endpoints are not sent to.

A notification can wait although every process is well; so the outbox itself is what is looked at.
"""

from collections import Counter
from collections.abc import Callable

from cardtrail.db import Database, Row
from cardtrail.platform.endpoint import EndpointState
from cardtrail.platform.metrics import Metrics
from cardtrail.platform.outbox import made_at

MAX_LANES = 10_000
"""Most lanes that are looked at."""
HEALTHS = ("enabled", "failing", "disabled")


class Health:
    """Looks at all lanes and tells the metrics. `clock` gives process time in µs."""

    def __init__(self, db: Database, metrics: Metrics, clock: Callable[[], int]) -> None:
        self._db = db
        self._metrics = metrics
        self._clock = clock

    async def run_once(self) -> int:
        """Look once; return 0, since nothing is left to do."""
        rows = await self._db.read(lambda tx: tx.all("lane_health", most=MAX_LANES))
        now = self._clock()
        waiting = [now - made_at(row[2]) for row in rows if row[2] is not None]
        self._metrics.oldest.set(max(waiting, default=0) / 1_000_000)
        counts = Counter(map(_health_of, rows))
        for health in HEALTHS:
            self._metrics.endpoints.labels(health).set(counts[health])
        return 0


def _health_of(row: Row) -> str:
    if row[0] == EndpointState.DISABLED:
        return "disabled"
    return "failing" if row[1] is not None else "enabled"
