"""Opens the database and brings its schema up to this program's; no other module knows versions."""

import secrets
import time
from collections.abc import Sequence
from importlib import resources

from cardtrail.db import Database, Transaction, open_database
from cardtrail.errors import SchemaMismatch
from cardtrail.platform.epoch import follow_home


def _text(name: str) -> str:
    return resources.files("cardtrail.platform").joinpath(name).read_text("utf-8")


def queries() -> str:
    """Return the text of every query of the platform."""
    return _text("queries.sql")


def schema() -> str:
    """Return the text of the whole schema."""
    return _text("schema.sql")


def migrations() -> tuple[str, ...]:
    """Return the texts of the numbered migrations, oldest first; each only expands the schema."""
    folder = resources.files("cardtrail.platform").joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text("utf-8") for file in files)


def open_store(url: str) -> Database:
    """Open a database and migrate it if it is older. Raises SettingError, StoreUnavailable, SchemaMismatch.

    One that was restored since it was opened last, as far as that can be seen, gets a new epoch.
    """
    db = open_database(url, queries())
    try:
        migrate(db, schema(), migrations())
        db.exclusively(lambda tx: follow_home(tx, time.time_ns() // 1_000))
    except BaseException:
        db.close()
        raise
    return db


def migrate(db: Database, full: str, steps: Sequence[str]) -> int:
    """Bring the schema to version 1 + len(steps), under a lock, in one transaction; return how many steps ran.

    An empty database gets `full` at once. A newer one raises SchemaMismatch: an older program must not write to it.
    """
    current = 1 + len(steps)

    def work(tx: Transaction) -> int:
        tx.script("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);\n")
        row = tx.one("find_meta", name="schema_version")
        found = int(row[0]) if row else 0
        if found > current:
            raise SchemaMismatch(
                f"the database has schema version {found}, this program knows {current}: upgrade cardtrail", 60
            )
        if found == 0:
            tx.script(full.replace("CREATE TABLE meta", "CREATE TABLE IF NOT EXISTS meta"))
            tx.run("set_meta", name="epoch", value=secrets.token_hex(8))
        else:
            for step in steps[found - 1 :]:
                tx.script(step)
        if found != current:
            tx.run("set_meta", name="schema_version", value=str(current))
        return current - found if found else 0

    return db.exclusively(work)
