"""The reader of `.sql` files, and our own files read by it."""

import re
import sqlite3
from pathlib import Path

import psycopg
import pytest

import cardtrail.platform
from cardtrail.db.sql import Engine, Query, for_engine, queries_of, script_of, tagged_lines

FOLDER = Path(cardtrail.platform.__file__).parent
QUERIES = (FOLDER / "queries.sql").read_text()
SCHEMA = (FOLDER / "schema.sql").read_text()
ENGINES: list[Engine] = ["sqlite", "postgres"]
NAMES = list(queries_of(QUERIES, "sqlite"))


def only(text: str, engine: Engine = "sqlite") -> Query:
    (query,) = queries_of(f"-- name: q\n-- A sentence.\n{text};\n", engine).values()
    return query


# ── names and comments ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_is_read_query_by_query(engine: Engine) -> None:
    first = "-- name: one\n-- First.\nSELECT 1;\n"
    text = f"-- A file.\n\n{first}\n-- ── part ──\n\n-- name: two\n-- Second.\nSELECT\n    2;\n"
    assert {name: query.text for name, query in queries_of(text, engine).items()} == {
        "one": "SELECT 1", "two": "SELECT\n    2",
    }  # fmt: skip


def test_an_empty_file_has_no_queries() -> None:
    assert queries_of("-- nothing yet\n", "sqlite") == {}


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="one is there twice"):
        queries_of("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n", "sqlite")


@pytest.mark.parametrize("name", ["find-card", "find card", "", "ünd so?", "one -- two"])
def test_a_name_that_cannot_be_read_does_not_join_its_query_to_the_one_before(name: str) -> None:
    with pytest.raises(ValueError, match="after query one"):
        queries_of(f"-- name: one\nSELECT 1;\n\n-- name: {name}\nSELECT 2;\n", "sqlite")


def test_a_query_without_a_statement_is_refused() -> None:
    with pytest.raises(ValueError, match="query one is empty"):
        queries_of("-- name: one\n-- Forgotten.\n-- name: two\nSELECT 2;\n", "sqlite")


def test_whole_lines_of_comment_are_left_out_and_ends_of_lines_are_not_touched() -> None:
    assert only("SELECT 1,\n  -- between\n   2 -- after").text == "SELECT 1,\n   2 -- after"


# ── tags ─────────────────────────────────────────────────────────────────────────────────────────────────────

TAGGED = "SELECT 1\nFOR UPDATE -- postgres\nINDEXED BY x   -- sqlite\n;\n"


def test_each_engine_reads_its_own_lines_without_their_tags() -> None:
    assert for_engine(TAGGED, "postgres") == "SELECT 1\nFOR UPDATE\n\n;\n"
    assert for_engine(TAGGED, "sqlite") == "SELECT 1\n\nINDEXED BY x\n;\n"


def test_tagged_lines_are_counted() -> None:
    assert (tagged_lines(TAGGED), tagged_lines("SELECT 1;\n")) == (2, 0)


def test_a_comment_that_is_nothing_but_an_engines_name_does_not_take_the_line_before_along() -> None:
    text = "SELECT 1\n-- postgres\n"
    assert tagged_lines(text) == 0
    assert only(text, "sqlite").text.strip() == only(text, "postgres").text.strip() == "SELECT 1"


def test_a_word_after_the_tag_makes_it_a_comment() -> None:
    assert tagged_lines("SELECT 1 -- postgres only\n") == 0


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────


def test_parameters_are_written_for_each_driver() -> None:
    text = "SELECT a FROM t WHERE b = :b AND c=:c_2 AND (:b = '')"
    assert only(text, "sqlite").text == text
    assert only(text, "postgres").text == "SELECT a FROM t WHERE b = %(b)s AND c=%(c_2)s AND (%(b)s = '')"


def test_a_cast_is_no_parameter() -> None:
    assert only("SELECT a::text, :b::bigint, '12:30'", "postgres").text == "SELECT a::text, %(b)s::bigint, '12:30'"


def test_a_per_cent_sign_reaches_postgres_as_one() -> None:
    text = "SELECT 1 WHERE a LIKE 'x%' AND b % 2 = :b"
    assert only(text, "postgres").text % {"b": "1"} == "SELECT 1 WHERE a LIKE 'x%' AND b % 2 = 1"
    assert only(text, "sqlite").text == text


@pytest.mark.parametrize(
    ("text", "gives"),
    [
        ("SELECT 1", True), ("select 1", True), ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("INSERT INTO t VALUES (1) RETURNING a", True), ("DELETE FROM t returning a", True),
        ("INSERT INTO t SELECT 1", False), ("UPDATE t SET a = 1", False), ("DELETE FROM t", False),
    ],
)  # fmt: skip
def test_a_query_knows_whether_it_gives_rows(text: str, gives: bool) -> None:  # noqa: FBT001 -- a table of cases
    assert only(text).gives_rows is gives


# ── row sets ─────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = "SELECT o.x FROM rows(a text, b bigint) AS v, other AS o WHERE o.a = v.a AND o.b >= v.b AND o.c <> v.a"


