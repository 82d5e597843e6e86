"""Learning from the mirror's own log how long cards usually stay where they are, and forgetting what is old."""

from cardtrail.db import Row, Transaction
from cardtrail.issuer.dwell import Dwell
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.ration import usage_of
from cardtrail.issuer.schedule import Schedule
from cardtrail.issuer.silence import HOUR, WEEK, WEEKS

PLACE = "dwell"
"""Under which name it is kept how far the log has been read: learning is a hook like any other."""
MOST = 5_000
"""Changes that are read at once."""
AHEAD = 3_600_000_000
"""A card that was seen so much later than now was seen by a clock that was ahead, µs."""
MAX_READS = 200
"""Most such reads in one go; the rest comes next time."""


async def learn(mirror: AsyncMirror, issuer_id: str) -> int:
    """Learn from the changes since last time, and plan by it from now on; return how many dwells were counted.

    How patient the plans are is what the budget of calls has found to fit. Raises StoreUnavailable.
    """
    counted = 0
    rows = await mirror.db.read(lambda tx: tx.all("find_dwells", issuer_id=issuer_id))
    dwell = Dwell.of([(name, bytes(body)) for name, body in rows])
    for _ in range(MAX_READS):
        changes = await mirror.db.read(lambda tx: _next(tx, issuer_id))
        for _, name, since, until in changes:
            if name is not None and since is not None:
                dwell.learn(name, since, until)
                counted += 1
        if changes:
            await _keep(mirror, issuer_id, dwell, changes[-1][0])
        if len(changes) < MOST:
            break
    usage = await mirror.db.read(lambda tx: usage_of(tx, issuer_id))
    dwell.settle(usage.patience)
    mirror.schedule = Schedule(dwell)
    return counted


def _next(tx: Transaction, issuer_id: str) -> list[Row]:
    row = tx.one("find_hook", issuer_id=issuer_id, name=PLACE)
    return tx.all("clean_dwells", issuer_id=issuer_id, after=row[0] if row else 0, most=MOST)


async def _keep(mirror: AsyncMirror, issuer_id: str, dwell: Dwell, number: int) -> None:
    now, rows = mirror.clock(), [(issuer_id, name, body) for name, body in sorted(dwell.rows())]

    def work(tx: Transaction) -> None:
        tx.each("put_dwells", rows)
        tx.run("set_hook", issuer_id=issuer_id, name=PLACE, number=number, told_at=now)

    await mirror.db.transact(work)


async def mend_times(mirror: AsyncMirror, issuer_id: str) -> int:
    """Plan anew what a clock that was ahead has planned; return how many cards. Raises StoreUnavailable."""
    now = mirror.clock()
    return await mirror.db.transact(lambda tx: tx.run("mend_times", issuer_id=issuer_id, now=now, ahead=now + AHEAD))


async def prune(mirror: AsyncMirror, issuer_id: str, before: int) -> int:
    """Forget changes that were learned before (µs) and that every hook was told of; return how many.

    Raises StoreUnavailable.
    """
    forgotten = 0
    for _ in range(MAX_READS):
        count = await mirror.db.transact(
            lambda tx: tx.run("prune_changes", issuer_id=issuer_id, before=before, most=MOST)
        )
        forgotten += count
        if count < MOST:
            break
    hour = mirror.clock() // HOUR - WEEK * WEEKS
    await mirror.db.transact(lambda tx: tx.run("prune_heard", issuer_id=issuer_id, hour=hour))
    return forgotten
