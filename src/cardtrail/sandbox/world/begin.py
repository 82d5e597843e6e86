"""When a world's clock begins: on a Monday morning to come, or where an earlier run on the same store had come to."""

from importlib import resources

from cardtrail.db import open_database
from cardtrail.sandbox.world.clock import coming_monday


def queries() -> str:
    """Return the text of the queries with which the sandbox reads a platform's store."""
    return resources.files("cardtrail.sandbox.world").joinpath("queries.sql").read_text("utf-8")


def begin_of(database: str, now: int) -> int:
    """Return when the clock of a world on this store begins, µs; it must never go back. Raises StoreUnavailable."""
    db = open_database(database, queries(), light=True)
    try:
        row = db.read_blocking(lambda tx: tx.one("newest_change"))
    finally:
        db.close()
    return max(coming_monday(now), row[0] if row is not None and row[0] is not None else 0)
