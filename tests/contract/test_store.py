"""The store on both engines: what a transaction promises, how a schema grows, what is said when the store cannot."""

import asyncio
import ctypes
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from traceback import format_exception
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cardtrail.db import Database, Row, Transaction, migrate, open_database
from cardtrail.errors import InputError, SchemaMismatch, SettingError, StoreUnavailable
from cardtrail.issuer.store import open_store as open_mirror
from cardtrail.platform.store import migrations, open_store, queries, schema
from tests.desk import Desk, catalog, connected, desk, dump, execute, set_default, version
from tests.events import event

PATIENCE = 60.0
"""Longest wait for another thread or process, seconds; only a broken test ever waits so long."""


def put(name: str, value: str = "there") -> Callable[[Transaction], str]:
    """Return the work that writes a single value, and gives it back."""

    def work(tx: Transaction) -> str:
        tx.run("set_meta", name=name, value=value)
        return value

    return work


def get(site: Desk, name: str) -> str | None:
    """Read a single value."""
    row = site.run(site.db.read(lambda tx: tx.one("find_meta", name=name)))
    return row[0] if row else None


def writer_of(site: Desk) -> sqlite3.Connection:
    """Return the connection that SQLite writes with."""
    writer: sqlite3.Connection = site.db._writer  # type: ignore[attr-defined]  # asked of SQLite only
    return writer


# ── the schema


