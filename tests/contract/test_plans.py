"""How the engines run our queries, and what their schemas forbid: keys and indexes everywhere, legal states only."""

import json
import re
from typing import Any

import pytest

from cardtrail.db.sql import Query, queries_of, tagged_lines
from cardtrail.pages.door.trail import Wanted
from cardtrail.platform.store import open_store, queries, schema
from tests.desk import connected, execute
from tests.planning import nodes_of, plan_on_postgres, plan_on_sqlite, primary_keys

ROWS = 20_000
"""Rows of each large table: enough for PostgreSQL to prefer an index by itself."""
SELDOM = {
    "all_parties", "active_keys", "keys_of_party", "signing_keys", "forget_assertions", "list_audit", "list_endpoints",
    "lanes_with_work", "lane_health", "list_of_card", "all_accounts", "forget_sessions", "sightings",
    "count_undelivered", "count_fanouts", "due_longest",
}  # fmt: skip
"""Queries of people and of the background, which read a table as a whole where that is cheaper."""
QUEUES = {"next_fanout", "unplaced"}
"""Queries that take the first rows of a table in the order of its key, or of an index of those that wait."""
BY_ORDER = "notification_order (issuer_id=? AND card_id=?"
OPEN = "notification_open (issuer_id=? AND endpoint_id=? AND state=?"
INDEXES = {
    "unsent_of_orders": BY_ORDER, "sent_of_orders": BY_ORDER, "list_of_card": BY_ORDER, "list_open": OPEN,
    "withheld": OPEN, "old_withheld": OPEN, "lane_health": OPEN, "count_open": OPEN,
    "due_longest": "notification_due (issuer_id=? AND endpoint_id=? AND lot=?", "count_undelivered": OPEN,
    "oldest_settled": "notification_settled (state=?",
    "lanes_with_work": "notification_due (issuer_id=? AND endpoint_id=?",
}  # fmt: skip
"""What SQLite is to search notifications by: it keeps no statistics, and believes that an issuer has ten of them."""
SORTED = {"list_of_card", "trim_sessions", "passages", "promises", "next_group"}
"""Queries that sort the few rows they have found."""
IN_ORDER = {"latest_picture", "history", "links_of_parcels", "pictures_since"}
"""Queries whose rows come in the order of a key, without sorting."""
GROWING = {
    "card", "operation_ref", "operation", "event", "parcel_link", "order_request", "notification", "attempt", "tally",
}  # fmt: skip
"""Tables of which one issuer may have millions of rows."""
WHOLE = {"list_notifications", "old_attempts", "cards_by_beginning"}
"""Queries that walk through all that an issuer has in the order of its key, a page at a time."""
NOT_BY_ISSUER = {
    "inbox", "parcel", "fanout", "meta", "party", "party_key", "signing_key", "assertion_seen", "audit", "account",
    "session", "sighting",
}  # fmt: skip
"""Tables whose rows belong to no issuer; design, section 5. `fanout` is a part of the inbox."""


def test_the_lines_that_only_one_engine_understands_are_few() -> None:
    """The dialect debt. Raise the number only if there is no common wording; a tenth of the file would be too much."""
    assert tagged_lines(queries()) == 31
    assert tagged_lines(schema()) == 4


# ── plans


@pytest.fixture(scope="module")
def filled_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/store.db"
    open_store(url).close()
    return url


def test_sqlite_searches_and_never_scans(filled_sqlite: str) -> None:
    for name, query in queries_of(queries(), "sqlite").items():
        steps = plan_on_sqlite(filled_sqlite, query)
        scans = [
            step for step in steps
            if re.match(r"SCAN (?!CONSTANT ROW|\(subquery|w$)", step) and not re.search(r"INDEX \w+_waiting$", step)
        ]  # fmt: skip
        assert scans == [] or name in SELDOM | QUEUES, (name, steps)
        assert not [step for step in steps if "TEMP B-TREE" in step] or name in SELDOM | SORTED, (name, steps)


