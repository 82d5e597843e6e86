"""Chores: moving an endpoint's rows, in small steps, so that they fit its state after it was disabled or enabled."""

from cardtrail.db import Transaction
from cardtrail.platform.endpoint import EndpointState
from cardtrail.platform.outbox import EXACT, LIVE, REPLAY, NotificationState, OrderKey

_NEWER = frozenset({NotificationState.PENDING, NotificationState.WITHHELD, NotificationState.DELIVERED})
"""States of what an older picture gives way to."""
STEP = 500
"""Most rows moved in one transaction."""


def do_chore(tx: Transaction, issuer_id: str, endpoint_id: str, now: int) -> int:
    """Move some rows; return how many, 0 when all fit, and then the chore is ended. `now` in µs."""
    where = {"issuer_id": issuer_id, "endpoint_id": endpoint_id}
    tx.one("lock_lane", **where)
    # In a statement of its own: one that waits for a lock sees everything else as it was before.
    row = tx.one("endpoint_state", **where)
    if row is None:
        return 0
    if row[0] == EndpointState.DISABLED:
        moved = len(tx.all("withhold", most=STEP, **where))
    else:
        moved = _release(tx, issuer_id, endpoint_id, now)
    if not moved:
        tx.run("end_chore", **where)
    return moved


def _release(tx: Transaction, issuer_id: str, endpoint_id: str, now: int) -> int:
    """Of what was withheld each order's newest is sent and the rest superseded; what waits for a later try is due."""
    where = {"issuer_id": issuer_id, "endpoint_id": endpoint_id}
    withheld = tx.all("withheld", most=STEP, **where)
    if not withheld:
        return _hasten(tx, where, now)
    orders: set[OrderKey] = {(issuer_id, row[1], row[2], endpoint_id) for row in withheld}
    newest: dict[str, int] = {}
    for _, _, _, operation_id, sequence, state, lot, *_ in tx.each("sent_of_orders", sorted(orders)):
        if state in _NEWER and lot < EXACT:
            newest[operation_id] = max(sequence, newest.get(operation_id, 0))
    released = [row[0] for row in withheld if row[3] >= newest.get(row[2], 0)]
    older = [row[0] for row in withheld if row[3] < newest.get(row[2], 0)]
    tx.each("supersede", [(issuer_id, each, now) for each in older])
    tx.each("release", [(issuer_id, each, now) for each in released])
    return len(withheld)


def _hasten(tx: Transaction, where: dict[str, str], now: int) -> int:
    """Make due what waits for a later try, replays too."""
    for lot in (LIVE, REPLAY, EXACT):
        hastened = tx.all("hasten", lot=lot, now=now, most=STEP, **where)
        if hastened:
            return len(hastened)
    return 0
