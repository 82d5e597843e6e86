"""Brings a database's schema up to the program's; no other module knows versions."""

from collections.abc import Callable, Sequence

from cardtrail.db.database import Database, Transaction
from cardtrail.errors import SchemaMismatch


def migrate(
    db: Database, full: str, steps: Sequence[str], begin: Callable[[Transaction], object] = lambda _: None
) -> int:
    """Bring the schema to version 1 + len(steps), under a lock, in one transaction; return how many steps ran.

    An empty database gets `full` at once, and what `begin` writes. A newer one raises SchemaMismatch: an older program
    must not write to it. The database's queries must have `find_meta` and `set_meta`, its schema a table `meta`.
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
            begin(tx)
        else:
            for step in steps[found - 1 :]:
                tx.script(step)
        if found != current:
            tx.run("set_meta", name="schema_version", value=str(current))
        return current - found if found else 0

    return db.exclusively(work)
