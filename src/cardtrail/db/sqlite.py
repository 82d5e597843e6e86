"""SQLite: one writer thread that commits in groups, reads on connections of their own.

Callers queue their work; the writer takes what is waiting, runs each in a savepoint of one transaction and commits
once: one fdatasync for many callers. Nobody is answered before that commit. `synchronous=FULL`, because what was
accepted must survive power loss.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cardtrail.db.database import WAIT, Lookup, Row, T, Transaction, Watch
from cardtrail.db.sql import Engine, Query, queries_of, script_of
from cardtrail.db.tables import SCAN_ROWS, Table
from cardtrail.errors import InputError, StoreUnavailable

MAX_GROUP = 128
"""Most callers that share one commit."""
MAX_QUEUE = 10_000
"""Most callers that may wait for the writer; the next is told to come again."""
CHECKPOINT_PAGES = 16_000
"""Pages of 4 KiB in the log before they are copied into the file: hot pages are then copied once, not a dozen times."""
BUSY_SECONDS = 10.0
"""Longest wait for another process's write lock."""
BUSY_PAUSE = 0.002
"""Pause between two tries for it, seconds. SQLite's own wait tries ever more seldom, in the end ten times a second:
beside a process that writes all the time it then finds the lock taken for as long as one cares to wait."""

_STEPS = 10_000
"""How many of SQLite's instructions run between two looks at the clock."""

_HEAVY = ("cache_size=-65536", "mmap_size=4294967296")
_LIGHT = ("cache_size=-8192", "mmap_size=0")
"""What a connection may keep in memory: KiB of pages, and bytes of the file."""

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}  # fmt: skip


