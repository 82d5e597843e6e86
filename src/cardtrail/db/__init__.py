"""Two engines behind one small interface: named SQL, `transact(work)`, `read(work)`."""

from cardtrail.db.database import Database, Row, Transaction, open_database

__all__ = ["Database", "Row", "Transaction", "open_database"]
