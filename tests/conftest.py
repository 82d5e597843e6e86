"""What every test can ask for: a database on either engine, and a run that cleans up after itself."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import cast

import hypothesis
import pytest
import structlog

from tests import engines
from tests.events import event
from tests.serving import Service, register_parties, serving

# Nothing here is a timed test: a slow machine is no failure.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")

NewDatabase = Callable[[], str]
RUN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the run, in its first process only: xdist's workers have a `workerinput`."""
    if not hasattr(config, "workerinput"):
        config.stash[RUN] = engines.begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what this process began."""
    if RUN in config.stash:
        engines.end_run(config.stash[RUN])


@pytest.fixture(autouse=True)
def logs_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Was a bug of the tests: a logger that one of them had configured kept that for good, and others read nothing."""
    before, configure = structlog.get_config(), structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **told: configure(**(told | {"cache_logger_on_first_use": False}))
    )
    # What a command prints is not mixed with lines of logs, as it is not where the service has configured them.
    if isinstance(before["logger_factory"], structlog.PrintLoggerFactory):  # nobody has chosen another
        configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr), cache_logger_on_first_use=False)
    yield
    configure(**before)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of a real PostgreSQL server, of its database for administration."""
    return engines.server_url()


@pytest.fixture
def new_postgres_database(postgres_server: str) -> Iterator[NewDatabase]:
    """A function that gives the URL of one more empty PostgreSQL database; all are dropped after the test."""
    with contextlib.ExitStack() as databases:
        yield lambda: databases.enter_context(engines.fresh_database(postgres_server))


@pytest.fixture
def postgres_url(new_postgres_database: NewDatabase) -> str:
    """The URL of an empty PostgreSQL database that belongs to this test alone."""
    return new_postgres_database()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of a database engine; a test that asks for it runs once on each."""
    return cast("str", request.param)


@pytest.fixture
def new_database(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """A function that gives the URL of one more empty database of `engine`."""
    if engine == "postgres":
        return cast("NewDatabase", request.getfixturevalue("new_postgres_database"))
    numbers = count(1)
    return lambda: f"sqlite:///{tmp_path}/cardtrail-{next(numbers)}.db"


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """The URL of an empty database that belongs to this test alone, once on each engine."""
    return new_database()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service on SQLite that all tests of this process share, with one card on its way."""
    folder = tmp_path_factory.mktemp("service")
    url = f"sqlite:///{folder}/cardtrail.db"
    register_parties(url)
    with serving(url, folder) as running:
        running.ingest(event("requested", "card-0001"), event("prepared", "card-0001"))
        yield running