def _unavailable(error: sqlite3.Error) -> Exception:
    """Return StoreUnavailable for what the disk or another process caused, else the error itself."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _UNAVAILABLE:
        return StoreUnavailable(f"the database cannot be used now: {error}")
    return error


class SqliteTransaction:
    """Named queries on one connection."""

    engine: Engine = "sqlite"

    def __init__(self, connection: sqlite3.Connection, queries: dict[str, Query]) -> None:
        self._connection = connection
        self._queries = queries

    def all(self, name: str, /, **parameters: object) -> list[Row]:
        return self._connection.execute(self._queries[name].text, parameters).fetchall()

    def one(self, name: str, /, **parameters: object) -> Row | None:
        rows = self.all(name, **parameters)
        return rows[0] if rows else None

    def run(self, name: str, /, **parameters: object) -> int:
        return self._connection.execute(self._queries[name].text, parameters).rowcount

    def each(self, name: str, rows: Iterable[Row]) -> list[Row]:
        query = self._queries[name]
        if not query.gives_rows:
            self._connection.executemany(query.text, rows)
            return []
        text, execute = query.text, self._connection.execute
        found: list[Row] = []
        for row in rows:
            found += execute(text, row).fetchall()
        return found

    def script(self, text: str) -> None:
        for statement in script_of(text, "sqlite"):
            self._connection.execute(statement)

    def home(self) -> str | None:
        return None  # a file knows nothing of where it came from

    def tables(self) -> list[str]:
        rows = self._connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        return [row[0] for row in rows if not row[0].startswith("sqlite_")]

    def facts(self) -> dict[str, str]:
        [(mode,)] = self._connection.execute("PRAGMA journal_mode")
        return {"SQLite": sqlite3.sqlite_version, "journal": str(mode)}

    def defects(self, seconds: float) -> list[str]:
        ends = time.monotonic() + seconds
        self._connection.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
        try:
            rows = self._connection.execute("PRAGMA quick_check(10)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return []  # nothing in the time there was
        except sqlite3.DatabaseError as error:
            return [str(error)]
        finally:
            self._connection.set_progress_handler(None, 0)
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def scan(self, table: Table) -> Iterator[list[Row]]:
        cursor = self._connection.execute(table.select())
        while rows := cursor.fetchmany(SCAN_ROWS):
            yield rows

    def load(self, table: Table, rows: Iterable[Row]) -> None:
        try:
            self._connection.executemany(table.insert(), rows)
        except sqlite3.IntegrityError as error:
            raise InputError(table.name, str(error)) from None


class _Job:
    """One caller's work, and where its outcome goes: to the loop that it waits on, or to its thread, without one."""

    __slots__ = ("error", "future", "loop", "result", "work")

    def __init__(
        self, work: Callable[[Transaction], Any], future: asyncio.Future[Any] | Future[Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:  # fmt: skip
        self.work = work
        self.future = future
        self.loop = loop
        self.result: Any = None
        self.error: BaseException | None = None


class SqliteDatabase:
    """A database file, opened by any number of processes; see `Database`."""

    engine: Engine = "sqlite"

    def __init__(self, path: Path, queries: str, *, light: bool = False) -> None:
        self._path = path
        self._memory = _LIGHT if light else _HEAVY
        self._queries = queries_of(queries, "sqlite")
        self._jobs: queue.Queue[_Job | None] = queue.Queue(MAX_QUEUE)
        self._connections: list[sqlite3.Connection] = []
        self._closed = False
        try:
            self._writer = self._connect()
            self._reader = self._connect(read_only=True)
        except sqlite3.Error as error:
            self._disconnect()
            raise _unavailable(error) from error
        self._readers = ThreadPoolExecutor(1, "sqlite-reader")
        self._thread = threading.Thread(target=self._write, name="sqlite-writer", daemon=True)
        self._thread.start()

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=BUSY_PAUSE
        )
        self._connections.append(connection)
        if not read_only:
            _write_ahead(connection)
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        for pragma in ("synchronous=FULL", f"query_only={int(read_only)}", *self._memory):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _disconnect(self) -> None:
        for connection in self._connections:
            connection.close()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the database is closed")

    # ── writing ──

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._enqueue(_Job(work, future, loop))
        result: T = await future
        return result

    def transact_blocking(self, work: Callable[[Transaction], T]) -> T:
        future: Future[T] = Future()
        self._enqueue(_Job(work, future, None))
        return future.result()

    def _enqueue(self, job: _Job) -> None:
        self._require_open()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise StoreUnavailable(f"more than {MAX_QUEUE} writers are waiting") from None

    def _write(self) -> None:
        while (first := self._jobs.get()) is not None:
            group = [first, *self._waiting()]
            ending = group[-1] is None
            jobs = [job for job in group if job is not None]
            self._commit(jobs)
            _settle(jobs)
            if ending:
                return

    def _waiting(self) -> Iterator[_Job | None]:
        for _ in range(MAX_GROUP - 1):
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            yield job
            if job is None:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        """Run the jobs in one transaction. A group that SQLite voided is run again without the culprit."""
        remaining = jobs
        while remaining:
            try:
                with _transaction(self._writer):
                    culprit = self._run_group(remaining)
                    if culprit is not None:
                        remaining = [job for job in remaining if job is not culprit]
                        continue
            except sqlite3.Error as error:
                for job in remaining:
                    job.error = job.error or _unavailable(error)
            return

    def _run_group(self, jobs: list[_Job]) -> _Job | None:
        """Return the job under which SQLite ended the whole transaction (a full disk does that), or None."""
        transaction = SqliteTransaction(self._writer, self._queries)
        for job in jobs:
            self._writer.execute("SAVEPOINT job")
            try:
                job.result, job.error = job.work(transaction), None
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is that caller's answer
                job.error = _unavailable(error) if isinstance(error, sqlite3.Error) else error
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK TO job")
            if not self._writer.in_transaction:
                job.error = job.error or StoreUnavailable("the transaction was ended by an error that was not told")
                return job
            self._writer.execute("RELEASE job")
        return None

    def exclusively(self, work: Callable[[Transaction], T]) -> T:
        try:
            with _transaction(self._writer):
                return work(SqliteTransaction(self._writer, self._queries))
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    # ── reading ──

    def read_blocking(self, work: Callable[[Transaction], T]) -> T:
        self._require_open()
        return self._readers.submit(self._read, work).result()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[Transaction], T]) -> T:
        try:
            with _transaction(self._reader, "BEGIN"):
                return work(SqliteTransaction(self._reader, self._queries))
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    def snapshot(self, work: Callable[[Transaction], T]) -> T:
        self._require_open()
        connection = self._connect(read_only=True)
        try:
            with _transaction(connection, "BEGIN"):
                return work(SqliteTransaction(connection, self._queries))
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    def lookup(self, name: str) -> Lookup:
        text = self._queries[name].text
        execute = self._connect(read_only=True).execute

        async def find(issuer_id: str, card_id: str) -> Row | None:
            """Read inline: 5 µs is less than a thread hop. Fetched to the end, so that no snapshot stays open."""
            try:
                rows = execute(text, (issuer_id, card_id)).fetchall()
            except sqlite3.Error as error:
                self._require_open()
                raise _unavailable(error) from error
            return rows[0][2:] if rows else None

        return find

    def watch(self) -> Watch:
        # A connection is not told of its own commits, and each remembers by itself what it was told last.
        execute = self._connect(read_only=True).execute
        last: Row | None = None

        def moved() -> bool:
            """Ask inline: it is a look at memory that all processes share."""
            nonlocal last
            self._require_open()
            try:
                before, last = last, execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                raise _unavailable(error) from error
            return last != before

        return moved

    def close(self) -> None:
        self._closed = True
        self._jobs.put(None)
        self._thread.join(WAIT)
        self._readers.shutdown()
        self._disconnect()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Where two do so at once, SQLite refuses one of them without waiting, as in a deadlock."""
    _insist(connection, "PRAGMA journal_mode=WAL")


def _insist(connection: sqlite3.Connection, statement: str) -> None:
    """Run a statement that another process's lock can hold up. Raises OperationalError when it does so for too long."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(BUSY_PAUSE)
        else:
            return


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    _insist(connection, begin)
    try:
        yield
        if connection.in_transaction:
            connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _settle(jobs: list[_Job]) -> None:
    """Hand each outcome to its caller's loop, with one wake-up a loop."""
    for loop in {job.loop for job in jobs}:
        mine = [job for job in jobs if job.loop is loop]
        if loop is None:
            _tell(mine)
            continue
        try:
            loop.call_soon_threadsafe(_tell, mine)
        except RuntimeError:  # the caller's loop is closed: nobody waits any more
            continue


def _tell(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
