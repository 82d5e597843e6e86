"""The lease of a mirror: never more than one reconciler at work on an issuer's mirror, over any number of processes.

It is written in the database's own time, the one clock that all processes share. Whoever holds it has a *fence*, which
rises with every holder and is checked in each transaction of the reconciler: one that was believed dead and is only
slow writes nothing any more. So the lease may be short, and what a killed one had is taken over within seconds.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from cardtrail.db import Database, Transaction
from cardtrail.errors import CardtrailError, Refused, StoreUnavailable

SECONDS = 6.0
"""How long it lasts unless it is renewed."""
RENEW_SECONDS = 2.0
WAIT_SECONDS = 15.0
"""How long to wait for one that somebody else has: longer than one lasts, so that a killed holder is waited out, and
longer than a program that keeps a mirror for ever holds it at a stretch."""
PAUSE = 0.25
SECOND = 1_000_000

Sleep = Callable[[float], Awaitable[None]]


class LeaseTaken(Refused):
    """Another reconciler is at work on this mirror."""

    code = "LEASE_TAKEN"


class LeaseLost(Refused):
    """Another reconciler has taken over: this one was silent for too long."""

    code = "LEASE_LOST"


def check_fence(tx: Transaction, issuer_id: str, fence: int) -> None:
    """Raise LeaseLost unless this fence still holds the issuer's mirror."""
    row = tx.one("find_lease", issuer_id=issuer_id)
    if row is None or row[1] != fence:
        raise LeaseLost(f"{row[0] if row else 'somebody'} has taken over reconciling {issuer_id}")


def _clock(tx: Transaction) -> int:
    row = tx.one("clock")
    assert row is not None  # noqa: S101 -- the query always gives one row
    return int(row[0])


async def acquire(db: Database, issuer_id: str, holder: str) -> int | None:
    """Return the fence of a lease, or None where somebody else has it. Raises StoreUnavailable.

    One that ends absurdly late is from before a clock jumped, and is taken.
    """

    def work(tx: Transaction) -> int | None:
        clock, span = _clock(tx), round(SECONDS * SECOND)
        row = tx.one(
            "acquire_lease",
            issuer_id=issuer_id,
            holder=holder,
            until=clock + span,
            clock=clock,
            too_far=clock + 2 * span,
        )
        return None if row is None else int(row[0])

    return await db.transact(work)


async def renew(db: Database, issuer_id: str, fence: int) -> bool:
    """Hold on to a lease; return False where it is lost. Raises StoreUnavailable."""

    def work(tx: Transaction) -> bool:
        until = _clock(tx) + round(SECONDS * SECOND)
        return tx.run("renew_lease", issuer_id=issuer_id, fence=fence, until=until) == 1

    return await db.transact(work)


async def release(db: Database, issuer_id: str, fence: int) -> None:
    """Let go, so that others need not wait. Raises StoreUnavailable."""
    await db.transact(lambda tx: tx.run("release_lease", issuer_id=issuer_id, fence=fence))


@asynccontextmanager
async def held(
    db: Database, issuer_id: str, wait: float = WAIT_SECONDS, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[int]:
    """Hold the lease for as long as the block lasts; gives its fence. Raises LeaseTaken or StoreUnavailable."""
    holder = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
    fence = await _waited(db, issuer_id, holder, wait, sleep)
    renewing = asyncio.create_task(_renew(db, issuer_id, fence, sleep))
    try:
        yield fence
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        with suppress(StoreUnavailable):
            await release(db, issuer_id, fence)


async def _waited(db: Database, issuer_id: str, holder: str, wait: float, sleep: Sleep) -> int:
    for _ in range(max(1, round(wait / PAUSE))):
        fence = await acquire(db, issuer_id, holder)
        if fence is not None:
            return fence
        await sleep(PAUSE)
    row = await db.read(lambda tx: tx.one("find_lease", issuer_id=issuer_id))
    raise LeaseTaken(f"{row[0] if row else 'somebody else'} is reconciling {issuer_id}; one at a time")


async def _renew(db: Database, issuer_id: str, fence: int, sleep: Sleep) -> None:
    """Renew for ever, or until it is lost, which the next transaction of its holder will be told."""
    while True:
        await sleep(RENEW_SECONDS)
        with suppress(CardtrailError):
            if not await renew(db, issuer_id, fence):
                return