FIRST = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE parcel (carrier TEXT NOT NULL, number TEXT NOT NULL, PRIMARY KEY (carrier, number));
"""
STEPS = (
    "-- A parcel may wait.\nALTER TABLE parcel ADD COLUMN waiting_since BIGINT;\n",
    """CREATE INDEX parcel_waiting ON parcel (waiting_since) WHERE waiting_since IS NOT NULL;
    CREATE TABLE seen (at BIGINT PRIMARY KEY);\n""",
)
WHOLE = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE parcel (
    carrier TEXT NOT NULL, number TEXT NOT NULL, waiting_since BIGINT, PRIMARY KEY (carrier, number)
);
CREATE INDEX parcel_waiting ON parcel (waiting_since) WHERE waiting_since IS NOT NULL;
CREATE TABLE seen (at BIGINT PRIMARY KEY);
"""


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database without a schema of ours."""
    db = open_database(url, queries())
    try:
        yield db
    finally:
        db.close()


def test_an_empty_database_gets_the_whole_schema_and_an_epoch_once(new_database: Callable[[], str]) -> None:
    one, two = new_database(), new_database()
    for url in (one, two, one):
        open_store(url).close()
    assert version(one) == str(1 + len(migrations()))
    epochs = [execute(url, "SELECT value FROM meta WHERE name = 'epoch'") for url in (one, two)]
    assert epochs[0] != epochs[1]
    before = dump(one)
    open_store(one).close()
    assert dump(one) == before
    with opened(one) as db:
        assert migrate(db, schema(), migrations()) == 0


def test_an_older_database_grows_to_the_same_schema_as_a_new_one(new_database: Callable[[], str]) -> None:
    old, new = new_database(), new_database()
    with opened(old) as db:
        assert migrate(db, FIRST, ()) == 0
    execute(old, "INSERT INTO parcel VALUES ('dhl', 'T1')")
    with opened(old) as db:
        assert [migrate(db, WHOLE, STEPS) for _ in range(2)] == [2, 0]
    with opened(new) as db:
        assert migrate(db, WHOLE, STEPS) == 0
    assert catalog(old) == catalog(new)
    assert version(old) == version(new) == "3"
    assert execute(old, "SELECT * FROM parcel") == [("dhl", "T1", None)]


def test_the_first_release_and_all_migrations_make_the_schema_of_a_new_database(
    new_database: Callable[[], str],
) -> None:
    old, new = new_database(), new_database()
    with opened(old) as db:
        assert migrate(db, (Path(__file__).parent / "schema_of_release_1.sql").read_text(), ()) == 0
    execute(old, "INSERT INTO issuer_counter VALUES ('ISSUER0001', 7)")
    for url in (old, new):
        open_store(url).close()
    assert catalog(old) == catalog(new)
    assert version(old) == version(new) == str(1 + len(migrations()))
    assert execute(old, "SELECT * FROM issuer_counter") == [("ISSUER0001", 7, "")]


def test_a_database_in_the_middle_runs_only_the_steps_it_lacks(database_url: str) -> None:
    with opened(database_url) as db:
        migrate(db, FIRST, ())
        assert migrate(db, "never read", STEPS[:1]) == 1
        assert migrate(db, "never read", STEPS) == 1


def test_a_step_that_fails_leaves_the_database_as_it_was(database_url: str) -> None:
    with opened(database_url) as db:
        migrate(db, FIRST, ())
        before = catalog(database_url)
        with pytest.raises(Exception, match="nowhere"):
            migrate(db, WHOLE, (*STEPS, "ALTER TABLE nowhere ADD COLUMN x BIGINT;\n"))
        assert (catalog(database_url), version(database_url)) == (before, "1")
        assert migrate(db, WHOLE, STEPS) == 2


def test_a_database_of_a_newer_release_is_refused_and_left_alone(database_url: str) -> None:
    open_store(database_url).close()
    execute(database_url, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    before, threads = dump(database_url), threading.active_count()
    with pytest.raises(SchemaMismatch, match=r"schema version 99, this program knows \d+: upgrade cardtrail"):
        open_store(database_url)
    assert (dump(database_url), threading.active_count()) == (before, threads)


@pytest.mark.parametrize("turn", range(3))
def test_many_threads_open_a_new_database_at_once(database_url: str, turn: int) -> None:  # noqa: ARG001 - said thrice
    barrier = threading.Barrier(6)

    def opening() -> None:
        barrier.wait(PATIENCE)
        open_store(database_url).close()

    with ThreadPoolExecutor(6) as threads:
        for future in [threads.submit(opening) for _ in range(6)]:
            future.result(PATIENCE)
    assert len(execute(database_url, "SELECT * FROM meta WHERE name <> 'home'")) == 2


def test_two_processes_open_a_new_database_at_once(database_url: str) -> None:
    code = "import sys; from cardtrail.platform.store import open_store; open_store(sys.argv[1]).close()"
    opening = [subprocess.Popen([sys.executable, "-c", code, database_url]) for _ in range(2)]
    assert [process.wait(PATIENCE) for process in opening] == [0, 0]
    assert len(execute(database_url, "SELECT * FROM meta WHERE name <> 'home'")) == 2


# ── one transaction


def test_a_failing_work_leaves_nothing_and_its_exception_arrives(database_url: str) -> None:
    def failing(tx: Transaction) -> None:
        put("one")(tx)
        tx.each("add_cards", [("ISSUER0001", "card", 1)])
        raise InputError("field", "wrong")

    with desk(database_url) as site:
        before = dump(database_url)
        with pytest.raises(InputError, match="field: wrong"):
            site.transact(failing)
        with pytest.raises(ZeroDivisionError):
            site.transact(lambda _: 1 // 0)
        with pytest.raises(KeyError):
            site.transact(lambda tx: tx.all("no_such_query"))
        assert dump(database_url) == before
        assert site.transact(put("two")) == "there"
    assert ("two", "there") in dump(database_url)["meta"]


def test_what_the_database_itself_refuses_arrives_as_it_is(database_url: str) -> None:
    """A CHECK that fails is a fault of ours, not of the store: nobody should try again."""
    with desk(database_url) as site:
        with pytest.raises(Exception, match=r"(?i)check constraint") as refused:
            site.transact(lambda tx: tx.each("count_changes", [("ISSUER0001", -1)]))
        assert not isinstance(refused.value, StoreUnavailable)
        with pytest.raises(Exception, match=r"(?i)audit is append-only"):
            site.transact(_change_audit)


def _change_audit(tx: Transaction) -> None:
    tx.run("add_audit", audit_id="1", at=1, actor="a", action="a", subject="s", before=None, after=None)
    tx.script("UPDATE audit SET actor = 'b';\n")


def test_a_read_cannot_write(database_url: str) -> None:
    with desk(database_url) as site, pytest.raises(StoreUnavailable):
        site.run(site.db.read(put("one")))


def test_who_was_answered_is_in_the_database(database_url: str) -> None:
    with desk(database_url) as site, connected(database_url) as run:
        for n in range(5):
            site.transact(put(f"name-{n}"))
            assert (f"name-{n}", "there") in run("SELECT name, value FROM meta")


def test_many_works_at_once_stand_or_fall_each_by_itself(database_url: str) -> None:
    async def story(site: Desk) -> list[Any]:
        def work(n: int) -> Callable[[Transaction], int]:
            def run(tx: Transaction) -> int:
                put(f"name-{n}")(tx)
                return n // (n % 7)

            return run

        return await asyncio.gather(*(site.db.transact(work(n)) for n in range(60)), return_exceptions=True)

    with desk(database_url) as site:
        outcomes = site.run(story(site))
    for n, outcome in enumerate(outcomes):
        assert isinstance(outcome, ZeroDivisionError) if n % 7 == 0 else outcome == n // (n % 7)
    names = {row[0] for row in dump(database_url)["meta"]} - {"epoch", "schema_version", "home"}
    assert names == {f"name-{n}" for n in range(60) if n % 7}


def test_a_cancelled_caller_neither_undoes_nor_blocks_others(database_url: str) -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        put("slow")(tx)
        inside.set()
        assert go.wait(PATIENCE)

    async def story(site: Desk) -> None:
        gone = asyncio.create_task(site.db.transact(slow))
        others = [asyncio.create_task(site.db.transact(put(f"other-{n}"))) for n in range(3)]
        await asyncio.to_thread(inside.wait, PATIENCE)
        gone.cancel()
        others[0].cancel()
        go.set()
        ends = await asyncio.gather(gone, *others, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError)
        assert ends[2:] == ["there", "there"]
        assert await site.db.transact(put("last")) == "there"

    with desk(database_url) as site:
        site.run(story(site))
    names = {row[0] for row in dump(database_url)["meta"]}
    assert {"slow", "other-1", "other-2", "last"} <= names


def test_a_loop_that_ended_does_not_stop_the_store(database_url: str) -> None:
    with desk(database_url) as site:

        async def leave() -> None:
            for n in range(20):
                asyncio.create_task(site.db.transact(put(f"name-{n}"))).cancel()
            await asyncio.wait([asyncio.create_task(site.db.transact(put("asked")))], timeout=0)

        asyncio.run(leave())
        assert site.transact(put("after")) == "there"


def test_closing_finishes_what_was_begun_and_refuses_what_comes_later(database_url: str) -> None:
    """Was a bug: on SQLite whoever came later waited for ever, on PostgreSQL works in the queue were dropped."""

    async def story(site: Desk) -> None:
        find = site.db.lookup("latest_picture")
        assert await find("ISSUER0001", "card") is None
        pending = [asyncio.create_task(site.db.transact(put(f"name-{n}"))) for n in range(30)]
        await asyncio.sleep(0)  # lets the tasks begin
        site.db.close()
        assert await asyncio.gather(*pending) == ["there"] * 30
        for late in (site.db.transact(put("late")), site.db.read(put("late")), find("ISSUER0001", "card")):
            with pytest.raises(StoreUnavailable, match="closed"):
                await late

    with desk(database_url) as site:
        site.run(story(site))
    assert sum(name.startswith("name-") for name, _ in dump(database_url)["meta"]) == 30


# ── SQLite


def test_callers_at_the_same_time_share_one_commit(tmp_path: Path) -> None:
    commits: list[str] = []
    inside, go = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        inside.set()
        assert go.wait(PATIENCE)

    async def story(site: Desk) -> None:
        first = asyncio.create_task(site.db.transact(hold))
        await asyncio.to_thread(inside.wait, PATIENCE)
        waiting = [asyncio.create_task(site.db.transact(put(f"name-{n}"))) for n in range(100)]
        await asyncio.sleep(0)  # lets the tasks begin
        go.set()
        await asyncio.gather(first, *waiting)

    with desk(f"sqlite:///{tmp_path}/store.db") as site:
        writer_of(site).set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
        site.run(story(site))
        assert len(commits) == 2
        assert get(site, "name-99") == "there"


def test_only_so_many_callers_wait_for_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardtrail.db.sqlite.MAX_QUEUE", 5)
    inside, go = threading.Event(), threading.Event()

    def hold(_: Transaction) -> str:
        inside.set()
        assert go.wait(PATIENCE)
        return "there"

    async def story(site: Desk) -> list[Any]:
        first = asyncio.create_task(site.db.transact(hold))
        await asyncio.to_thread(inside.wait, PATIENCE)
        waiting = [asyncio.create_task(site.db.transact(put(f"name-{n}"))) for n in range(8)]
        await asyncio.sleep(0)  # lets the tasks begin
        go.set()
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    with desk(f"sqlite:///{tmp_path}/store.db") as site:
        outcomes = site.run(story(site))
    assert outcomes[:6] == ["there"] * 6
    assert [type(outcome) for outcome in outcomes[6:]] == [StoreUnavailable] * 3


def blob(tx: Transaction, name: str, kilobytes: int) -> str:
    """Write a value of some size; a row of several statements, so that SQLite may end more than the statement."""
    tx.run("set_meta", name=name, value="x" * 1024 * kilobytes)
    tx.run("set_meta", name=f"{name}-too", value="x" * 1024)
    return name


@pytest.mark.parametrize("big", [0, 3, 9])
def test_on_a_full_disk_only_the_work_that_does_not_fit_fails(tmp_path: Path, big: int) -> None:
    """The culprit gets its error, the others of its group stand, and all is well once there is space again."""
    url = f"sqlite:///{tmp_path}/store.db"

    async def story(site: Desk) -> list[Any]:
        works = [site.db.transact(lambda tx, n=n: blob(tx, f"name-{n}", 400 if n == big else 2)) for n in range(10)]  # type: ignore[misc]  # mypy cannot type the default
        return await asyncio.gather(*works, return_exceptions=True)

    with desk(url) as site:
        [(pages,)] = writer_of(site).execute("PRAGMA page_count").fetchall()
        writer_of(site).execute(f"PRAGMA max_page_count = {pages + 60}")
        outcomes = site.run(story(site))
        assert isinstance(outcomes.pop(big), StoreUnavailable)
        assert outcomes == [f"name-{n}" for n in range(10) if n != big]
        assert all(get(site, name) and get(site, f"{name}-too") for name in outcomes)
        assert get(site, f"name-{big}") is None
        writer_of(site).execute("PRAGMA max_page_count = 1000000")
        assert site.transact(lambda tx: blob(tx, f"name-{big}", 400)) == f"name-{big}"


def test_ingest_on_a_full_disk_acknowledges_nothing_that_is_not_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with desk(url) as site:
        [(pages,)] = writer_of(site).execute("PRAGMA page_count").fetchall()
        writer_of(site).execute(f"PRAGMA max_page_count = {pages + 20}")
        acknowledged: list[str] = []
        batches = [[event("requested", f"card-{n}-{m}") for m in range(10)] for n in range(60)]

        def fill() -> None:
            for batch in batches:
                assert set(site.tell(*batch)) == {"accepted"}
                acknowledged.extend(each["eventId"] for each in batch)

        with pytest.raises(StoreUnavailable, match="full"):
            fill()
        assert [row[1] for row in dump(url)["inbox"]] == sorted(acknowledged)
        writer_of(site).execute("PRAGMA max_page_count = 1000000")
        answers = [answer for batch in batches for answer in site.tell(*batch)]
        assert answers == ["duplicate"] * len(acknowledged) + ["accepted"] * (600 - len(acknowledged))


def test_a_disk_that_cannot_take_the_commit_fails_the_whole_group(tmp_path: Path) -> None:
    """Files may not grow for a moment, which fails in COMMIT, where there is no culprit."""
    url = f"sqlite:///{tmp_path}/store.db"

    async def story(site: Desk) -> list[Any]:
        works = [site.db.transact(lambda tx, n=n: blob(tx, f"name-{n}", 50)) for n in range(5)]  # type: ignore[misc]  # mypy cannot type the default
        return await asyncio.gather(*works, return_exceptions=True)

    with desk(url) as site:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        largest = max(path.stat().st_size for path in tmp_path.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
        try:
            outcomes = site.run(story(site))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert len(dump(url)["meta"]) == 2
        assert site.run(story(site)) == [f"name-{n}" for n in range(5)]


_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_database_locked_by_another_process_is_told_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardtrail.db.sqlite.BUSY_SECONDS", 0.05)
    path = tmp_path / "store.db"
    with desk(f"sqlite:///{path}") as site:
        site.transact(put("before"))
        command = [sys.executable, "-c", _LOCK, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline() == b"locked\n"
            with pytest.raises(StoreUnavailable, match="locked"):
                site.transact(put("while locked"))
            assert get(site, "before") == "there"  # readers do not wait for a writer
            other.stdin.close()
            other.wait(PATIENCE)
        assert site.transact(put("after")) == "there"
        assert get(site, "while locked") is None


@contextmanager
def as_nobody() -> Iterator[None]:
    """Let this thread open files without the superuser's rights, to whom no file is only for reading."""
    if os.geteuid() != 0:
        yield
        return
    system = ctypes.CDLL(None)
    system.setfsuid(65_534)
    try:
        yield
    finally:
        system.setfsuid(0)


