"""What both engines offer. Work is a plain function of a transaction and may be run more than once."""

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from cardtrail.db.sql import Engine
from cardtrail.db.tables import Table
from cardtrail.errors import SettingError, StoreUnavailable

Row = tuple[Any, ...]
T = TypeVar("T")
Lookup = Callable[[str, str], Awaitable[Row | None]]
Watch = Callable[[], bool]

WAIT = 10.0
"""Longest wait for the store, in seconds; then StoreUnavailable."""


class Transaction(Protocol):
    """Runs named queries inside one transaction."""

    engine: Engine

    def all(self, name: str, /, **parameters: object) -> list[Row]:
        """Return every row."""
        ...

    def one(self, name: str, /, **parameters: object) -> Row | None:
        """Return the first row, or None."""
        ...

    def run(self, name: str, /, **parameters: object) -> int:
        """Return how many rows were changed."""
        ...

    def each(self, name: str, rows: Iterable[Row]) -> list[Row]:
        """Run a row-set query over `rows`; return what it returns, in no promised order."""
        ...

    def script(self, text: str) -> None:
        """Run the statements of a schema or migration file."""
        ...

    def home(self) -> str | None:
        """Return what names this database on its server and in its history; None where that cannot be told."""
        ...

    def tables(self) -> list[str]:
        """Return the names of all tables."""
        ...

    def facts(self) -> dict[str, str]:
        """Return what the engine says of itself: its version, and how it keeps what was committed."""
        ...

    def defects(self, seconds: float) -> list[str]:
        """Look for damage for so long at most; return what was found. Only SQLite looks: PostgreSQL does by itself."""
        ...

    def scan(self, table: Table) -> Iterator[list[Row]]:
        """Give every row of a table by its key, SCAN_ROWS at a time; only within `snapshot`."""
        ...

    def load(self, table: Table, rows: Iterable[Row]) -> None:
        """Add rows to a table as they are. Raises InputError naming the table where one does not fit."""
        ...


class Database(Protocol):
    """A store. `transact` answers only after the commit has succeeded."""

    engine: Engine

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction and commit. Raises StoreUnavailable, or what `work` raised."""
        ...

    def transact_blocking(self, work: Callable[[Transaction], T]) -> T:
        """Do as `transact` does, for callers that have no event loop; any number of threads may call it at once."""
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a connection that cannot write. Raises StoreUnavailable, or what `work` raised."""
        ...

    def read_blocking(self, work: Callable[[Transaction], T]) -> T:
        """Do as `read` does, for callers that have no event loop."""
        ...

    def lookup(self, name: str) -> Lookup:
        """Return a keyed read of at most one row, as cheap as the engine can: `row = await find(issuer, card)`.

        `name` is a row-set query over `(issuer_id, card_id)` whose rows begin with that pair; the pair is cut off.
        """
        ...

    def watch(self) -> Watch:
        """Return a question of one's own: has anything been committed, by any process, since it was asked last.

        It never waits. The first answer is yes, and so is every answer of an engine that cannot tell cheaply.
        Raises StoreUnavailable.
        """
        ...

    def exclusively(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction that no other process can enter at the same time; for migrations."""
        ...

    def snapshot(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, however long it takes, on what was committed when it began, and only read; writers go on.

        Raises StoreUnavailable, or what `work` raised.
        """
        ...

    def close(self) -> None:
        """Finish what was begun and close every connection; whoever comes later gets StoreUnavailable."""
        ...


def open_database(url: str, queries: str, *, light: bool = False, make: bool = True) -> Database:
    """Open `sqlite:///path`, `sqlite:////absolute` or `postgresql://…`. Raises SettingError or StoreUnavailable.

    A `light` one keeps little of a SQLite file in memory, for a small process beside others. Without `make` a file that
    is missing stays so.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from cardtrail.db.sqlite import SqliteDatabase  # noqa: PLC0415 -- only the engine in use is imported

        path = path_of(url)
        if not make and not path.is_file():
            raise StoreUnavailable(f"there is no database {path}")
        if make:
            _make(path)
        return SqliteDatabase(path, queries, light=light)
    if scheme in {"postgresql", "postgres"}:
        from cardtrail.db.postgres import PostgresDatabase  # noqa: PLC0415 -- an extra; not everyone installs it

        return PostgresDatabase(url, queries)
    raise SettingError(f"database: sqlite:///path or postgresql://user@host/name expected, not {scheme or url!r}")


def _make(path: Path) -> None:
    """Make an empty file for its owner only, unless there is one; SQLite gives its logs the same rights.

    Raises StoreUnavailable where there is no such folder; anything else that is wrong with it SQLite will tell.
    """
    if not path.parent.is_dir():
        raise StoreUnavailable(f"there is no folder {path.parent} for the database")
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def path_of(url: str) -> Path:
    """Return the file of a SQLite database. Raises SettingError."""
    path = url.removeprefix("sqlite:///")
    if path in {"", ":memory:", url}:  # every connection would get a memory of its own
        raise SettingError("database: sqlite:///path of a file expected")
    return Path(path)
