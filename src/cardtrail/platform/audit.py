"""Every change of parties, keys, accounts and the epoch goes through here.

One transaction holds it, its line of the audit and the registry's new version.
"""

from collections.abc import Callable
from typing import TypeVar

from cardtrail.db import Database, Transaction
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.trail import record

T = TypeVar("T")


async def change(db: Database, actor: str, at: int, work: Callable[[Transaction], Changed[T]]) -> T:
    """Run `work`, write its line of the audit and renew the registry's version, all or nothing.

    Returns the work's result; `at` in µs. Raises StoreUnavailable, or what `work` raised.
    """
    return await record(db, actor, at, work, lambda tx, audit_id: tx.run("change_registry", version=audit_id))


class Recorded:
    """The audit of a store as the door of the pages, which is below, sees it: its `Change`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def __call__(self, actor: str, at: int, work: Callable[[Transaction], Changed[T]]) -> T:
        """Do as `change` does."""
        return await change(self._db, actor, at, work)
