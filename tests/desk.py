"""A store with its way in, as one process has it, for tests below HTTP; and looks at a database past all of that."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import msgspec
import psycopg

from cardtrail.db import Database, Row, Transaction
from cardtrail.platform.held import MayReach
from cardtrail.platform.ingest import Ingest, Result, Sender
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.store import open_store
from cardtrail.platform.sweep import DAY, Sweep
from tests.serving import ISSUER

NOW = 1_772_323_200_000_000
"""2026-03-01, µs: some weeks after the events of `tests.events`."""
ALL = frozenset("*")
EVERYONE = Sender("site-north", ALL, ALL, ALL)
T = TypeVar("T")


class Desk:
    """One process's view of a database: its store, its ingest, and a clock that moves when a test says so."""

    def __init__(self, url: str, may_reach: MayReach = lambda _sender, _issuer: True) -> None:
        self.now = NOW
        self.url = url
        self.db: Database = open_store(url)
        self.ingest = Ingest(self.db, lambda: self.now, may_reach, Outbox(lambda: self.now))
        self._runner = asyncio.Runner()

    def run(self, awaitable: Awaitable[T]) -> T:
        """Wait for something on this desk's loop."""
        return self._runner.run(_awaited(awaitable))

    async def take(self, *events: dict[str, Any], sender: Sender = EVERYONE) -> list[str]:
        """Ingest a batch; return `accepted`, `duplicate` or the error's code for each event."""
        results = await self.take_whole(*events, sender=sender)
        return [result.error_code or result.result for result in results]

    async def take_whole(self, *events: dict[str, Any], sender: Sender = EVERYONE) -> list[Result]:
        """Ingest a batch; return all that is answered."""
        return await self.ingest.take(sender, [msgspec.json.encode(event) for event in events])

    def tell(self, *events: dict[str, Any], sender: Sender = EVERYONE) -> list[str]:
        """`take`, waited for."""
        return self.run(self.take(*events, sender=sender))

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """`Database.transact`, waited for."""
        return self.run(self.db.transact(work))

    def history(self, card_id: str, issuer_id: str = ISSUER) -> list[dict[str, Any]]:
        """Return the pictures of a card, newest first."""
        rows = self.run(self.db.read(lambda tx: tx.all("history", issuer_id=issuer_id, card_id=card_id)))
        return [msgspec.json.decode(row[0]) for row in rows]

    def picture(self, card_id: str, issuer_id: str = ISSUER) -> dict[str, Any]:
        """Return a card's newest picture, `{}` where it has none."""
        return next(iter(self.history(card_id, issuer_id)), {})

    def stage(self, card_id: str, issuer_id: str = ISSUER) -> str | None:
        """Return `details.status` of the newest picture."""
        details = self.picture(card_id, issuer_id).get("details")
        return str(details["status"]) if details else None

    def shipment(self, card_id: str, issuer_id: str = ISSUER) -> str | None:
        """Return `details.shipment.status` of the newest picture."""
        status = self.picture(card_id, issuer_id).get("details", {}).get("shipment", {}).get("status")
        return str(status) if status else None

    def sequence(self, card_id: str, issuer_id: str = ISSUER) -> int:
        """Return the sequence of the newest picture, 0 where there is none."""
        return int(self.picture(card_id, issuer_id).get("cardtrail", {}).get("sequence", 0))

    def sweep(self, *, waiting_days: int = 0, seal_days: int = 0) -> int:
        """Sweep until nothing is left to sweep; return how much was swept."""
        sweep = Sweep(self.db, lambda: self.now, waiting_days, seal_days)
        total = 0
        while swept := self.run(sweep.run_once()):
            total += swept
        return total

    def later(self, days: float) -> None:
        """Move the clock."""
        self.now += round(days * DAY)

    def close(self) -> None:
        """End this process's view."""
        self.db.close()
        self._runner.close()


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


@contextmanager
def desk(url: str, may_reach: MayReach = lambda _sender, _issuer: True) -> Iterator[Desk]:
    """Open a desk, and close it at the end."""
    opened = Desk(url, may_reach)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def connected(url: str) -> Iterator[Callable[[str], list[Row]]]:
    """Open a connection past everything of ours; yield a function that runs one statement and returns its rows."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            yield lambda statement: connection.execute(statement).fetchall()
        return
    with psycopg.connect(url, autocommit=True) as server:

        def run(statement: str) -> list[Row]:
            cursor = server.execute(statement)
            return cursor.fetchall() if cursor.description else []

        yield run


def execute(url: str, statement: str) -> list[Row]:
    """Run one statement on a connection of its own; return its rows."""
    with connected(url) as run:
        return run(statement)


def set_default(url: str, setting: str, value: str) -> None:
    """Give a PostgreSQL database another default for new connections."""
    [(name,)] = execute(url, "SELECT current_database()")
    execute(url, f"ALTER DATABASE {name} SET {setting} = '{value}'")


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}


def dump(url: str) -> dict[str, list[Row]]:
    """Return every row of every table, sorted."""
    with connected(url) as run:
        names = sorted(row[0] for row in run(_TABLES[url.split(":", 1)[0]]))
        return {name: sorted(run(f"SELECT * FROM {name}"), key=repr) for name in names}  # noqa: S608 - our own


def catalog(url: str) -> list[Row]:
    """Return what the database says of its tables, columns, keys, checks, indexes and triggers."""
    with connected(url) as run:
        if not url.startswith("sqlite"):
            return [row for question in _CATALOG for row in run(question)]
        found = run("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY type, name")
        for kind, name, _ in list(found):
            pragma = {"table": "table_xinfo", "index": "index_xinfo"}.get(kind)
            found += run(f"PRAGMA {pragma}({name})") if pragma else []
        return found


_CATALOG = (
    """SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' ORDER BY 1, ordinal_position""",
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
)


def version(url: str) -> str:
    """Return which version of its schema a database has."""
    [(value,)] = execute(url, "SELECT value FROM meta WHERE name = 'schema_version'")
    return str(value)