def test_sqlite_does_not_read_all_notifications_of_an_issuer(filled_sqlite: str) -> None:
    """Was a bug: each event cost 150 ms where its issuer had 100,000 notifications, and open circuits as much."""
    found = queries_of(queries(), "sqlite")
    for name, index in INDEXES.items():
        searches = [
            step for step in plan_on_sqlite(filled_sqlite, found[name]) if re.match("SEARCH (n|notification) ", step)
        ]
        assert searches, name
        assert [step for step in searches if f"INDEX {index}" not in step] == [], name


def test_sqlite_never_reads_all_that_an_issuer_has(filled_sqlite: str) -> None:
    """Without statistics it takes ten rows for all of an issuer's, and its primary key for the best way to a card's."""
    for name, query in queries_of(queries(), "sqlite").items():
        steps = plan_on_sqlite(filled_sqlite, query)
        wide = [
            step for step in steps
            if (found := re.search(r"SEARCH (\w+) USING PRIMARY KEY \(issuer_id=\?(?: AND \w+[<>]\?)*\)", step))
            and _table_of(query, found[1]) in GROWING
        ]  # fmt: skip
        assert wide == [] or name in WHOLE, (name, steps)


def _table_of(query: Query, alias: str) -> str:
    found = re.search(rf"(\w+) AS {alias}\b", query.text)
    return found[1] if found else alias


_FILL = """
INSERT INTO card SELECT 'ISSUER' || n % 10, 'card-' || n, CASE WHEN n % 50 = 0 THEN n END FROM numbers;
INSERT INTO operation_ref SELECT 'ISSUER' || n % 10, 'op-' || n, 'card-' || n, NULL FROM numbers WHERE n % 50 <> 0;
INSERT INTO operation_ref SELECT 'ISSUER' || n % 10, 'op-' || n, NULL, n FROM numbers WHERE n % 50 = 0;
INSERT INTO operation SELECT 'ISSUER' || n % 10, 'card-' || n, n, 'op-' || n, 1, n + 1,
    CASE WHEN n % 2 = 0 THEN n END, n, CASE WHEN n % 4 = 0 THEN n END, repeat('x', 500)::bytea, 400, '',
    CASE n % 3 WHEN 0 THEN 'Delivered' WHEN 1 THEN 'InTransit' ELSE 'DATA_PREPARED' END, n, n % 3 / 2, 'nord', '', '',
    'request-' || n FROM numbers;
INSERT INTO tally SELECT 'ISSUER' || n % 10, CASE n % 3 WHEN 0 THEN 'passage' ELSE 'dwell' END, n, 'InTransit', '', '',
    'dhl', n, 1 FROM numbers;
INSERT INTO threshold SELECT 'ISSUER' || n % 1000, 'InTransit', '', '', 'dhl' || n, 8 FROM numbers;
INSERT INTO event SELECT 'ISSUER' || n % 10, 'card-' || n, 'site:north', 'event-' || n, n, n % 2,
    repeat('x', 200)::bytea FROM numbers;
INSERT INTO inbox SELECT 'site:north', 'event-' || n, '', 'site', n, NULL, NULL, NULL, NULL, NULL FROM numbers;
INSERT INTO inbox SELECT 'carrier:dhl', 'event-' || n, '', 'dhl', n, NULL, NULL, 'dhl', 'T' || n / 3, '' FROM numbers;
INSERT INTO inbox SELECT 'site:south', 'event-' || n, '', 'site', n, 'ISSUER' || n % 10, 'op-' || n, NULL, NULL, ''
    FROM numbers WHERE n % 50 = 0;
INSERT INTO parcel SELECT 'dhl', 'T' || n, CASE WHEN n % 50 = 0 THEN n END FROM numbers;
INSERT INTO parcel_link SELECT 'ISSUER' || n % 10, 'card-' || n, 'dhl', 'T' || n / 3, n, n FROM numbers;
INSERT INTO fanout SELECT 'carrier:dhl', 'event-' || n, '', '' FROM numbers;
INSERT INTO issuer_counter SELECT 'ISSUER' || n, n FROM numbers;
INSERT INTO endpoint SELECT 'ISSUER' || n, 'main', 'ENABLED', NULL, '{}', '', 'v1', n FROM numbers;
INSERT INTO lane SELECT 'ISSUER' || n, 'main' FROM numbers;
INSERT INTO notification SELECT 'ISSUER' || n % 10, lpad(n::text, 14, '0'), 'main', 'card-' || n, 'op-' || n,
    'PRODUCE', 1, CASE n % 50 WHEN 0 THEN 'PENDING' WHEN 1 THEN 'WITHHELD' WHEN 2 THEN 'DEAD' ELSE 'DELIVERED' END,
    n % 3, 0, 0, n, CASE WHEN n % 50 > 1 THEN n END, '', repeat('x', 500)::bytea, 400 FROM numbers;
INSERT INTO attempt SELECT 'ISSUER' || n % 10, lpad(n::text, 14, '0'), 'main', n, 1, 204, NULL, 1, '' FROM numbers;
INSERT INTO order_request SELECT 'ISSUER' || n % 10, 'op-' || n, 'card-' || n, 'request-' || n, '',
    CASE WHEN n % 50 = 0 THEN 'RESERVED' ELSE 'CONFIRMED' END, n FROM numbers;
INSERT INTO assertion_seen SELECT 'party-' || n % 10, 'jti-' || n, n FROM numbers;
INSERT INTO party SELECT 'party-' || n, 'ISSUER', 'ACTIVE', 1, '[]', '[]', '[]', '[]', 0, 100, n FROM numbers;
INSERT INTO party_key SELECT 'party-' || n, 'key-1', 'ACTIVE', '{}', n FROM numbers;
INSERT INTO signing_key SELECT 'key-' || n, '{}', '', n FROM numbers;
INSERT INTO audit SELECT lpad(n::text, 9, '0'), n, 'actor-' || n % 100, 'action-' || n % 50,
    'subject-' || n % 1000, NULL, NULL FROM numbers;
INSERT INTO account SELECT 'name-' || n, 'ACTIVE', 1, '', '{}', 0, n, NULL, 'sso', 'sub-' || n FROM numbers;
INSERT INTO session SELECT 'name-' || n / 5, 'hash-' || n, 1, '', n, n, n FROM numbers;
INSERT INTO meta SELECT 'name-' || n, 'value' FROM numbers
"""
_KNOWN: dict[str, Any] = {
    "issuer_id": "ISSUER1", "card_id": "card-1", "operation_id": "op-1", "source": "site:north", "event_id": "event-1",
    "carrier": "dhl", "tracking_number": "T1", "issuer_request_id": "request-1", "party_id": "party-1", "jti": "jti-1",
    "name": "name-1", "audit_id": "000000001", "kid": "key-1", "fingerprint": b"", "body": b"", "picture": b"",
    "private_box": b"", "before": 1, "most": 1, "endpoint_id": "main", "state": "DEAD", "after_id": "00000000000001",
    "notification_id": "00000000000001", "attempt_id": "00000000000001", "version": "v1",
    "account": "name-1", "token_hash": "hash-1",
}  # fmt: skip
"""Values that are there, so that the planner's statistics mean something."""


