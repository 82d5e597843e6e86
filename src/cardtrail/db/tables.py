"""The tables that a schema makes, read from its text: what is copied from one database to another.

Names in SQL that is made of them come from our own file, never from what is copied.
"""

import re
from typing import NamedTuple

SCAN_ROWS = 500
"""Most rows that a scan gives at once."""

_TABLE = re.compile(r"^CREATE TABLE (\w+) \(\n(.*?)^\);", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r"^ +(\w+) +(TEXT|BIGINT|BYTEA)\b(.*)$", re.MULTILINE)
_KEY = re.compile(r"^ +PRIMARY KEY \(([^)]*)\)", re.MULTILINE)
_INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX .*?;\n", re.MULTILINE | re.DOTALL)
_KINDS: dict[str, type] = {"TEXT": str, "BIGINT": int, "BYTEA": bytes}


class Table(NamedTuple):
    """A table: its columns with the kind of their values, and the names of its primary key."""

    name: str
    columns: dict[str, type]
    key: tuple[str, ...]

    def select(self) -> str:
        """Return the statement that reads every row in the order of the key."""
        columns, key = ", ".join(self.columns), ", ".join(self.key)
        return f"SELECT {columns} FROM {self.name} ORDER BY {key}"  # noqa: S608 -- names of our own schema

    def insert(self) -> str:
        """Return SQLite's statement that adds one row."""
        columns, places = ", ".join(self.columns), ", ".join("?" * len(self.columns))
        return f"INSERT INTO {self.name} ({columns}) VALUES ({places})"  # noqa: S608 -- names of our own schema

    def copy(self) -> str:
        """Return PostgreSQL's statement that adds the rows of a stream."""
        return f"COPY {self.name} ({', '.join(self.columns)}) FROM STDIN"


def tables_of(schema: str) -> list[Table]:
    """Return the tables of a schema's text, in its order."""
    return [_table_of(name, body) for name, body in _TABLE.findall(schema)]


def _table_of(name: str, body: str) -> Table:
    columns = _COLUMN.findall(body)
    key = _KEY.search(body)
    names = key[1].split(", ") if key else [column for column, _, rest in columns if "PRIMARY KEY" in rest]
    return Table(name, {column: _KINDS[kind] for column, kind, _ in columns}, tuple(names))


def parted(schema: str) -> tuple[str, str]:
    """Return a schema's text without its indexes, and these: to make them in the end takes less time."""
    return _INDEX.sub("", schema), "".join(_INDEX.findall(schema))
