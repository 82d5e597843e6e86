"""How the engines run the mirror's queries: by a key or an index everywhere, whatever the number of cards."""

import re
from typing import Any

import pytest

from cardtrail.db.sql import queries_of, tagged_lines
from cardtrail.issuer.store import open_store, queries, schema
from cardtrail.pages.door import tables
from tests.desk import connected
from tests.planning import nodes_of, plan_on_postgres, plan_on_sqlite, primary_keys

ROWS = 20_000
COUNTS = {"count_open", "count_answers", "count_sightings", "recount"}
"""Queries that count an issuer's cards, for reports and once in some minutes, or its orders, once a day."""
REPORTS = {"list_sightings", "unseen_cards", "list_passes", "open_pass", "newest_change", "end_pass", "prune_changes"}
"""Queries of reports and of a feed that is read anew, which walk through what an issuer has, a page at a time."""
SORTED = {"pictures_of_card", "list_sightings", "recount"}
"""Queries that sort the few rows they have found, and the one that reads all."""
DOOR = {"account", "audit", "session"}
"""Tables of people; their queries are the door's, which tests/contract/test_plans.py looks at."""
GROWING = {"card", "operation", "change"}
"""Tables of which one issuer may have millions of rows."""
FILL = """
INSERT INTO issuer SELECT 'ISSUER' || n FROM numbers WHERE n <= 10;
INSERT INTO card SELECT 'ISSUER' || n % 10, 'card-' || n, CASE n % 3 WHEN 0 THEN 'settled' ELSE 'open' END, n % 8,
    n, n, n, n, 1, n, NULL, 'found', NULL, '' FROM numbers;
INSERT INTO operation SELECT 'ISSUER' || n % 10, 'card-' || n, 'op-' || n, 'PRODUCE', 'PENDING', 'CARD_PROD_READY',
    NULL, n, n, n, 'answer', n, n, 0, '', '', 0, 0, NULL, '', repeat('x', 500)::bytea,
    'ups', 'T' || n, n, 'R' || n FROM numbers;
INSERT INTO standing SELECT 'ISSUER' || n % 10, 'P' || n, 1 FROM numbers WHERE n <= 200;
INSERT INTO change SELECT 'ISSUER' || n % 10, n, 'card-' || n, 'op-' || n, 'applied', 'answer', '', n,
    CASE WHEN n % 20 = 0 THEN n END, NULL, NULL, NULL, NULL, 'CARD_PROD_READY', NULL, '' FROM numbers;
INSERT INTO tally SELECT 'ISSUER' || n % 10, n, 'CARD_PROD_READY', 'notified', 1 FROM numbers;
INSERT INTO heard SELECT 'ISSUER' || n % 10, n, 1 FROM numbers;
INSERT INTO sighting SELECT 'ISSUER' || n % 10, 'status', 'S' || n, n, '' FROM numbers;
INSERT INTO pass SELECT 'ISSUER' || n % 10, n, 'sweep', n, n, n FROM numbers WHERE n <= 1000;
INSERT INTO bound SELECT 'ISSUER' || n % 10, n, n, n FROM numbers;
INSERT INTO dwell SELECT 'ISSUER' || n % 10, 'D' || n, '' FROM numbers WHERE n <= 1000;
INSERT INTO hook SELECT 'ISSUER' || n % 10, 'H' || n, n, n FROM numbers WHERE n <= 50
"""
KNOWN: dict[str, Any] = {
    "issuer_id": "ISSUER1", "card_id": "card-1", "operation_id": "op-1", "number": 1, "after": 10_000, "most": 100,
    "before": 10_000, "after_card": "card-2", "priority": 2, "day": 19_000, "hour": 19_000, "since": 19_500,
    "name": "H1", "ahead": 2**62, "now": 5_000, "start_no": 1, "usage": b"", "state": "open",
    "first": "card-1", "last": "card-2", "request_id": "R1", "tracking_number": "T1",
}  # fmt: skip


OWN = {engine: queries_of(queries().removesuffix(tables.queries()), engine) for engine in ("sqlite", "postgres")}


def test_the_lines_that_only_one_engine_understands_are_few() -> None:
    """The dialect debt. Raise the number only if there is no common wording."""
    assert tagged_lines(queries()) == 6
    assert tagged_lines(schema()) == 4


def test_sqlite_searches_and_never_reads_all_that_an_issuer_has(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/mirror.db"
    open_store(url).close()
    for name, query in OWN["sqlite"].items():
        steps = plan_on_sqlite(url, query)
        assert not [step for step in steps if re.match(r"SCAN (?!CONSTANT ROW|o$)", step)], (name, steps)
        assert not [step for step in steps if "TEMP B-TREE" in step] or name in SORTED, (name, steps)
        wide = [
            step for step in steps
            if (found := re.search(r"SEARCH (\w+) USING PRIMARY KEY \(issuer_id=\?\)", step)) and found[1] in GROWING
        ]  # fmt: skip
        assert wide == [] or name in COUNTS | REPORTS, (name, steps)


@pytest.fixture
def filled_postgres(postgres_url: str) -> str:
    open_store(postgres_url).close()
    with connected(postgres_url) as run:
        run(f"CREATE TEMPORARY VIEW numbers AS SELECT generate_series(1, {ROWS}) AS n")
        for statement in FILL.split(";\n"):
            run(statement)
        run("ANALYZE")
    return postgres_url


def test_postgres_uses_an_index_on_all_that_grows(filled_postgres: str) -> None:
    for name, query in OWN["postgres"].items():
        for mode in ("force_generic_plan", "force_custom_plan"):
            plan = plan_on_postgres(filled_postgres, query, mode, KNOWN)
            scans = [
                node for node in nodes_of(plan)
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING
            ]  # fmt: skip
            assert scans == [] or name in COUNTS | REPORTS, (name, mode, plan)


def test_every_primary_key_begins_with_the_issuer(database_url: str) -> None:
    open_store(database_url).close()
    keys = primary_keys(database_url)
    assert len(keys) > 10
    assert {table for table, columns in keys.items() if columns[0] != "issuer_id"} == {"meta"} | DOOR


def test_both_engines_have_the_same_keys(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('keys')}/mirror.db"
    for each in (postgres_url, url):
        open_store(each).close()
    assert primary_keys(postgres_url) == primary_keys(url)
