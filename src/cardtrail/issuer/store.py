"""Opens the mirror's database and brings its schema up to this program's."""

from importlib import resources

from cardtrail.db import Database, migrate, open_database


def _text(name: str) -> str:
    return resources.files("cardtrail.issuer").joinpath(name).read_text("utf-8")


def queries() -> str:
    """Return the text of every query of the mirror."""
    return _text("queries.sql")


def schema() -> str:
    """Return the text of the whole schema."""
    return _text("schema.sql")


def open_store(url: str) -> Database:
    """Open a mirror and make its tables if it is new. Raises SettingError, StoreUnavailable, SchemaMismatch."""
    db = open_database(url, queries(), light=True)
    try:
        migrate(db, schema(), ())
    except BaseException:
        db.close()
        raise
    return db
