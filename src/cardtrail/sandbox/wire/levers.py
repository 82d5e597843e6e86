"""What a fault does to the platform itself, by the platform's own code: its keys change, its store is held."""

import asyncio
import threading
import time
from collections.abc import Callable

import structlog

from cardtrail.db import Transaction, open_database
from cardtrail.platform.app import Platform
from cardtrail.platform.store import queries

ACTOR = "operator:sandbox"
BEAT = 0.5
"""How often who holds the store says that he is still there, seconds: a server ends a transaction that is idle."""
_LOCK = """
LOCK TABLE card, inbox, notification, order_request IN EXCLUSIVE MODE; -- postgres
"""
"""What every event and order writes to; on SQLite any transaction that writes holds it all. Reads go on."""

_log = structlog.get_logger()


async def rotate_token_key(platform: Platform) -> str:
    """Give the platform's key for tokens a successor, seen at once; return its `kid`. Raises StoreUnavailable."""
    kid = await platform.signing.rotate(ACTOR)
    await platform.registry.run_once()
    return kid


class Stalls:
    """Holds of a store's write lock; whoever holds it is one of its own on the database, as another process is."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._released = threading.Event()
        self._holding: set[asyncio.Task[None]] = set()

    async def hold(self, seconds: float) -> None:
        """Hold the lock for so long in the background; return once it is held. Raises StoreUnavailable."""
        held, loop = asyncio.Event(), asyncio.get_running_loop()
        task = asyncio.create_task(asyncio.to_thread(self._hold, seconds, lambda: loop.call_soon_threadsafe(held.set)))
        self._holding.add(task)
        task.add_done_callback(self._ended)
        waiting = asyncio.create_task(held.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            task.result()

    def _hold(self, seconds: float, tell: Callable[[], object]) -> None:
        """Hold the lock, in a thread of its own."""
        db = open_database(self._url, queries(), light=True)
        try:
            db.transact_blocking(lambda tx: self._keep(tx, seconds, tell))
        finally:
            db.close()

    def _keep(self, tx: Transaction, seconds: float, tell: Callable[[], object]) -> None:
        tx.script(_LOCK)
        tell()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._released.wait(min(left, BEAT)):
            tx.one("find_meta", name="epoch")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._holding.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.warning("hold_ended", error=str(task.exception()))

    async def close(self) -> None:
        """Let go at once."""
        self._released.set()
        await asyncio.gather(*self._holding, return_exceptions=True)
