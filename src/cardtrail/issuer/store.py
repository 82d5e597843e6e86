"""Opens the mirror's database and brings its schema up to this program's."""

from importlib import resources

from cardtrail.db import Database, migrate, open_database
from cardtrail.pages.door import tables


def _text(name: str) -> str:
    return resources.files("cardtrail.issuer").joinpath(name).read_text("utf-8")


def queries() -> str:
    """Return the text of every query of the mirror, the door's included."""
    return _text("queries.sql") + tables.queries()


def schema() -> str:
    """Return the text of the whole schema, the door's tables included."""
    return _text("schema.sql") + tables.schema()


def migrations() -> tuple[str, ...]:
    """Return the texts of the numbered migrations, oldest first; each only expands the schema."""
    folder = resources.files("cardtrail.issuer").joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text("utf-8") for file in files)


def open_store(url: str, *, make: bool = True) -> Database:
    """Open a mirror; make its tables if it is new, or bring them up to date. Without `make` a missing file stays so.

    Raises SettingError, StoreUnavailable, SchemaMismatch.
    """
    db = open_database(url, queries(), light=True, make=make)
    try:
        migrate(db, schema(), migrations())
    except BaseException:
        db.close()
        raise
    return db
