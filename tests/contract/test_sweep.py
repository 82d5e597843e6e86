"""Retention: what waited too long goes with its keys, what was settled long ago is sealed. On both engines."""

from typing import Any

import pytest

from cardtrail.db import Row, Transaction
from cardtrail.platform import sweep
from tests.desk import Desk, desk, dump, execute
from tests.events import event
from tests.serving import ISSUER

PARCEL = {"carrier": "dhl", "trackingNumber": "T1"}
WAITING = ("card", "parcel", "operation_ref")


def early_events() -> list[dict[str, Any]]:
    """One event for each way of naming an order that is not there."""
    return [
        event("ready", "card", hours=1),
        event("ready", issuerId=ISSUER, operationId="op-1", hours=1),
        event("scanned", hours=9, status="InTransit", **PARCEL),
        event("shipped", "linked", hours=5, carrier="ups", trackingNumber="T2"),
        event("scanned", hours=9, status="InTransit", carrier="ups", trackingNumber="T2"),
    ]


def delivered(site: Desk, card_id: str, *, hours: float = 0, **parcel: str) -> list[dict[str, Any]]:
    """Tell a story to its end; return its events."""
    parcel = parcel or PARCEL
    story = [
        event("requested", card_id, hours=hours),
        event("ready", card_id, hours=hours + 1),
        event("shipped", card_id, hours=hours + 5, **parcel),
        event("scanned", hours=hours + 9, status="Delivered", **parcel),
    ]
    assert set(site.tell(*story)) == {"accepted"}
    return story


def bodies(url: str) -> int:
    """Return how many events are kept, wherever they are."""
    [row] = execute(url, "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM inbox WHERE body IS NOT NULL)")
    return int(row[0])


# ── waiting


def test_events_whose_order_never_came_go_after_so_many_days_and_can_be_sent_again(database_url: str) -> None:
    """Was a bug: what waited for an operation was kept for ever."""
    early = early_events()
    with desk(database_url) as site:
        assert site.tell(*early) == ["accepted"] * 5
        site.later(days=29)
        assert site.sweep(waiting_days=30) == 0
        assert site.tell(*early) == ["duplicate"] * 5
        site.later(days=2)
        assert site.sweep(waiting_days=30) == 4
        assert bodies(database_url) == 1  # of the parcel that a site had named; now it waits, too
        site.later(days=31)
        assert site.sweep(waiting_days=30) == 1
        assert {table for table, rows in dump(database_url).items() if rows} == {"meta"}
        assert site.tell(*early) == ["accepted"] * 5
        site.tell(event("requested", "card", operationId="op-1"), event("requested", "linked"))
        assert (site.stage("card"), site.shipment("linked")) == ("CARD_PROD_READY", "InTransit")


def test_retention_of_no_days_keeps_for_ever(database_url: str) -> None:
    with desk(database_url) as site:
        site.tell(*early_events())
        delivered(site, "settled")
        site.later(days=10_000)
        before = dump(database_url)
        assert site.sweep() == 0
        assert dump(database_url) == before


def test_what_found_its_order_is_never_swept(database_url: str) -> None:
    with desk(database_url) as site:
        site.tell(*early_events())
        site.tell(event("requested", "card", operationId="op-1"), event("requested", "linked"))
        site.tell(event("shipped", "card", hours=5, **PARCEL))
        before = dump(database_url)
        site.later(days=1_000)
        assert site.sweep(waiting_days=30) == 0
        assert dump(database_url) == before


