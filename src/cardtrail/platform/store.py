"""Opens the database and brings its schema up to this program's."""

import secrets
import time
from importlib import resources

from cardtrail.db import Database, Transaction, migrate, open_database
from cardtrail.pages.door import tables
from cardtrail.platform.epoch import follow_home


def _text(name: str) -> str:
    return resources.files("cardtrail.platform").joinpath(name).read_text("utf-8")


def queries() -> str:
    """Return the text of every query of the platform, the door's included."""
    return _text("queries.sql") + tables.queries()


def schema() -> str:
    """Return the text of the whole schema, the door's tables included."""
    return _text("schema.sql") + tables.schema()


def migrations() -> tuple[str, ...]:
    """Return the texts of the numbered migrations, oldest first; each only expands the schema."""
    folder = resources.files("cardtrail.platform").joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text("utf-8") for file in files)


def current_version() -> int:
    """Return the version of this program's schema."""
    return 1 + len(migrations())


def version_of(tx: Transaction) -> int:
    """Return the version of a database's schema, 0 where there is none of ours."""
    row = tx.one("find_meta", name="schema_version") if "meta" in tx.tables() else None
    return 0 if row is None else int(row[0])


def open_as_it_is(url: str) -> Database:
    """Open a database and change nothing of it, whatever its schema. Raises SettingError or StoreUnavailable."""
    return open_database(url, queries(), light=True, make=False)


def open_store(url: str) -> Database:
    """Open a database and migrate it if it is older. Raises SettingError, StoreUnavailable, SchemaMismatch.

    One that was restored since it was opened last, as far as that can be seen, gets a new epoch.
    """
    db = open_database(url, queries())
    try:
        migrate(db, schema(), migrations(), begin)
        db.exclusively(lambda tx: follow_home(tx, time.time_ns() // 1_000))
    except BaseException:
        db.close()
        raise
    return db


def begin(tx: Transaction) -> None:
    """Give a new database its epoch."""
    tx.run("set_meta", name="epoch", value=secrets.token_hex(8))
