"""Two engines behind one small interface: named SQL, `transact(work)`, `read(work)`."""

from cardtrail.db.database import Database, Row, Transaction, Watch, open_database
from cardtrail.db.lanes import Lanes
from cardtrail.db.migrate import migrate

__all__ = ["Database", "Lanes", "Row", "Transaction", "Watch", "migrate", "open_database"]
