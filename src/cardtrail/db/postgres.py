"""PostgreSQL: psycopg's pool, works in threads, concurrent lookups coalesced into one query.

A work that lost a race (deadlock, serialization failure) or whose connection broke is run again: works make their
ids beforehand, so a rerun after an ambiguous COMMIT meets its own rows.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool, PoolTimeout

from cardtrail.db.database import WAIT, Lookup, Row, T, Transaction
from cardtrail.db.sql import Engine, Query, queries_of, script_of
from cardtrail.errors import SettingError, StoreUnavailable

MAX_CONNECTIONS = 8
RERUNS = 5
"""How often a work is run again after it lost a race."""
MAX_LOOKUPS = 10_000
"""Most lookups that may wait; the next is told to come again."""
LOOKUP_BATCH = 512
"""Most keys in one coalesced query."""
_MIGRATION_LOCK = 4_021_953_117
_OPTIONS = "-c statement_timeout=15000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=30000"

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


class PostgresDatabase:
    """A PostgreSQL database, shared by any number of processes; see `Database`."""

    engine: Engine = "postgres"

    def __init__(self, url: str, queries: str) -> None:
        self._queries = queries_of(queries, "postgres")
        self._pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
            url, min_size=1, max_size=MAX_CONNECTIONS, timeout=WAIT / 2, open=False, reconnect_timeout=30,
            kwargs={"autocommit": True, "options": _OPTIONS, "connect_timeout": 5, "application_name": "cardtrail"},
        )  # fmt: skip
        self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, "postgres")
        _refuse_unsafe(url)
        self._pool.open()

    def _attempt(self, run: Callable[["psycopg.Cursor[Row]"], T]) -> T:
        """Run on a pooled connection, in one transaction, again after a lost race or a broken connection."""
        last: Exception | None = None
        for attempt in range(RERUNS + 1):
            try:
                with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
                    return run(cursor)
            except (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation) as error:
                last = error
            except PoolTimeout as error:
                raise StoreUnavailable("the database gives no connection") from error
            except (psycopg.OperationalError, errors.AdminShutdown) as error:
                last = error
                if attempt >= 1:
                    break
                self._pool.check()
            except (errors.DiskFull, errors.ReadOnlySqlTransaction) as error:
                raise StoreUnavailable(f"the database cannot be used now: {error}") from error
        if isinstance(last, errors.UniqueViolation):
            raise last
        raise StoreUnavailable(f"the database cannot be used now: {last}") from last

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        return await self._in_thread(lambda cursor: work(PostgresTransaction(cursor, self._queries)))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        def reading(cursor: "psycopg.Cursor[Row]") -> T:
            cursor.execute("SET TRANSACTION READ ONLY")
            return work(PostgresTransaction(cursor, self._queries))

        return await self._in_thread(reading)

    async def _in_thread(self, run: Callable[["psycopg.Cursor[Row]"], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._attempt, run)

    def exclusively(self, work: Callable[[Transaction], T]) -> T:
        def locked(cursor: "psycopg.Cursor[Row]") -> T:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
            return work(PostgresTransaction(cursor, self._queries))

        return self._attempt(locked)

    def lookup(self, name: str) -> Lookup:
        return _Coalescer(self._queries[name], self._in_thread).find

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._pool.close(timeout=WAIT)


class _Coalescer:
    """Turns concurrent lookups into one query: whoever comes while a query is out shares the next one."""

    def __init__(self, query: Query, in_thread: Callable[..., Any]) -> None:
        self._query = query.text
        self._in_thread = in_thread
        self._waiting: dict[tuple[str, str], asyncio.Future[Row | None]] = {}
        self._running: asyncio.Task[None] | None = None

    async def find(self, issuer_id: str, card_id: str) -> Row | None:
        key = (issuer_id, card_id)
        future = self._waiting.get(key)
        if future is None:
            if len(self._waiting) >= MAX_LOOKUPS:
                raise StoreUnavailable(f"more than {MAX_LOOKUPS} reads are waiting")
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._running is None:
                self._running = asyncio.create_task(self._drain())
        return await asyncio.shield(future)  # a caller that hangs up must not take the others' answer away

    async def _drain(self) -> None:
        try:
            while self._waiting:
                keys = list(self._waiting)[:LOOKUP_BATCH]
                futures = {key: self._waiting.pop(key) for key in keys}
                await self._answer(futures)
        finally:
            self._running = None

    async def _answer(self, futures: dict[tuple[str, str], "asyncio.Future[Row | None]"]) -> None:
        columns = [list(column) for column in zip(*futures, strict=True)]
        try:
            rows = await self._in_thread(lambda cursor: cursor.execute(self._query, columns, binary=True).fetchall())
        except Exception as error:  # noqa: BLE001 -- every waiter gets it as its own answer
            for future in futures.values():
                future.set_exception(error)
                future.exception()  # read once here: a waiter that hung up must not leave a warning behind
            return
        found = {(row[0], row[1]): row[2:] for row in rows}
        for key, future in futures.items():
            future.set_result(found.get(key))
