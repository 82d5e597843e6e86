"""Chores: moving an endpoint's rows, in small steps, so that they fit its state after it was disabled or enabled."""

from cardtrail.db import Transaction
from cardtrail.platform.outbox import OrderKey

STEP = 500
"""Most rows moved in one transaction."""


def move_rows(tx: Transaction, issuer_id: str, endpoint_id: str, now: int, *, is_enabled: bool) -> int:
    """Move some rows; return how many, 0 when all fit. `now` in µs.

    Disabled: what waits is withheld. Enabled: of what was withheld each order's newest is sent and the rest is
    superseded; what waits for a later try is due now.
    """
    where = {"issuer_id": issuer_id, "endpoint_id": endpoint_id}
    if not is_enabled:
        return len(tx.all("withhold", most=STEP, **where))
    withheld = tx.all("withheld", most=STEP, **where)
    if not withheld:
        return len(tx.all("hasten", now=now, most=STEP, **where))
    orders: set[OrderKey] = {(issuer_id, row[1], row[2], endpoint_id) for row in withheld}
    newest: dict[str, int] = {}
    for _, _, _, operation_id, sequence in tx.each("unsent_of_orders", sorted(orders)):
        newest[operation_id] = max(sequence, newest.get(operation_id, 0))
    released = [row[0] for row in withheld if row[3] == newest.get(row[2], row[3])]
    older = [row[0] for row in withheld if row[3] < newest.get(row[2], row[3])]
    tx.each("supersede", [(issuer_id, each, now) for each in older])
    tx.each("release", [(issuer_id, each, now) for each in released])
    return len(withheld)
