"""How the engines mean to run a query, and which keys their tables have."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql

from cardtrail.db.sql import Query
from tests.desk import connected, execute

_NUMBERS = ("at", "rate", "strict", "now", "since", "due", "clock", "too_far", "fence", "failures")
_KINDS: dict[str, Any] = {"int": 1, "text": "x", "bigint": 1, "bytea": b"x"}


def plan_on_sqlite(url: str, query: Query) -> list[str]:
    """Return the steps of the plan. An empty database will do: the plan depends on keys and indexes only."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        parameters: Any = ("x",) * len(query.columns) if query.columns else dict.fromkeys(named(query, r":(\w+)"), 1)
        steps = connection.execute(f"EXPLAIN QUERY PLAN {query.text}", parameters).fetchall()
        return [step[3] for step in steps]


def named(query: Query, pattern: str) -> list[str]:
    return list(dict.fromkeys(re.findall(pattern, query.text)))


def plan_on_postgres(url: str, query: Query, plan_cache_mode: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan of the statement as the driver would have it prepared, for ten rows of a row set.

    `known` are values that are there, by the name of the parameter, so that the planner's statistics mean something.
    """
    if query.columns:
        kinds = re.findall(r"%s::(\w+)\[\]", query.text)
        values: list[Any] = [
            [known.get(name, _KINDS[kind])] * 10 for name, kind in zip(query.columns, kinds, strict=True)
        ]
        numbers = iter(range(1, len(kinds) + 1))
        text = re.sub(r"%s", lambda _: f"${next(numbers)}", query.text)
    else:
        names = named(query, r"%\((\w+)\)s")
        values = [known.get(name, 1 if name.endswith(_NUMBERS) else "1") for name in names]
        text = re.sub(r"%\((\w+)\)s", lambda name: f"${names.index(name[1]) + 1}", query.text)
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"SET plan_cache_mode = {plan_cache_mode}")
        server.execute(f"PREPARE asked AS {text.replace('%%', '%')}")
        call = sql.SQL("EXPLAIN (FORMAT JSON) EXECUTE asked")
        if values:
            call = sql.SQL("{} ({})").format(call, sql.SQL(", ").join(map(sql.Literal, values)))  # type: ignore[assignment]  # composed of both
        row = server.execute(call).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes_of(child)


def primary_keys(url: str) -> dict[str, list[str]]:
    """Return the columns of each table's primary key, in order."""
    if url.startswith("sqlite"):
        with connected(url) as run:
            tables = [row[0] for row in run("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            found = {table: run(f"PRAGMA table_info({table})") for table in tables}
        return {
            table: [row[1] for row in sorted(columns, key=lambda row: row[5]) if row[5]]
            for table, columns in found.items()
        }
    keys: dict[str, list[str]] = {}
    for table, column in execute(
        url,
        "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint AS c"
        " CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY AS k(attnum, place)"
        " JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum"
        " WHERE c.contype = 'p' AND c.connamespace = 'public'::regnamespace ORDER BY 1, k.place",
    ):
        keys.setdefault(table, []).append(column)
    return keys
