"""Two engines behind one small interface: named SQL, `transact(work)`, `read(work)`."""

from cardtrail.db.database import Database, Row, Transaction, Watch, open_database, path_of
from cardtrail.db.fresh import fresh_database
from cardtrail.db.lanes import Lanes
from cardtrail.db.migrate import migrate
from cardtrail.db.tables import Table, parted, tables_of

__all__ = [
    "Database",
    "Lanes",
    "Row",
    "Table",
    "Transaction",
    "Watch",
    "fresh_database",
    "migrate",
    "open_database",
    "parted",
    "path_of",
    "tables_of",
]