def test_a_file_that_may_only_be_read_is_read_and_refuses_to_be_written() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        path = Path(folder, "store.db")
        url = f"sqlite:///{path}"
        with desk(url) as site:
            site.tell(event("requested", "card"))
        path.chmod(0o444)
        with as_nobody(), desk(url) as site:
            assert site.stage("card") == "CARD_PROD_REQUESTED"
            with pytest.raises(StoreUnavailable, match="readonly"):
                site.tell(event("ready", "card", hours=1))
            assert site.stage("card") == "CARD_PROD_REQUESTED"
        path.chmod(0o644)
        with desk(url) as site:
            assert site.tell(event("ready", "card", hours=1)) == ["accepted"]


def test_a_new_database_is_its_owners_only(tmp_path: Path) -> None:
    """Regression: everybody on the machine could read tracking numbers and hashes of passwords."""
    open_store(f"sqlite:///{tmp_path}/store.db").close()
    open_mirror(f"sqlite:///{tmp_path}/mirror.db").close()
    with closing(open_database(f"sqlite:///{tmp_path}/store.db", queries())):
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {"0o600"}, modes
    assert len(modes) > 2


def test_what_is_no_database_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is no database, but a text of more than a hundred characters. " * 9)
    for path, said in (("text.db", "not a database"), ("none/store.db", "there is no folder"), ("", "unable to open")):
        with pytest.raises(StoreUnavailable, match=said):
            open_store(f"sqlite:///{tmp_path / path}")
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