def test_postgres_unnests_one_array_a_column() -> None:
    query = only(ROWS, "postgres")
    assert query.columns == ("a", "b")
    assert "FROM unnest(%s::text[], %s::bigint[]) AS v(a, b), other AS o" in query.text


def test_sqlite_runs_once_a_row_with_each_member_as_a_numbered_parameter() -> None:
    query = only(ROWS)
    assert query.columns == ("a", "b")
    assert " ".join(query.text.split()) == "SELECT o.x FROM other AS o WHERE o.a = ?1 AND o.b >= ?2 AND o.c <> ?1"


def test_on_sqlite_rows_that_stand_alone_leave_no_from() -> None:
    text = "INSERT INTO t (a, b) SELECT v.a, v.b FROM rows(a text, b bigint) AS v\nWHERE true ON CONFLICT DO NOTHING"
    assert " ".join(only(text).text.split()) == "INSERT INTO t (a, b) SELECT ?1, ?2 WHERE true ON CONFLICT DO NOTHING"


def test_a_row_set_has_no_other_parameters() -> None:
    for engine in ENGINES:
        with pytest.raises(ValueError, match="query q: a row set takes all it needs in its rows"):
            only(ROWS + " AND o.d = :d", engine)


def test_a_member_that_the_rows_do_not_have_is_refused_on_both_engines() -> None:
    for engine in ENGINES:
        with pytest.raises(ValueError, match="query q: its rows have no z"):
            only(ROWS + " AND o.z = v.z", engine)


def test_a_table_called_v_is_no_row_set() -> None:
    query = only("SELECT v.a FROM values_of AS v WHERE v.a = :a")
    assert (query.columns, query.text) == ((), "SELECT v.a FROM values_of AS v WHERE v.a = :a")


# ── scripts ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_script_is_cut_into_statements_and_tables_are_clustered_on_sqlite() -> None:
    text = "-- A table.\nCREATE TABLE t (\n    a TEXT PRIMARY KEY -- its key\n);\nCREATE INDEX i ON t (a);\n"
    table = "CREATE TABLE t (\n    a TEXT PRIMARY KEY -- its key\n)"
    assert script_of(text, "postgres") == [table, "CREATE INDEX i ON t (a)"]
    assert script_of(text, "sqlite") == [table + " WITHOUT ROWID", "CREATE INDEX i ON t (a)"]


def test_a_script_may_have_lines_for_one_engine_and_nothing_for_the_other() -> None:
    text = "CREATE EXTENSION x; -- postgres\n"
    assert script_of(text, "postgres") == ["CREATE EXTENSION x"]
    assert script_of(text, "sqlite") == []


# ── our own files ────────────────────────────────────────────────────────────────────────────────────────────


def test_both_engines_have_the_same_queries() -> None:
    sqlite, postgres = (queries_of(QUERIES, engine) for engine in ENGINES)
    assert list(sqlite) == list(postgres)
    assert [query.columns for query in sqlite.values()] == [query.columns for query in postgres.values()]
    assert [query.gives_rows for query in sqlite.values()] == [query.gives_rows for query in postgres.values()]


@pytest.mark.parametrize("name", NAMES)
def test_each_query_is_told_in_a_sentence(name: str) -> None:
    _, _, text = QUERIES.partition(f"-- name: {name}\n")
    assert re.match(r"-- [A-Z].*[.?]\n", text), text[:80]


@pytest.mark.parametrize("name", NAMES)
def test_each_row_set_uses_exactly_its_columns(name: str) -> None:
    postgres, sqlite = (queries_of(QUERIES, engine)[name] for engine in ("postgres", "sqlite"))
    used = set(re.findall(r"\bv\.(\w+)", postgres.text))
    assert used == set(postgres.columns)
    assert {int(number) for number in re.findall(r"\?(\d+)", sqlite.text)} == set(range(1, len(sqlite.columns) + 1))
    assert postgres.text.count("%s") == len(postgres.columns)
    assert "rows(" not in sqlite.text + postgres.text


def _parameters(query: Query) -> list[None] | dict[str, None]:
    """Return a NULL for each parameter of a query."""
    if query.columns:
        return [None] * len(query.columns)
    return dict.fromkeys(re.findall(r"(?:(?<![:\w]):|%\()([a-z_]\w*)", query.text))


def test_each_query_is_understood_by_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    for statement in script_of(SCHEMA, "sqlite"):
        connection.execute(statement)
    for query in queries_of(QUERIES, "sqlite").values():
        connection.execute("EXPLAIN " + query.text, _parameters(query))
    connection.close()


def test_each_query_is_understood_by_postgres(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        for statement in script_of(SCHEMA, "postgres"):
            connection.execute(statement.encode())
        for query in queries_of(QUERIES, "postgres").values():
            connection.execute(b"EXPLAIN " + query.text.encode(), _parameters(query))


def test_no_line_but_a_lock_a_lateral_or_the_clock_needs_a_tag() -> None:
    lines = [line for line in QUERIES.splitlines() if tagged_lines(line + "\n")]
    assert [line for line in lines if not re.search(r"FOR UPDATE|LATERAL|rows\(|^\) AS|^SELECT CAST\(", line)] == []