def test_more_than_one_batch_is_swept(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BATCH", 3)
    with desk(database_url) as site:
        site.tell(*[event("ready", f"card-{n}") for n in range(10)])
        site.tell(*[event("scanned", hours=9, carrier="dhl", trackingNumber=f"T{n}") for n in range(7)])
        site.later(days=31)
        assert site.sweep(waiting_days=30) == 17
    assert bodies(database_url) == 0


@pytest.mark.parametrize("table", WAITING)
def test_what_finds_its_order_between_the_look_and_the_lock_is_not_swept(database_url: str, table: str) -> None:
    """Was a bug for parcels: what carriers had told was forgotten, and cards linked later never got it."""
    with desk(database_url) as site:
        early = early_events()[:3]
        site.tell(*early)
        site.later(days=31)
        query = {"card": "waiting_cards", "parcel": "waiting_parcels", "operation_ref": "waiting_operations"}[table]
        order = [event("requested", "card", operationId="op-1"), event("shipped", "card", hours=5, **PARCEL)]

        def work(tx: Transaction) -> int:
            return sweep._drop_waiting(_Overtaken(tx, query), site.now - 30 * sweep.DAY, site.now)

        found = site.run(site.db.read(lambda tx: tx.all(query, before=site.now, most=9)))
        assert len(found) == 1
        site.tell(*order)
        _Overtaken.found = found
        site.transact(work)
        site.tell(event("requested", "second"), event("shipped", "second", hours=5, **PARCEL))
        assert site.tell(*early) == ["duplicate"] * 3
        assert (site.stage("card"), site.shipment("second")) == ("CARD_SHIPPED", "InTransit")


class _Overtaken:
    """A transaction whose look was taken before somebody else committed."""

    found: list[Row] = []  # noqa: RUF012 - set by the one test that uses it

    def __init__(self, tx: Transaction, query: str) -> None:
        self._tx = tx
        self._query = query
        self.engine = tx.engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def all(self, name: str, /, **parameters: object) -> list[Row]:
        return self.found if name == self._query else self._tx.all(name, **parameters)

    one: Any
    run: Any
    each: Any
    script: Any


# ── sealing


def test_a_settled_order_is_sealed_its_events_go_and_its_picture_stays(database_url: str) -> None:
    with desk(database_url) as site:
        story = delivered(site, "card")
        picture = site.picture("card")
        site.later(days=399)
        assert site.sweep(seal_days=400) == 0
        site.later(days=2)
        assert site.sweep(seal_days=400) == 1
        assert site.picture("card") == picture
        kept = execute(database_url, "SELECT event_id FROM event")
        assert kept == [(story[0]["eventId"],)]
        late = [
            event("done", "card", hours=4),
            event("scanned", "card", hours=30, status="Exception"),
            event("scanned", hours=30, status="Exception", **PARCEL),
            event("retracted", "card", hours=40, retracts=story[1]["eventId"]),
            event("ready", issuerId=ISSUER, operationId=picture["operationId"], hours=1),
        ]
        assert site.tell(*late) == ["ORDER_SEALED"] * 5
        assert site.tell(*story) == ["duplicate"] + ["ORDER_SEALED"] * 3
        assert site.picture("card") == picture
        assert site.sweep(seal_days=400) == 0


def test_what_carriers_told_of_a_parcel_goes_with_the_last_order_in_it(database_url: str) -> None:
    """Was a bug: it was kept for ever, places and all."""
    with desk(database_url) as site:
        delivered(site, "first")
        site.later(days=30)
        site.tell(event("requested", "second"), event("shipped", "second", hours=5, **PARCEL))
        site.later(days=375)
        assert site.sweep(seal_days=400) == 1
        told = "SELECT count(*) FROM inbox WHERE carrier IS NOT NULL"
        assert execute(database_url, told) == [(1,)]
        assert site.shipment("second") == "Delivered"
        site.later(days=30)
        assert site.sweep(seal_days=400) == 1
        assert execute(database_url, told) == [(0,)]
        assert (site.shipment("first"), site.shipment("second")) == ("Delivered", "Delivered")


def test_a_card_with_an_open_order_keeps_its_events_and_the_sealed_one_takes_none(database_url: str) -> None:
    with desk(database_url) as site:
        delivered(site, "card")
        site.later(days=401)
        site.tell(event("requested", "card", hours=24 * 400), event("ready", "card", hours=24 * 400 + 1))
        assert site.sweep(seal_days=400) == 1
        newest, oldest = site.history("card")
        assert site.tell(event("started", "card", hours=24 * 400 + 2)) == ["accepted"]
        assert site.tell(event("scanned", hours=30, status="Exception", **PARCEL)) == ["ORDER_SEALED"]
        assert site.history("card")[1] == oldest
        assert site.picture("card")["cardtrail"]["sequence"] == newest["cardtrail"]["sequence"] + 1


def test_a_sealed_card_can_be_ordered_again(database_url: str) -> None:
    with desk(database_url) as site:
        delivered(site, "card")
        site.later(days=401)
        site.sweep(seal_days=400)
        delivered(site, "card", hours=24 * 401, carrier="dhl", trackingNumber="T9")
        newest, oldest = site.history("card")
        assert newest["details"]["shipment"]["status"] == "Delivered"
        assert (newest["cardtrail"]["sequence"], oldest["cardtrail"]["sequence"]) == (4, 4)


def test_an_order_that_has_not_ended_or_changed_lately_is_not_sealed(database_url: str) -> None:
    with desk(database_url) as site:
        site.tell(event("requested", "open"))
        delivered(site, "changed")
        site.later(days=390)
        site.tell(event("scanned", "changed", hours=8, status="OutForDelivery"))
        site.later(days=20)
        assert site.sweep(seal_days=400) == 0


def test_sealing_many_goes_in_small_steps(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BATCH", 4)
    with desk(database_url) as site:
        for n in range(11):
            delivered(site, f"card-{n}", carrier="dhl", trackingNumber=f"T{n}")
        site.later(days=401)
        assert site.sweep(seal_days=400) == 11
    assert bodies(database_url) == 11