@pytest.mark.parametrize(
    "url", ["mysql://host/name", "sqlite://name.db", "sqlite:///", "sqlite:///:memory:", "store.db"]
)
def test_a_url_that_names_no_database_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingError, match="database: "):
        open_store(url)


def test_a_store_that_was_copied_while_it_was_closed_is_the_same_store(tmp_path: Path) -> None:
    """Closing leaves one whole file: no connection stays open that would keep the log beside it."""
    path = tmp_path / "store.db"
    with desk(f"sqlite:///{path}") as site:
        site.tell(event("requested", "card"))
        find = site.db.lookup("latest_picture")
        assert site.run(find("ISSUER0001", "card")) is not None
    assert [each.name for each in tmp_path.iterdir()] == ["store.db"]
    shutil.copy(path, tmp_path / "copy.db")
    with desk(f"sqlite:///{tmp_path}/copy.db") as site:
        assert site.stage("card") == "CARD_PROD_REQUESTED"


# ── PostgreSQL


def test_a_work_that_lost_a_deadlock_runs_again(postgres_url: str) -> None:
    barrier = threading.Barrier(2)
    runs: list[str] = []

    def crossing(first: str, second: str) -> Callable[[Transaction], None]:
        def work(tx: Transaction) -> None:
            runs.append(first)
            put(first, f"{first}-{second}")(tx)
            if runs.count(first) == 1:
                barrier.wait(PATIENCE)
            put(second, f"{first}-{second}")(tx)

        return work

    async def story(site: Desk) -> None:
        await asyncio.gather(site.db.transact(crossing("a", "b")), site.db.transact(crossing("b", "a")))

    with desk(postgres_url) as site:
        site.transact(put("a"))
        site.transact(put("b"))
        site.run(story(site))
        assert len(runs) > 2
        assert get(site, "a") == get(site, "b")