@pytest.fixture
def filled_postgres(postgres_url: str) -> str:
    open_store(postgres_url).close()
    with connected(postgres_url) as run:
        run(f"CREATE TEMPORARY VIEW numbers AS SELECT generate_series(1, {ROWS}) AS n")
        for statement in _FILL.split(";\n"):
            run(statement)
        run("ANALYZE")
    return postgres_url


def is_scan(node: dict[str, Any]) -> bool:
    """Tell whether a step reads a whole table, or an index from end to end."""
    kind = node["Node Type"]
    if kind == "Seq Scan":
        return True
    conditions = {"Index Cond", "Recheck Cond"} & node.keys()
    return "Scan" in kind and "Index Name" in node and not conditions and not node["Index Name"].endswith("_waiting")


def test_postgres_uses_an_index_and_never_scans_and_reads_come_sorted(filled_postgres: str) -> None:
    for name, query in queries_of(queries(), "postgres").items():
        for mode in ("force_generic_plan", "force_custom_plan"):
            plan = plan_on_postgres(filled_postgres, query, mode, _KNOWN)
            scans = [node for node in nodes_of(plan) if is_scan(node)]
            assert scans == [] or name in SELDOM | QUEUES, (name, mode, json.dumps(plan, indent=1))
            sorts = [node for node in nodes_of(plan) if node["Node Type"] == "Sort"]
            assert sorts == [] or name not in IN_ORDER, (name, mode, json.dumps(plan, indent=1))


