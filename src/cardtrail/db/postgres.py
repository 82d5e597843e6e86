"""PostgreSQL: psycopg's pool, works in threads, concurrent lookups coalesced into one query.

A work that lost a race (deadlock, serialization failure) or whose connection broke is run again: works make their
ids beforehand, so a rerun after an ambiguous COMMIT meets its own rows.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool, PoolTimeout

from cardtrail.db.database import WAIT, Lookup, Row, T, Transaction, Watch
from cardtrail.db.lanes import Lanes
from cardtrail.db.sql import Engine, Query, queries_of, script_of
from cardtrail.db.tables import SCAN_ROWS, Table
from cardtrail.errors import InputError, SettingError, StoreUnavailable

MAX_WRITERS = 6
MAX_READERS = 4
"""Connections of one process, opened as they are needed."""
RERUNS = 5
"""How often a work is run again after it lost a race."""
RERUN_PAUSE = 0.01
"""Seconds before the first rerun; each further one waits so much longer."""
MAX_LOOKUPS = 10_000
"""Most lookups that may wait; the next is told to come again."""
LOOKUP_LANES = 1
"""Coalesced queries under way at once."""
LOOKUP_BATCH = 512
"""Most keys in one coalesced query."""
_MIGRATION_LOCK = 4_021_953_117
_OPTIONS = (
    "-c statement_timeout=15000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=30000"
    # Whoever waited for a lock must see what its holder committed, whatever the database's own default is.
    " -c default_transaction_isolation=read\\ committed"
)
_UNHURRIED = "-c statement_timeout=0 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=0"
"""For a copy of everything: it takes its time, and holds nobody up."""

# The cluster; its timeline, which a failover and a restore to a point in time begin anew; the database; and a table,
# which a dump that is restored over it makes anew. The timeline comes from the log, since the control file names a new
# one only after its first checkpoint. Everybody may ask this unless somebody took that right away; a standby, and some
# servers that only speak as PostgreSQL does, have no answer.
_HOME = """
SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()), to_regclass('issuer_counter')::oid)"""

_CONNECTING: dict[str, Any] = {"connect_timeout": 5, "application_name": "cardtrail"}

Pool = ConnectionPool["psycopg.Connection[Row]"]
Waiters = dict[tuple[str, str], list["asyncio.Future[Row | None]"]]
"""Who waits for the row of which pair of issuer and card."""

logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # a lost server is told once, by StoreUnavailable


class PostgresTransaction:
    """Named queries on one connection."""

    engine: Engine = "postgres"

    def __init__(self, cursor: "psycopg.Cursor[Row]", queries: dict[str, Query]) -> None:
        self._cursor = cursor
        self._queries = queries

    def _execute(self, name: str, parameters: Any) -> "psycopg.Cursor[Row]":
        # The text comes from our own file, never from input.
        return self._cursor.execute(self._queries[name].text, parameters)

    def _rows(self) -> list[Row]:
        return self._cursor.fetchall() if self._cursor.description else []

    def all(self, name: str, /, **parameters: object) -> list[Row]:
        self._execute(name, parameters)
        return self._rows()

    def one(self, name: str, /, **parameters: object) -> Row | None:
        rows = self.all(name, **parameters)
        return rows[0] if rows else None

    def run(self, name: str, /, **parameters: object) -> int:
        return self._execute(name, parameters).rowcount

    def each(self, name: str, rows: Iterable[Row]) -> list[Row]:
        columns = [list(column) for column in zip(*rows, strict=True)]
        if not columns:
            return []
        self._execute(name, columns)
        return self._rows()

    def script(self, text: str) -> None:
        for statement in script_of(text, "postgres"):
            self._cursor.execute(statement)

    def home(self) -> str | None:
        connection = self._cursor.connection
        try:
            with connection.transaction():  # a savepoint: what is not permitted here must not end the work
                row = self._cursor.execute(_HOME).fetchone()
        except psycopg.Error:
            if connection.closed:
                raise
            return None
        return None if row is None else str(row[0])

    def tables(self) -> list[str]:
        rows = self._cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
        return [str(row[0]) for row in rows]

    def facts(self) -> dict[str, str]:
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "data_checksums")
        row = self._cursor.execute("SELECT " + ", ".join(["current_setting(%s)"] * len(names)), names).fetchone()
        return dict(zip(names, row or (), strict=True))

    def defects(self, seconds: float) -> list[str]:  # noqa: ARG002 -- as the protocol has it
        return []

    def scan(self, table: Table) -> Iterator[list[Row]]:
        with self._cursor.connection.cursor(name="scan") as cursor:  # the server keeps it: not all rows come at once
            cursor.execute(table.select().encode())
            while rows := cursor.fetchmany(SCAN_ROWS):
                yield rows

    def load(self, table: Table, rows: Iterable[Row]) -> None:
        try:
            with self._cursor.copy(table.copy().encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise InputError(table.name, str(error.diag.message_primary or error)) from None


def _refuse_unsafe(url: str) -> None:
    """Connect once, to say clearly why it fails, and refuse a server that could lose what was accepted.

    Raises SettingError or StoreUnavailable.
    """
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            for setting in ("fsync", "synchronous_commit"):
                row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
                if row is None or row[0] == "off":
                    raise SettingError(f"database: the server runs with {setting}=off; accepted events could be lost")
    except psycopg.Error as error:
        raise StoreUnavailable(f"database: {error}") from error


def _pool(url: str, most: int, options: str) -> Pool:
    return ConnectionPool(
        url, min_size=1, max_size=most, timeout=WAIT / 2, open=False, reconnect_timeout=30,
        kwargs={"autocommit": True, "options": options, **_CONNECTING},
    )  # fmt: skip


def _bare(error: psycopg.Error) -> psycopg.Error:
    """Return an error without its details, which hold the values of the row: a log may print it."""
    error.args = (error.diag.message_primary or type(error).__name__,)
    return error


class PostgresDatabase:
    """A PostgreSQL database, shared by any number of processes; see `Database`."""

    engine: Engine = "postgres"

    def __init__(self, url: str, queries: str) -> None:
        self._url = url
        self._queries = queries_of(queries, "postgres")
        self._writers = _pool(url, MAX_WRITERS, _OPTIONS)
        self._readers = _pool(url, MAX_READERS, f"{_OPTIONS} -c default_transaction_read_only=on")
        self._threads = {
            self._writers: ThreadPoolExecutor(MAX_WRITERS, "postgres-writer"),
            self._readers: ThreadPoolExecutor(MAX_READERS, "postgres-reader"),
        }
        self._closed = False
        _refuse_unsafe(url)
        self._writers.open()
        self._readers.open()

    def _attempt(self, pool: Pool, run: Callable[["psycopg.Connection[Row]"], T]) -> T:
        """Run on a pooled connection, again after a lost race or a broken connection."""
        last: Exception | None = None
        for attempt in range(RERUNS + 1):
            try:
                with pool.connection() as connection:
                    return run(connection)
            except (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation) as error:
                last = _bare(error)
                time.sleep(RERUN_PAUSE * (attempt + 1))  # or it could take the winner's next lock before the winner
            except PoolTimeout as error:
                raise StoreUnavailable("the database gives no connection") from error
            except (psycopg.OperationalError, errors.IdleInTransactionSessionTimeout) as error:
                last = error
                if attempt >= 1:
                    break
                pool.check()
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                raise _bare(error)  # noqa: B904 -- it is the same one
            except errors.ReadOnlySqlTransaction as error:
                raise StoreUnavailable(f"the database cannot be used now: {error}") from error
        if isinstance(last, errors.UniqueViolation):
            raise last
        raise StoreUnavailable(f"the database cannot be used now: {last}") from last

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        return await self._in_thread(self._writers, self._within_transaction(work))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._in_thread(self._readers, self._within_transaction(work))

    def transact_blocking(self, work: Callable[[Transaction], T]) -> T:
        self._require_open()
        return self._attempt(self._writers, self._within_transaction(work))

    def read_blocking(self, work: Callable[[Transaction], T]) -> T:
        self._require_open()
        return self._attempt(self._readers, self._within_transaction(work))

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the database is closed")

    def _within_transaction(self, work: Callable[[Transaction], T]) -> Callable[["psycopg.Connection[Row]"], T]:
        def run(connection: "psycopg.Connection[Row]") -> T:
            with connection.transaction(), connection.cursor() as cursor:
                return work(PostgresTransaction(cursor, self._queries))

        return run

    async def _in_thread(self, pool: Pool, run: Callable[["psycopg.Connection[Row]"], T]) -> T:
        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._threads[pool], self._attempt, pool, run)

    def snapshot(self, work: Callable[[Transaction], T]) -> T:
        self._require_open()
        try:
            with psycopg.connect(self._url, autocommit=True, options=_UNHURRIED, **_CONNECTING) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                return self._within_transaction(work)(connection)
        except psycopg.Error as error:
            raise StoreUnavailable(f"the database cannot be used now: {error}") from error

    def exclusively(self, work: Callable[[Transaction], T]) -> T:
        def locked(connection: "psycopg.Connection[Row]") -> T:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
                cursor.execute("SET LOCAL statement_timeout = 0")  # a new index on a large table takes its time
                return work(PostgresTransaction(cursor, self._queries))

        return self._attempt(self._writers, locked)

    def lookup(self, name: str) -> Lookup:
        text = self._queries[name].text

        async def fetch(columns: list[list[str]]) -> list[Row]:
            """Ask in one round trip: a single statement needs no transaction around it."""
            return await self._in_thread(
                self._readers, lambda connection: connection.execute(text, columns, binary=True).fetchall()
            )

        return _Coalescer(fetch).find

    def watch(self) -> Watch:
        return lambda: True  # whatever PostgreSQL can be asked costs as much as asking for what one wants to know

    def close(self) -> None:
        self._closed = True
        for pool, threads in self._threads.items():
            threads.shutdown()
            pool.close(timeout=WAIT)


class _Coalescer:
    """Turns concurrent lookups into one query: whoever comes while the queries are out shares the next one."""

    def __init__(self, fetch: Callable[[list[list[str]]], Awaitable[list[Row]]]) -> None:
        self._fetch = fetch
        self._waiting: Waiters = {}
        self._lanes = Lanes(LOOKUP_LANES, self._drain)

    async def find(self, issuer_id: str, card_id: str) -> Row | None:
        waiters = self._waiting.setdefault((issuer_id, card_id), [])
        if len(self._waiting) > MAX_LOOKUPS or len(waiters) > MAX_LOOKUPS:
            raise StoreUnavailable(f"more than {MAX_LOOKUPS} reads are waiting")
        # A future of one's own: a caller that hangs up cancels only that, never the query or the others' answer.
        future: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        waiters.append(future)
        self._lanes.wake()
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[:LOOKUP_BATCH]
            await self._answer({key: self._waiting.pop(key) for key in keys})

    async def _answer(self, waiters: Waiters) -> None:
        columns = [list(column) for column in zip(*waiters, strict=True)]
        try:
            rows = await self._fetch(columns)
        except Exception as error:  # noqa: BLE001 -- every waiter gets it as its own answer
            for future in _still_there(waiters.values()):
                future.set_exception(error)
            return
        found = {(row[0], row[1]): row[2:] for row in rows}
        for key, futures in waiters.items():
            for future in _still_there([futures]):
                future.set_result(found.get(key))


def _still_there(waiters: Iterable[list["asyncio.Future[Row | None]"]]) -> Iterator["asyncio.Future[Row | None]"]:
    return (future for futures in waiters for future in futures if not future.done())
