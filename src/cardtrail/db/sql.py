"""Reads `.sql` files: named queries, one text for both engines.

A query is `-- name: find_card`, a comment of one sentence, and a statement with `:name` parameters.
A line that only one engine understands ends in `-- postgres` or `-- sqlite`.

A *row set* is a query that takes many rows at once: it names them `FROM rows(issuer_id text, card_id text) AS v`,
alone or with a comma and further tables. PostgreSQL gets one array a column and unnests them: one round trip for a
whole batch. SQLite runs the statement once a row, with each `v.member` as a parameter; inside one process that is
cheaper than anything that builds a table first.
"""

import re
from dataclasses import dataclass
from typing import Literal

Engine = Literal["sqlite", "postgres"]

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_ROWS = re.compile(r"\brows\(([^)]*)\)\s+AS\s+v\b", re.IGNORECASE)
_FROM_ROWS = re.compile(r"\bFROM\s+rows\([^)]*\)\s+AS\s+v\b(,)?", re.IGNORECASE)
_MEMBER = re.compile(r"\bv\.(\w+)\b")
_GIVES_ROWS = re.compile(r"\A\s*(?:SELECT|WITH)\b|\bRETURNING\b", re.IGNORECASE)
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_TAG = re.compile(r"^(.*\S)[ \t]*-- (postgres|sqlite)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Query:
    """One statement for one engine; `columns` names the members of a row set, in order."""

    name: str
    text: str
    columns: tuple[str, ...] = ()
    gives_rows: bool = True


def for_engine(text: str, engine: Engine) -> str:
    """Return the text without the lines of the other engine and without tags."""
    return _TAG.sub(lambda line: line[1] if line[2] == engine else "", text)


def tagged_lines(text: str) -> int:
    """Return how many lines only one engine understands: the dialect debt."""
    return len(_TAG.findall(text))


def queries_of(text: str, engine: Engine) -> dict[str, Query]:
    """Return the named queries of a file. Raises ValueError for a query that could only be meant otherwise."""
    _, *parts = _NAME.split(for_engine(text, engine))
    found: dict[str, Query] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise ValueError(f"query {name} is there twice")
        if "-- name" in body:
            raise ValueError(f"after query {name}: the next one has no name of letters, digits and _")
        found[name] = _query(name, _without_comments(body), engine)
    return found


def script_of(text: str, engine: Engine) -> list[str]:
    """Return the statements of a schema or migration; on SQLite each table is clustered by its primary key."""
    statements = [part.strip() for part in _without_comments(for_engine(text, engine)).split(";\n")]
    return [_clustered(part.rstrip(";"), engine) for part in statements if part]


def _clustered(statement: str, engine: Engine) -> str:
    table = statement.upper().startswith("CREATE TABLE")
    return statement + " WITHOUT ROWID" if table and engine == "sqlite" else statement


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--")) + "\n"


def _query(name: str, body: str, engine: Engine) -> Query:
    body = body.strip().rstrip(";")
    if not body:
        raise ValueError(f"query {name} is empty")
    rows = _ROWS.search(body)
    columns = [tuple(column.split()) for column in rows[1].split(",")] if rows else []
    names = tuple(column for column, _ in columns)
    if rows and _PARAMETER.search(body):
        raise ValueError(f"query {name}: a row set takes all it needs in its rows")
    if unknown := set(_MEMBER.findall(body) if rows else ()) - set(names):
        raise ValueError(f"query {name}: its rows have no {', '.join(sorted(unknown))}")
    if engine == "postgres":
        arrays = ", ".join(f"%s::{kind}[]" for _, kind in columns)
        text = _PARAMETER.sub(r"%(\1)s", body.replace("%", "%%"))
        text = _ROWS.sub(f"unnest({arrays}) AS v({', '.join(names)})", text)
    else:
        text = _FROM_ROWS.sub(lambda found: "FROM " if found[1] else "", body)
        text = _MEMBER.sub(lambda found: f"?{names.index(found[1]) + 1}", text) if rows else text
    return Query(name, text, names, _GIVES_ROWS.search(text) is not None)