def test_a_work_that_lost_a_serialization_race_runs_again(postgres_url: str) -> None:
    barrier = threading.Barrier(2)
    runs: list[str] = []

    def add_one(tx: Transaction) -> None:
        tx.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;\n")
        row = tx.one("find_meta", name="count")
        runs.append(row[0] if row else "")
        if len(runs) <= 2:
            barrier.wait(PATIENCE)
        tx.run("set_meta", name="count", value=str(int(runs[-1]) + 1))

    async def story(site: Desk) -> None:
        await asyncio.gather(site.db.transact(add_one), site.db.transact(add_one))

    with desk(postgres_url) as site:
        site.transact(put("count", "0"))
        site.run(story(site))
        assert (get(site, "count"), runs) == ("2", ["0", "0", "1"])


def test_a_work_that_always_loses_is_given_up(postgres_url: str) -> None:
    runs: list[int] = []

    def losing(tx: Transaction) -> None:
        runs.append(1)
        tx.script("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40P01'; END $$;\n")

    with desk(postgres_url) as site:
        with pytest.raises(StoreUnavailable, match="lost"):
            site.transact(losing)
        assert len(runs) == 6
        assert site.transact(put("after")) == "there"


@pytest.mark.parametrize("statement", [
    "INSERT INTO parcel VALUES ('dhl', 'JD014600006281230704', 1), ('dhl', 'JD014600006281230704', 2)",
    "INSERT INTO card VALUES ('JD014600006281230704', NULL, NULL)",
])  # fmt: skip
def test_an_error_of_the_store_tells_no_value_of_the_row(database_url: str, statement: str) -> None:
    with desk(database_url) as site:
        with pytest.raises(Exception, match=r"(?i)unique|not.null") as raised:
            site.transact(lambda tx: tx.script(f"{statement};\n"))
        assert "JD0146" not in "".join(format_exception(raised.value))


