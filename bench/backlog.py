"""Notifications that wait in a store: endpoints registered as an operator would, rows put straight into the table."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import cards
from bench.child import VoidError
from bench.prepare import SEQUENCE, Filling, fill, operation_of, register_endpoint
from cardtrail.db import Row
from cardtrail.platform.endpoint import MAX_RATE, Config
from cardtrail.platform.outbox import new_ids
from cardtrail.protocol.codec import picture_of
from tests.desk import connected

COLUMNS = (
    "issuer_id", "notification_id", "endpoint_id", "card_id", "operation_id", "operation", "sequence", "state", "lot",
    "round", "attempts", "due_at", "settled_at", "attempt_ids", "picture", "strict_length",
)  # fmt: skip
PATIENCE = 180.0
"""Longest wait for a backlog to be settled, seconds."""
LOOK_SECONDS = 0.01
"""Pause between two looks whether anything is still pending."""
_PENDING = """SELECT 1 FROM notification
WHERE issuer_id = '{issuer}' AND endpoint_id = '{endpoint}' AND state = 'PENDING' LIMIT 1"""


@dataclass(frozen=True)
class Backlog:
    """What waits in one store; the secret key's file is named where the store is PostgreSQL."""

    url: str
    secret_key_file: str = ""

    def register(self, endpoint_id: str, target: str, *, batch_size: int = 1, concurrency: int = 64) -> None:
        """Register an endpoint whose rate is the highest there is: it is kept, but must not be what is measured."""
        config = Config(url=target, batch_size=batch_size, rate=MAX_RATE, concurrency=concurrency)
        register_endpoint(self.url, self.secret_key_file, endpoint_id, config)

    def refill(self, counts: dict[str, int]) -> None:
        """Empty ledger and outbox, then let so many notifications wait for each endpoint."""
        with connected(self.url) as run:
            for table in ("notification", "attempt"):
                run(f"DELETE FROM {table}")  # noqa: S608 - our own names
            run("UPDATE lane SET holder = '', leased_until = 0, failures = 0, failing_since = NULL, probe_at = NULL")
        fill(self.url, [Filling("notification", COLUMNS, _rows(counts))])

    def await_settled(self, endpoint_ids: Sequence[str], process: subprocess.Popen[bytes]) -> float:
        """Wait until nothing waits for these endpoints; return when that was, monotonic s. Raises VoidError."""
        give_up = time.monotonic() + PATIENCE
        with connected(self.url) as run:
            for endpoint_id in endpoint_ids:
                while run(_PENDING.format(issuer=cards.ISSUER_ID, endpoint=endpoint_id)):
                    if time.monotonic() > give_up or process.poll() is not None:
                        raise VoidError(f"not settled within {PATIENCE:.0f} s, or the deliverer has ended")
                    time.sleep(LOOK_SECONDS)
        return time.monotonic()

    def check(self, counts: dict[str, int]) -> None:
        """Raise VoidError unless all of these were delivered, each with its one attempt in the ledger."""
        with connected(self.url) as run:
            rows = run(
                "SELECT endpoint_id, state, attempts, count(*) FROM notification GROUP BY endpoint_id, state, attempts"
            )
            carried = dict(run("SELECT endpoint_id, sum(carried) FROM attempt GROUP BY endpoint_id"))
        told = {row[0]: row[3] for row in rows if row[1:3] == ("DELIVERED", 1)}
        for endpoint_id, count in counts.items():
            if told.get(endpoint_id) != count or carried.get(endpoint_id) != count:
                raise VoidError(f"run void, {count} notifications to {endpoint_id}: {rows}, carried {carried}")


def _rows(counts: dict[str, int]) -> Iterator[Row]:
    """Yield a row for each notification, those of the endpoints mixed as they would come in."""
    now = time.time_ns() // 1_000
    new_id = new_ids(now)
    left = dict(counts)
    number = 0
    while left:
        operation = operation_of(number)
        picture = picture_of(operation)
        full = picture.sealed(SEQUENCE)
        for endpoint_id in list(left):
            yield (
                cards.ISSUER_ID, new_id(), endpoint_id, operation.card_id, operation.operation_id, operation.operation,
                SEQUENCE, "PENDING", 0, 0, 0, now, None, "", full, picture.strict_length,
            )  # fmt: skip
            left[endpoint_id] -= 1
            if not left[endpoint_id]:
                del left[endpoint_id]
        number += 1