def test_postgres_looks_at_the_health_of_lanes_without_reading_all_notifications(filled_postgres: str) -> None:
    for name in ("count_undelivered", "due_longest", "lane_health", "oldest_settled"):
        query = queries_of(queries(), "postgres")[name]
        for mode in ("force_generic_plan", "force_custom_plan"):
            plan = plan_on_postgres(filled_postgres, query, mode, _KNOWN)
            read = [node for node in nodes_of(plan) if node.get("Relation Name") == "notification" and is_scan(node)]
            assert read == [], (name, mode, json.dumps(plan, indent=1))


def test_the_audit_is_searched_by_an_index_for_each_thing_it_can_be_asked_for(
    filled_sqlite: str, filled_postgres: str
) -> None:
    for what in Wanted._fields:
        name = f"list_audit_of_{what}"
        [step] = plan_on_sqlite(filled_sqlite, queries_of(queries(), "sqlite")[name])
        assert re.search(rf"INDEX audit_{what} \({what}>\? AND \({what},audit_id\)<\(\?,\?\)\)", step), step
        query = queries_of(queries(), "postgres")[name]
        for mode in ("force_generic_plan", "force_custom_plan"):
            plan = plan_on_postgres(filled_postgres, query, mode, _KNOWN | {what: f"{what}-7", "before": "~"})
            used = [node["Index Name"] for node in nodes_of(plan) if "Index Name" in node]
            assert used == [f"audit_{what}"], (name, mode, json.dumps(plan, indent=1))


# ── the schema


def test_every_primary_key_begins_with_the_issuer_but_for_the_named_ones(database_url: str) -> None:
    open_store(database_url).close()
    keys = primary_keys(database_url)
    assert len(keys) > 15
    assert {table for table, columns in keys.items() if columns[0] != "issuer_id"} == NOT_BY_ISSUER


def test_both_engines_have_the_same_keys(postgres_url: str, filled_sqlite: str) -> None:
    open_store(postgres_url).close()
    assert primary_keys(postgres_url) == primary_keys(filled_sqlite)


def test_sqlite_clusters_every_table_by_its_key(filled_sqlite: str) -> None:
    texts = execute(filled_sqlite, "SELECT sql FROM sqlite_schema WHERE type = 'table'")
    assert [text for (text,) in texts if not text.endswith("WITHOUT ROWID")] == []