_OURS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def test_lost_connections_are_replaced_and_nobody_notices(postgres_url: str) -> None:
    with desk(postgres_url) as site:
        find = site.db.lookup("latest_picture")
        for turn in range(3):
            site.run(_busy(site))
            [(ended,)] = execute(postgres_url, f"SELECT count(pg_terminate_backend(pid)) {_OURS}")
            assert ended > 1
            assert site.transact(put(f"name-{turn}")) == "there"
            assert get(site, f"name-{turn}") == "there"
            assert site.run(find("ISSUER0001", "card")) is None


async def _busy(site: Desk) -> None:
    await asyncio.gather(*(site.db.transact(put(f"busy-{n}")) for n in range(30)))


def test_a_connection_lost_in_the_middle_of_a_work_runs_it_again(postgres_url: str) -> None:
    runs: list[int] = []

    def work(tx: Transaction) -> str:
        runs.append(1)
        put(f"name-{len(runs)}")(tx)
        if len(runs) == 1:
            execute(postgres_url, f"SELECT pg_terminate_backend(pid) {_OURS} AND state = 'idle in transaction'")
        return put("last")(tx)

    with desk(postgres_url) as site:
        assert site.transact(work) == "there"
        assert (len(runs), get(site, "name-1"), get(site, "name-2")) == (2, None, "there")


def test_ingest_goes_on_over_connections_that_are_lost_again_and_again(postgres_url: str) -> None:
    """Whatever a batch is answered, it is true; once the loss ends, everything is taken."""
    with desk(postgres_url) as site:
        done = threading.Event()

        def losing() -> None:
            with connected(postgres_url) as run:
                while not done.is_set():
                    run(f"SELECT pg_terminate_backend(pid) {_OURS} AND state = 'active' LIMIT 1")

        thread = threading.Thread(target=losing)
        thread.start()
        batches = [[event("requested", f"card-{n}-{m}") for m in range(20)] for n in range(15)]
        answers: list[list[str]] = []
        try:
            for batch in batches:
                with suppress(StoreUnavailable):
                    answers.append(site.tell(*batch))
                    assert set(answers[-1]) <= {"accepted", "duplicate"}
        finally:
            done.set()
            thread.join(PATIENCE)
        assert {answer for batch in batches for answer in site.tell(*batch)} <= {"accepted", "duplicate"}
        assert {answer for batch in batches for answer in site.tell(*batch)} == {"duplicate"}
        assert {site.sequence(each["cardId"]) for batch in batches for each in batch} == {1}
    found = dump(postgres_url)
    assert [len(found[table]) for table in ("inbox", "event", "operation")] == [300, 300, 300]


