"""Where orders are and what is counted as they move, on both engines."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from cardtrail.core.business import DAY
from cardtrail.core.place import ENDS, PLACES
from cardtrail.platform import placing
from cardtrail.platform.counts import Counts
from cardtrail.platform.moves import HOUR
from tests.desk import NOW, Desk, desk, execute
from tests.events import event
from tests.serving import ISSUER

OTHER = "ISSUER0002"
KINDS = ("requested", "prepared", "ready", "started", "failed", "done", "held", "released", "shipped", "canceled")
SCANS = ("InTransit", "OutForDelivery", "AttemptFail", "Delivered")


def some_events(chance: Random, count: int) -> list[dict[str, Any]]:
    """Return events of a few cards in no order."""
    found = []
    for _ in range(count):
        card_id, issuer_id = f"card-{chance.randrange(8)}", chance.choice([ISSUER, OTHER])
        about: dict[str, Any] = {"hours": chance.uniform(0, 500), "issuerId": issuer_id}
        if chance.random() < 0.3:
            found.append(event("scanned", card_id, status=chance.choice(SCANS), **about))
        else:
            found.append(event(chance.choice(KINDS), card_id, reason="r", dueDate="2026-01-20", **about))
    return found


def tallies(url: str, what: str) -> dict[tuple[Any, ...], int]:
    """Return the counters of one kind that are not 0, by issuer, place and value."""
    rows = execute(url, f"SELECT issuer_id, place, value, count FROM tally WHERE what = '{what}'")  # noqa: S608 - ours
    found = Counter[tuple[Any, ...]]()
    for issuer_id, place, value, count in rows:
        found[issuer_id, place, value] += count
    return {key: count for key, count in found.items() if count}


def test_counters_of_places_say_what_counting_all_orders_would(database_url: str) -> None:
    chance = Random(6)
    with desk(database_url) as site:
        for _ in range(12):
            site.tell(*some_events(chance, 25))
    rows = execute(database_url, "SELECT issuer_id, place, count(*) FROM operation GROUP BY issuer_id, place")
    counted = {(issuer_id, place, 0): count for issuer_id, place, count in rows}
    assert tallies(database_url, "standing") == counted
    assert {place for _, place, _ in counted} <= set(PLACES)
    assert len(counted) > 8
    came = tallies(database_url, "passage")
    assert all(came[key] >= count for key, count in counted.items())
    watched = {row[0] for row in execute(database_url, "SELECT DISTINCT place FROM operation WHERE watched = 1")}
    assert not watched & ENDS


def told(site: Desk, card_id: str, **due: str) -> None:
    parcel = {"carrier": "dhl", "trackingNumber": f"T-{card_id}"}
    site.tell(
        event("requested", card_id, hours=0, distributionChannel="CENTRAL"),
        event("ready", card_id, hours=26, productionSite="nord", **due),  # a step left out: no dwell is told
        event("started", card_id, hours=50, productionSite="nord"),
        event("done", card_id, hours=56, productionSite="nord"),
        event("shipped", card_id, hours=74, productionSite="nord", **parcel),
        event("scanned", card_id, hours=80, status="InTransit", **parcel),
        event("scanned", card_id, hours=128, status="Delivered", **parcel),
    )


def test_dwells_that_were_told_at_both_ends_are_counted_in_business_time(database_url: str) -> None:
    """From Monday 8 h on; Thursday 16 h to Saturday 16 h is one business day and a third."""
    with desk(database_url) as site:
        told(site, "card-1")
    assert tallies(database_url, "dwell") == {
        (ISSUER, "CARD_PROD_READY", 4): 1, (ISSUER, "CARD_PROD_ONGOING", 1): 1, (ISSUER, "CARD_PROD_DONE", 3): 1,
        (ISSUER, "CARD_SHIPPED", 1): 1, (ISSUER, "InTransit", 5): 1,
    }  # fmt: skip
    groups = execute(database_url, "SELECT place, site, channel, carrier FROM tally WHERE what = 'dwell'")
    assert set(map(tuple, groups)) >= {("CARD_PROD_READY", "nord", "CENTRAL", ""), ("InTransit", "", "CENTRAL", "dhl")}


def test_promises_are_counted_by_site_and_by_how_late_they_were(database_url: str) -> None:
    with desk(database_url) as site:
        for number, due in enumerate(["2026-01-08", "2026-01-08T10:00:00Z", "2026-01-06", "2026-01-09", "soon"]):
            told(site, f"card-{number}", dueDate=due)
        told(site, "card-9")
    assert tallies(database_url, "promise") == {(ISSUER, "", 0): 2, (ISSUER, "", 2): 1, (ISSUER, "", -1): 1}


def test_a_held_order_is_on_hold_since_it_was_held_and_then_where_it_was(database_url: str) -> None:
    with desk(database_url) as site:
        site.tell(event("requested", "card-1"), event("ready", "card-1", hours=20), event("held", "card-1", hours=30))
        look = "SELECT place, since, watched FROM operation"
        [(place, since, watched)] = execute(database_url, look)
        assert (place, watched) == ("ON_HOLD", 1)
        site.tell(event("released", "card-1", hours=40))
        [(place, back, _)] = execute(database_url, look)
        assert (place, since - back) == ("CARD_PROD_READY", 10 * DAY // 24)
    assert tallies(database_url, "standing") == {(ISSUER, "CARD_PROD_READY", 0): 1}


def test_a_card_in_the_post_without_a_number_is_not_watched(database_url: str) -> None:
    with desk(database_url) as site:
        site.tell(event("requested", "card-1"), event("shipped", "card-1", hours=20, carrier="deutsch-post"))
        site.tell(event("requested", "card-2"), event("shipped", "card-2", hours=2, carrier="dhl", trackingNumber="T"))
    rows = execute(database_url, "SELECT card_id, place, watched, carrier FROM operation ORDER BY card_id")
    assert [tuple(row) for row in rows] == [
        ("card-1", "CARD_SHIPPED", 0, "deutsch-post"), ("card-2", "CARD_SHIPPED", 1, "dhl"),
    ]  # fmt: skip


def unplaced(url: str) -> None:
    """Make a store look as a release from before would have left it."""
    execute(url, "UPDATE operation SET place = '', since = 0, watched = 0, site = '', channel = '', carrier = ''")
    execute(url, "UPDATE operation SET request_id = NULL")
    execute(url, "DELETE FROM tally")


def places(url: str) -> list[tuple[Any, ...]]:
    rows = execute(url, "SELECT operation_id, place, since, watched, site, channel, carrier, request_id FROM operation")
    return sorted(map(tuple, rows))


def test_orders_from_before_are_placed_in_the_background_and_counted_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "BATCH", 3)
    chance = Random(7)
    with desk(database_url) as site:
        site.tell(*some_events(chance, 200))
        before, counted = places(database_url), tallies(database_url, "standing")
        unplaced(database_url)
        background = placing.Placing(site.db)
        site.tell(*some_events(chance, 1))  # what moves meanwhile is placed by ingest itself
        while site.run(background.run_once()):
            pass
        changed = set(before) ^ set(places(database_url))
    assert len(changed) <= 2
    assert sum(tallies(database_url, "standing").values()) == sum(counted.values())


def test_a_sealed_order_is_where_its_picture_says(database_url: str) -> None:
    with desk(database_url) as site:
        told(site, "card-1")
        site.later(500)
        assert site.sweep(seal_days=400) == 1
        unplaced(database_url)
        site.run(placing.Placing(site.db).run_once())
    assert [each[1:4:2] for each in places(database_url)] == [("Delivered", 0)]


def test_what_was_counted_long_ago_goes_and_what_is_usual_stays(database_url: str) -> None:
    with desk(database_url) as site:
        told(site, "card-1", dueDate="2026-01-08")
        site.later(401)
        told(site, "card-2", dueDate="2026-01-08")
        forgetting = Counts(site.db, lambda: site.now)
        assert site.run(forgetting.run_once()) > 0
        assert site.run(forgetting.run_once()) == 0
    left = execute(database_url, "SELECT what, min(hour) FROM tally WHERE what IN ('passage', 'promise') GROUP BY what")
    assert {what for what, _ in left} == {"passage", "promise"}
    assert min(hour for _, hour in left) > NOW // HOUR
    assert sum(tallies(database_url, "dwell").values()) == 10


def test_an_orders_request_is_kept_with_it_and_follows_its_picture(database_url: str) -> None:
    """Of two that ask for an order at the same time the first by its id counts, whenever it comes."""

    def requests() -> list[tuple[Any, ...]]:
        return execute(database_url, "SELECT card_id, request_id FROM operation ORDER BY card_id")

    def asked(event_id: str, card_id: str = "card-1", **members: Any) -> dict[str, Any]:
        return event("requested", card_id, operationId=f"op-{card_id}", **members) | {"eventId": event_id}

    with desk(database_url) as site:
        site.tell(asked("d"), asked("e", "card-2", issuerRequestId="other"))
        assert requests() == [("card-1", None), ("card-2", "other")]
        site.tell(event("prepared", "card-2", hours=2))
        site.tell(asked("c", issuerRequestId="third"))
        assert requests() == [("card-1", "third"), ("card-2", "other")]
        site.tell(asked("b", issuerRequestId="second"), event("prepared", "card-1", hours=2), asked("a"))
        assert requests() == [("card-1", None), ("card-2", "other")]
        assert "issuerRequestId" not in site.history("card-1")[0]
        assert site.history("card-2")[0]["issuerRequestId"] == "other"