OPERATION = (
    "INSERT INTO operation (issuer_id, card_id, requested_at, operation_id, sequence, change_no, ended_at, changed_at,"
    " picture, strict_length, etag) VALUES ('ISSUER0001', 'card', 1, 'op-1', {}, {}, NULL, 1, '', {}, 'etag')"
)
NOTIFICATION = (
    "INSERT INTO notification VALUES"
    " ('ISSUER0001', 'n-1', 'e', 'card', 'op-1', 'PRODUCE', 1, {}, {}, 0, 0, 1, {}, '', '', 1, '')"
)
ILLEGAL = [
    OPERATION.format(0, 1, 9),
    OPERATION.format(1, 0, 9),
    OPERATION.format(1, 1, 0),
    "INSERT INTO issuer_counter (issuer_id, change_no) VALUES ('ISSUER0001', -1)",
    "INSERT INTO event VALUES ('ISSUER0001', 'card', 'site:a', 'e', 1, 2, '')",
    "INSERT INTO tally VALUES ('ISSUER0001', 'guess', 1, '', '', '', '', 1, 1)",
    "INSERT INTO operation_ref VALUES ('ISSUER0001', 'op-1', 'card', 1)",
    "INSERT INTO parcel_link VALUES ('ISSUER0001', 'card', 'dhl', 'T1', 2, 1)",
    "INSERT INTO order_request VALUES ('ISSUER0001', 'op-1', 'card', NULL, '', 'LOST', 1)",
    "INSERT INTO endpoint VALUES ('ISSUER0001', 'e', 'PAUSED', NULL, '{}', '', 'v', 1)",
    "INSERT INTO endpoint VALUES ('ISSUER0001', 'e', 'DISABLED', NULL, '{}', '', 'v', 1)",
    "INSERT INTO endpoint VALUES ('ISSUER0001', 'e', 'ENABLED', 'why', '{}', '', 'v', 1)",
    "INSERT INTO lane (issuer_id, endpoint_id, chore) VALUES ('ISSUER0001', 'e', 2)",
    "INSERT INTO lane (issuer_id, endpoint_id, failures) VALUES ('ISSUER0001', 'e', 1)",
    "INSERT INTO lane (issuer_id, endpoint_id, failing_since) VALUES ('ISSUER0001', 'e', 1)",
    "INSERT INTO lane (issuer_id, endpoint_id, probe_at) VALUES ('ISSUER0001', 'e', 1)",
    NOTIFICATION.format("'LOST'", 0, "NULL"),
    NOTIFICATION.format("'PENDING'", 3, "NULL"),
    NOTIFICATION.format("'PENDING'", 0, "1"),
    NOTIFICATION.format("'WITHHELD'", 0, "1"),
    NOTIFICATION.format("'DELIVERED'", 0, "NULL"),
    NOTIFICATION.format("'SUPERSEDED'", 0, "NULL"),
    NOTIFICATION.format("'REFUSED'", 0, "NULL"),
    NOTIFICATION.format("'DEAD'", 0, "NULL"),
    "INSERT INTO attempt VALUES ('ISSUER0001', 'a', 'e', 1, 0, 204, NULL, 1, '')",
    "INSERT INTO attempt VALUES ('ISSUER0001', 'a', 'e', 1, 1, NULL, NULL, 1, '')",
    "INSERT INTO account VALUES ('ada', 'GONE', 1, '', '{}', 0, 1, NULL, NULL, NULL)",
    "INSERT INTO account VALUES ('ada', 'ACTIVE', 0, '', '{}', 0, 1, NULL, NULL, NULL)",
    "INSERT INTO account VALUES ('ada', 'ACTIVE', 1, '', '{}', 2, 1, NULL, NULL, NULL)",
    "INSERT INTO session VALUES ('ada', 'hash', 1, '', 2, 1, 3)",
    "INSERT INTO session VALUES ('ada', 'hash', 1, '', 1, 3, 2)",
    "INSERT INTO party VALUES ('p', 'BANK', 'ACTIVE', 1, '[]', '[]', '[]', '[]', 0, 1, 1)",
    "INSERT INTO party VALUES ('p', 'ISSUER', 'GONE', 1, '[]', '[]', '[]', '[]', 0, 1, 1)",
    "INSERT INTO party VALUES ('p', 'ISSUER', 'ACTIVE', 0, '[]', '[]', '[]', '[]', 0, 1, 1)",
    "INSERT INTO party VALUES ('p', 'ISSUER', 'ACTIVE', 1, '[]', '[]', '[]', '[]', 2, 1, 1)",
    "INSERT INTO party VALUES ('p', 'ISSUER', 'ACTIVE', 1, '[]', '[]', '[]', '[]', 0, 0, 1)",
    "INSERT INTO party_key VALUES ('p', 'k', 'LOST', '{}', 1)",
    "INSERT INTO meta VALUES ('name', NULL)",
    "INSERT INTO meta VALUES (NULL, 'value')",
]


def test_illegal_states_are_refused_by_the_database_itself(database_url: str) -> None:
    open_store(database_url).close()
    with connected(database_url) as run:
        for statement in ILLEGAL:
            with pytest.raises(Exception, match=r"(?i)check constraint|not null|not-null"):
                run(statement)


def test_two_changes_of_an_issuer_never_share_a_number(database_url: str) -> None:
    open_store(database_url).close()
    execute(database_url, OPERATION.format(1, 1, 9))
    with pytest.raises(Exception, match=r"(?i)unique"):
        execute(database_url, OPERATION.format(1, 1, 9).replace("op-1", "op-2"))


def test_the_audit_can_only_grow(database_url: str) -> None:
    open_store(database_url).close()
    execute(database_url, "INSERT INTO audit VALUES ('1', 1, 'actor', 'action', 'subject', NULL, NULL)")
    for statement in ("UPDATE audit SET actor = 'other'", "DELETE FROM audit"):
        with pytest.raises(Exception, match="append-only"):
            execute(database_url, statement)
