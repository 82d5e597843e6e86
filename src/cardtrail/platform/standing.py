"""How it goes at an issuer's endpoints, for people: since when one fails, and what waits for it."""

import msgspec

from cardtrail.db import Database, Transaction
from cardtrail.platform.outbox import made_at

MAX_COUNTED = 10_000
"""Most notifications that are counted of one endpoint; so many may be more."""


class Standing(msgspec.Struct, frozen=True):
    """One endpoint's: failed calls in a row, since when (µs); how many notifications wait, the oldest since (µs).

    `is_open`: the circuit is open, so that only one message at a time is tried.
    """

    failures: int = 0
    failing_since: int | None = None
    is_open: bool = False
    pending: int = 0
    pending_since: int | None = None


async def standings(db: Database, issuer_id: str) -> dict[str, Standing]:
    """Return how it goes at each endpoint of an issuer, by its id."""
    return await db.read(lambda tx: _standings(tx, issuer_id))


def _standings(tx: Transaction, issuer_id: str) -> dict[str, Standing]:
    found = {}
    for endpoint_id, failures, failing_since, probe_at in tx.all("lanes_of_issuer", issuer_id=issuer_id):
        [(count, oldest)] = tx.all(
            "count_open", issuer_id=issuer_id, endpoint_id=endpoint_id, state="PENDING", most=MAX_COUNTED
        )
        since = made_at(oldest) if oldest is not None else None
        found[endpoint_id] = Standing(failures, failing_since, probe_at is not None, count, since)
    return found