class Line:
    """A line to the server that can be cut: a socket of our own in front of its."""

    def __init__(self, server: str, folder: Path) -> None:
        self.target = str(Path(server, ".s.PGSQL.5432"))
        self.path = folder / ".s.PGSQL.5432"
        self.ends: list[socket.socket] = []
        self.door: socket.socket | None = None

    def connect(self) -> None:
        self.path.unlink(missing_ok=True)
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(str(self.path))
        self.door.listen()
        threading.Thread(target=self._accept, args=(self.door,), daemon=True).start()

    def _accept(self, door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = door.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(self.target)
                self.ends += [here, there]
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=_pour, args=(source, sink), daemon=True).start()

    def cut(self) -> None:
        assert self.door is not None
        self.path.unlink()
        self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends.clear()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def test_a_server_that_is_gone_is_told_and_taken_back_without_a_restart(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cardtrail.db.postgres.WAIT", 1.0)
    parts = urlsplit(postgres_url)
    [server] = parse_qs(parts.query)["host"]
    line = Line(server, tmp_path)
    line.connect()
    with desk(parts._replace(query=f"host={tmp_path}").geturl()) as site:
        assert site.tell(event("requested", "card")) == ["accepted"]
        for turn in range(2):
            line.cut()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    site.tell(event("ready", "card", hours=turn))
            with pytest.raises(StoreUnavailable):
                site.stage("card")
            line.connect()
            _until_it_answers(site)
            assert site.tell(event("ready", "card", hours=turn)) == ["accepted"]
            assert site.stage("card") == "CARD_PROD_READY"
    line.cut()


def _until_it_answers(site: Desk) -> None:
    """Ask until the pool has found its way back; each question waits for a while by itself."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            site.transact(put("back"))
            get(site, "back")
        except StoreUnavailable:
            assert time.monotonic() < deadline
        else:
            return


def test_a_server_that_could_lose_what_was_accepted_is_refused(postgres_url: str) -> None:
    """`fsync` cannot be set for one database alone; it is checked by the same lines."""
    set_default(postgres_url, "synchronous_commit", "off")
    with pytest.raises(SettingError, match="synchronous_commit=off"):
        open_store(postgres_url)
    set_default(postgres_url, "synchronous_commit", "local")
    open_store(postgres_url).close()


def test_a_long_migration_is_not_ended_by_the_limit_for_requests(postgres_url: str) -> None:
    """Was a bug: every statement had 15 seconds, also the making of an index on a large table."""
    with opened(postgres_url) as db:
        migrate(db, FIRST, ())
        step = "CREATE TABLE shown AS SELECT name, setting FROM pg_settings WHERE name LIKE '%timeout%';\n"
        migrate(db, WHOLE, (step,))
    limits: dict[str, str] = dict(execute(postgres_url, "SELECT * FROM shown"))
    assert (limits["statement_timeout"], limits["lock_timeout"]) == ("0", "10000")


def test_threads_without_an_event_loop_write_and_read_beside_those_that_have_one(database_url: str) -> None:
    with opened(database_url) as db:
        migrate(db, FIRST, ())

        def write(number: int) -> None:
            db.transact_blocking(lambda tx: tx.run("set_meta", name=f"n{number}", value=str(number)))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(100)))
        asyncio.run(db.transact(lambda tx: tx.run("set_meta", name="n100", value="100")))

        def found(tx: Transaction) -> list[Row]:
            return [tx.all("find_meta", name=f"n{number}")[0] for number in range(101)]

        assert db.read_blocking(found) == [(str(number),) for number in range(101)]


def test_what_a_blocking_work_raises_reaches_its_caller_and_undoes_the_work(database_url: str) -> None:
    def work(tx: Transaction) -> None:
        tx.run("set_meta", name="undone", value="1")
        raise InputError("n", "no")

    with opened(database_url) as db:
        migrate(db, FIRST, ())
        with pytest.raises(InputError, match="n: no"):
            db.transact_blocking(work)
        assert db.read_blocking(lambda tx: tx.one("find_meta", name="undone")) is None
    with pytest.raises(StoreUnavailable, match="closed"):
        db.transact_blocking(work)
