"""The epoch: a random word of the database that every cursor carries. Renewed, it makes all of them expire at once.

It must be renewed whenever commits may have been lost, or a reader would go on after changes that now are others. On
PostgreSQL we see for ourselves that the database has another home than it had: a dump restored elsewhere or over it, a
restore to a point in time, a failover. Cursors that are given between that and the moment when we see it still have the
old epoch, so their readers are sent back, too. What is restored under the same home (a copy of the data directory, a
SQLite file) looks to us as if nothing had happened; for that there is `cardtrail epoch renew`.
"""

import secrets
from collections.abc import Callable

import structlog

from cardtrail.db import Database, Transaction
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.trail import new_id, write
from cardtrail.platform.audit import change

ACTION = "epoch.renew"
SUBJECT = "platform"
"""Under what a renewal is found in the audit; also who did it, where it was we ourselves."""
_HOME = "home"
_log = structlog.get_logger()


async def find_epoch(db: Database) -> str:
    """Return the epoch. Raises StoreUnavailable."""
    return await db.read(_epoch)


async def renew_epoch(db: Database, actor: str, at: int) -> str:
    """Renew the epoch and return the new one; `at` in µs. Raises StoreUnavailable."""
    return await change(db, actor, at, _renewal(secrets.token_hex(8)))


def begin_anew(tx: Transaction, actor: str, at: int) -> str:
    """Renew the epoch of a database that was just restored, wherever its home is now; return it. `at` in µs."""
    epoch = secrets.token_hex(8)
    tx.run("drop_meta", name=_HOME)
    write(tx, new_id(at), actor, at, _renewal(epoch)(tx))
    return epoch


def follow_home(tx: Transaction, at: int) -> bool:
    """Renew the epoch if the database has another home than it had; tell whether it was so. `at` in µs."""
    home = _new_home(tx)
    if home is None:
        return False
    if _known_home(tx) is None:  # made a moment ago, or by a release that did not write it down
        tx.run("set_meta", name=_HOME, value=home)
        return False
    audit_id = new_id(at)
    tx.run("change_registry", version=audit_id)  # a lock: of all the processes that see it, one does it
    if _new_home(tx) is None:
        return False
    tx.run("set_meta", name=_HOME, value=home)
    write(tx, audit_id, SUBJECT, at, _renewal(secrets.token_hex(8))(tx))
    return True


class Home:
    """Sees to it, while a service runs, that the database is still at home; `clock` gives process time in µs."""

    def __init__(self, db: Database, clock: Callable[[], int]) -> None:
        self._db = db
        self._clock = clock

    async def run_once(self) -> int:
        """Look, and renew the epoch where it must be; return 1 or 0. Raises StoreUnavailable."""
        if await self._db.read(_new_home) is None:
            return 0
        now = self._clock()
        renewed = await self._db.transact(lambda tx: follow_home(tx, now))
        if renewed:
            _log.warning("epoch_renewed", reason="the database has another home: a restore or a failover")
        return int(renewed)


def _epoch(tx: Transaction) -> str:
    return str(tx.all("find_meta", name="epoch")[0][0])


def is_elsewhere(tx: Transaction) -> bool:
    """Tell whether the database has another home than a service knew of; it renews the epoch at its next look."""
    return _known_home(tx) is not None and _new_home(tx) is not None


def _known_home(tx: Transaction) -> str | None:
    row = tx.one("find_meta", name=_HOME)
    return None if row is None else str(row[0])


def _new_home(tx: Transaction) -> str | None:
    """Return the home of the database if it is another one than we know of."""
    home = tx.home()
    return None if home == _known_home(tx) else home


def _renewal(epoch: str) -> Callable[[Transaction], Changed[str]]:
    def work(tx: Transaction) -> Changed[str]:
        before = _epoch(tx)
        tx.run("set_meta", name="epoch", value=epoch)
        return Changed(ACTION, SUBJECT, {"epoch": before}, {"epoch": epoch}, epoch)

    return work
