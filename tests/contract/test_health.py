"""What a look at the store tells the metrics: what waits, for how long, and what should be gone."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardtrail.db.sql import queries_of
from cardtrail.errors import StoreUnavailable
from cardtrail.platform import health
from cardtrail.platform.health import Clocks, Health
from cardtrail.platform.metrics import Metrics
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.store import open_store, queries
from cardtrail.platform.sweep import DAY
from tests.desk import Desk, connected, desk, execute
from tests.outbox import NOW, outbox, put
from tests.planning import plan_on_sqlite

LATER = NOW + DAY
"""What the clock of cards says when the others say NOW."""
KEEPS = {NotificationState.DELIVERED: 30 * DAY, NotificationState.DEAD: 400 * DAY}


@pytest.fixture
def site(database_url: str) -> Iterator[Desk]:
    """A store with an endpoint that is disabled and one that is not."""
    with outbox(database_url) as here:
        yield here


def look(site: Desk) -> str:
    """Look once; return what the metrics say."""
    metrics = Metrics()
    site.run(Health(site.db, metrics, Clocks(lambda: NOW, lambda: LATER, lambda: 0.0), KEEPS).run_once())
    return metrics.text().decode()


def shown(text: str, name: str) -> dict[str, float]:
    """The values of a metric by those of its label."""
    return {
        label: float(value) for label, value in re.findall(rf'^{name}(?:{{\w+="(\w+)"}})? (\S+)$', text, re.MULTILINE)
    }


def test_a_look_tells_what_has_waited_longest_and_who_is_not_sent_to(site: Desk) -> None:
    put(site, "PENDING", 2)
    put(site, "PENDING", 1)
    execute(site.url, "UPDATE lane SET failures = 5, failing_since = 1, probe_at = 2 WHERE endpoint_id = 'on'")
    text = look(site)
    assert shown(text, "cardtrail_oldest_pending_seconds") == {"": 2 * 86_400.0}
    assert shown(text, "cardtrail_endpoints") == {"enabled": 0, "failing": 1, "disabled": 1}


def test_a_look_tells_for_how_long_what_could_be_sent_is_due(site: Desk) -> None:
    put(site, "PENDING", 3, endpoint="off")
    assert shown(look(site), "cardtrail_overdue_seconds") == {"": 0}
    put(site, "PENDING", 2)
    put(site, "PENDING", 1)
    assert shown(look(site), "cardtrail_overdue_seconds") == {"": 2 * 86_400}
    execute(site.url, "UPDATE notification SET lot = 1 WHERE endpoint_id = 'on'")
    assert shown(look(site), "cardtrail_overdue_seconds") == {"": 0}
    execute(site.url, "UPDATE notification SET lot = 0")
    execute(site.url, "UPDATE lane SET failures = 5, failing_since = 1, probe_at = 2 WHERE endpoint_id = 'on'")
    assert shown(look(site), "cardtrail_overdue_seconds") == {"": 0}


def test_a_look_counts_what_is_not_delivered_by_its_state(site: Desk) -> None:
    put(site, "PENDING", 1, count=3)
    put(site, "WITHHELD", 1, count=2, endpoint="off")
    put(site, "DEAD", 1)
    put(site, "DELIVERED", 1, count=5)
    counted = {"pending": 3, "withheld": 2, "refused": 0, "dead": 1}
    assert shown(look(site), "cardtrail_notifications") == counted


def test_a_look_counts_no_further_than_its_limit(site: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "COUNTED", 3)
    put(site, "PENDING", 1, count=7)
    with connected(site.url) as run:
        for number in range(7):
            run(f"INSERT INTO card VALUES ('ISSUER0001', 'card-{number}', {NOW})")  # noqa: S608 -- our own
            run(f"INSERT INTO fanout VALUES ('carrier:dhl', 'event-{number}', '', '', '')")  # noqa: S608 -- our own
    text = look(site)
    assert shown(text, "cardtrail_notifications")["pending"] == 4
    assert shown(text, "cardtrail_waiting")["card"] == 4
    assert shown(text, "cardtrail_fanouts") == {"": 4}


def test_a_look_tells_by_the_clock_of_cards_for_how_long_events_wait_for_their_order(site: Desk) -> None:
    hour = DAY // 24
    with connected(site.url) as run:
        run(f"INSERT INTO card VALUES ('ISSUER0001', 'card-1', {LATER - hour}), ('ISSUER0001', 'card-2', NULL)")  # noqa: S608 -- our own
        run(f"INSERT INTO parcel VALUES ('dhl', 'T1', {LATER - 2 * hour}), ('dhl', 'T2', {LATER - hour})")  # noqa: S608 -- our own
        run("INSERT INTO operation_ref VALUES ('ISSUER0001', 'op-1', 'card-2', NULL)")
        run(
            "INSERT INTO order_request VALUES ('ISSUER0001', 'op-2', 'card-3', NULL, '', 'RESERVED',"  # noqa: S608 -- our own
            f" {LATER - 3 * hour}), ('ISSUER0001', 'op-3', 'card-3', NULL, '', 'CONFIRMED', 1)"
        )
    text = look(site)
    assert shown(text, "cardtrail_waiting") == {"card": 1, "parcel": 2, "operation": 0}
    assert shown(text, "cardtrail_waiting_seconds") == {"card": 3_600, "parcel": 7_200, "operation": 0}
    assert shown(text, "cardtrail_orders_unconfirmed") == {"": 1}
    assert shown(text, "cardtrail_orders_unconfirmed_seconds") == {"": 10_800}


@pytest.mark.parametrize(
    ("state", "age", "overdue"), [("DELIVERED", 29, 0), ("DELIVERED", 31, 1), ("DEAD", 31, 0), ("REFUSED", 9_000, 0)]
)
def test_a_look_tells_for_how_long_settled_notifications_should_be_gone(
    site: Desk, state: str, age: int, overdue: int
) -> None:
    put(site, state, age)
    assert shown(look(site), "cardtrail_retention_overdue_seconds") == {"": overdue * 86_400}


def test_in_an_empty_store_nothing_waits(database_url: str) -> None:
    with desk(database_url) as here:
        text = look(here)
    for name in ("cardtrail_oldest_pending_seconds", "cardtrail_retention_overdue_seconds", "cardtrail_fanouts"):
        assert shown(text, name) == {"": 0}
    assert shown(text, "cardtrail_store_available") == {"": 1}
    assert shown(text, "cardtrail_schema_version")[""] >= 2


def test_a_store_that_cannot_be_looked_at_is_told_and_what_was_seen_grows_old(tmp_path: Path) -> None:
    now, metrics = [5.0], Metrics()
    db = open_store(f"sqlite:///{tmp_path}/cardtrail.db")
    at = Health(db, metrics, Clocks(lambda: NOW, lambda: NOW, lambda: now[0]), {})
    asyncio.run(at.run_once())
    db.close()
    now[0] = 12.0
    with pytest.raises(StoreUnavailable):
        asyncio.run(at.run_once())
    text = metrics.text().decode()
    assert shown(text, "cardtrail_store_available") == {"": 0}
    assert shown(text, "cardtrail_look_age_seconds") == {"": 7}


def test_what_is_counted_is_counted_by_an_index_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    open_store(url).close()
    found = queries_of(queries(), "sqlite")
    for name in ("count_undelivered", "waiting_health", "oldest_settled", "due_longest"):
        steps = [
            step
            for step in plan_on_sqlite(url, found[name])
            if re.match(r"(SCAN|SEARCH) (?!CONSTANT|[lewd]( |$))\w", step)
        ]
        assert steps, name
        assert [step for step in steps if " INDEX " not in step] == [], name
