"""What becomes of an event: its outcome, the sequence it raises, and where it waits. On both engines."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from cardtrail.core.operation import operation_of
from cardtrail.core.order import project
from cardtrail.errors import StoreUnavailable
from cardtrail.platform import refuse
from cardtrail.platform.held import Item
from cardtrail.platform.ingest import Sender, item_of
from cardtrail.protocol.codec import picture_of
from tests.desk import ALL, EVERYONE, NOW, Desk, desk, dump, execute
from tests.events import event
from tests.serving import ISSUER, OTHER_ISSUER

STORY = ("requested", "prepared", "ready", "started", "done", "shipped")


def told(operation_id: str, kind: str, **members: Any) -> dict[str, Any]:
    """An event that names its order by the operation only."""
    return event(kind, issuerId=ISSUER, operationId=operation_id, **members)


# ── outcomes


def test_an_event_that_comes_again_is_a_duplicate_and_changes_nothing(database_url: str) -> None:
    events = [event(kind, "card", hours=hour) for hour, kind in enumerate(STORY)]
    with desk(database_url) as first:
        assert first.tell(*events) == ["accepted"] * 6
    before = dump(database_url)
    with desk(database_url) as second:
        second.later(days=3)
        assert second.tell(*events) == ["duplicate"] * 6
    assert dump(database_url) == before


def test_the_same_key_with_other_content_is_a_conflict_and_leaves_no_trace(database_url: str) -> None:
    with desk(database_url) as site:
        requested, ready = event("requested", "card"), event("ready", "card", hours=1)
        site.tell(requested, ready)
        before = dump(database_url)
        other = [{**requested, "inputFileName": "other"}, {**ready, "cardId": "other"}, {**ready, "kind": "done"}]
        for changed in (*other, {**requested, "operationId": "op-9"}, {**ready, "occurredAt": "2026-01-05T09:00:01Z"}):
            assert site.tell(changed) == ["CONFLICT"]
        assert dump(database_url) == before


def test_a_key_that_comes_twice_in_one_batch_is_answered_as_if_in_two(database_url: str) -> None:
    requested, ready = event("requested", "card"), event("ready", "card", hours=1)
    other = {**ready, "reason": "other"}
    with desk(database_url) as site:
        assert site.tell(requested, requested, requested) == ["accepted", "duplicate", "duplicate"]
        assert site.tell(ready, other, ready) == ["accepted", "CONFLICT", "duplicate"]
        # Was a bug: all that followed a conflict in one batch was called a conflict, too.
        assert site.tell(other, ready) == ["CONFLICT", "duplicate"]


def test_a_key_whose_first_content_is_refused_is_tried_with_its_second(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: the second was refused with the words of the first."""
    monkeypatch.setattr(refuse, "MAX_CARRIER_EVENTS", 3)
    monkeypatch.setattr(refuse, "RESERVED_CARRIER_EVENTS", 1)
    with desk(database_url) as site:
        site.tell(event("requested", "card"), *(event("scanned", "card", hours=n, status="InTransit") for n in (1, 2)))
        scan = event("scanned", "card", hours=3, status="InTransit")
        assert site.tell(scan, scan, {**scan, "status": "Delivered"}) == ["ORDER_FULL", "ORDER_FULL", "accepted"]
        assert site.shipment("card") == "Delivered"


def test_bad_elements_void_only_themselves_and_answers_keep_their_order(database_url: str) -> None:
    with desk(database_url) as site:
        sender = Sender("p", frozenset({"site:north"}), frozenset({"requested", "ready"}), frozenset({ISSUER}))
        batch = [
            event("requested", "good"),
            event("requested", "naïve"),
            event("ready", "good", hours=1, occurredAt="yesterday"),
            event("shipped", "good", hours=2),
            event("ready", "good", hours=1, source="site:south"),
            event("ready", "good", hours=1, issuerId=OTHER_ISSUER),
            {"eventId": "e", "source": "site:north"},
            event("ready", "good", hours=3),
            event("explode", "good"),
        ]
        assert site.tell(*batch, sender=sender) == [
            "accepted", "FIELD_INVALID_FORMAT", "FIELD_INVALID_FORMAT", "FORBIDDEN", "FORBIDDEN", "FORBIDDEN",
            "FIELD_INVALID_FORMAT", "accepted", "FIELD_INVALID_VALUE",
        ]  # fmt: skip
        results = site.run(site.take_whole(*batch, sender=sender))
        assert [(result.event_id, result.source) for result in results] == [
            (element["eventId"], element["source"]) for element in batch
        ]
        assert [result.result for result in results][::7] == ["duplicate", "duplicate"]
        assert site.stage("good") == "CARD_PROD_READY"
        assert [row[0] for row in execute(database_url, "SELECT card_id FROM card")] == ["good"]


def test_a_producer_of_all_sources_may_not_speak_for_the_api_or_an_operator(database_url: str) -> None:
    """Was a bug: `*` let a site retract a carrier's events, and take the keys of orders of the API."""
    with desk(database_url) as site:
        scan = event("scanned", "card", hours=1, status="Delivered")
        site.tell(event("requested", "card"), scan)
        taken_back = event(
            "retracted",
            "card",
            hours=2,
            source="operator:eve",
            retracts=scan["eventId"],
            retractedSource=scan["source"],
        )
        assert site.tell(taken_back, event("requested", "card", source="api:orders")) == ["FORBIDDEN", "FORBIDDEN"]
        assert site.shipment("card") == "Delivered"


# ── sequence


def test_the_sequence_rises_by_one_with_each_visible_change_and_with_nothing_else(database_url: str) -> None:
    with desk(database_url) as site:
        sequences = []
        for hour, kind in enumerate(STORY):
            site.tell(event(kind, "card", hours=hour))
            sequences.append(site.sequence("card"))
        assert sequences == [1, 2, 3, 4, 5, 6]
        assert site.tell(event("ready", "card", hours=9)) == ["accepted"]  # an anomaly
        assert site.tell(event("done", "card", hours=4)) == ["accepted"]  # said again
        assert site.sequence("card") == 6
        site.tell(event("scanned", "card", hours=20, status="InTransit"))
        assert site.sequence("card") == 7


def test_events_of_a_batch_are_folded_one_by_one(database_url: str) -> None:
    with desk(database_url) as site:
        batch = [event(kind, card, hours=hour) for hour, kind in enumerate(STORY) for card in ("one", "two")]
        assert site.tell(*batch) == ["accepted"] * 12
        assert [site.sequence("one"), site.sequence("two")] == [6, 6]
        assert site.tell(*reversed([event(kind, "back", hours=hour) for hour, kind in enumerate(STORY)]))
        assert site.sequence("back") == 1  # the request came last: all the rest waited for it


def test_a_retraction_takes_the_picture_back_with_the_next_sequence(database_url: str) -> None:
    with desk(database_url) as site:
        ready, started = event("ready", "card", hours=1), event("started", "card", hours=2)
        site.tell(event("requested", "card"), ready, started)
        before = site.picture("card")
        assert site.tell(event("retracted", "card", hours=3, retracts=started["eventId"])) == ["accepted"]
        assert site.stage("card") == "CARD_PROD_READY"
        assert site.sequence("card") == before["cardtrail"]["sequence"] + 1
        assert site.tell(event("retracted", "card", hours=3, retracts="event-unknown")) == ["accepted"]
        assert site.sequence("card") == 4


def test_a_retraction_that_overtakes_its_event_still_takes_it_out(database_url: str) -> None:
    with desk(database_url) as site:
        started = event("started", "card", hours=2)
        site.tell(event("requested", "card"), event("retracted", "card", hours=3, retracts=started["eventId"]))
        assert site.tell(started) == ["accepted"]
        assert (site.stage("card"), site.sequence("card")) == ("CARD_PROD_REQUESTED", 1)


def test_the_sequence_counts_exactly_the_visible_changes_of_a_long_story(database_url: str) -> None:
    """The judge folds every prefix of the story by itself and counts how often the picture changes."""
    batch = [
        event("requested", "card", operationId="op-1"),
        *(event(kind, "card", hours=hour) for hour, kind in enumerate(STORY[1:5], 1)),
        event("held", "card", hours=2.5, reason="no plastic"),
        event("released", "card", hours=2.7),
        event("done", "card", hours=4),
        event("shipped", "card", hours=5, carrier="dhl", trackingNumber="T1"),
        *(event("scanned", "card", hours=n, status=("InTransit", "OutForDelivery", "AttemptFail")[n % 3])
          for n in range(6, 40)),
        told("op-1", "ready", hours=1.5, productionSite="North"),
        event("scanned", "card", hours=41, status="Delivered"),
        event("scanned", "card", hours=42, status="InTransit"),
    ]  # fmt: skip
    seen: list[bytes] = []
    for end in range(1, len(batch) + 1):
        items = [item_of(EVERYONE, msgspec.json.encode(told), NOW) for told in batch[:end]]
        [order] = project([item.event for item in items if isinstance(item, Item)]).orders
        picture = picture_of(operation_of(order)).sealed(1)
        seen += [picture] if not seen or seen[-1] != picture else []
    with desk(database_url) as site:
        assert site.tell(*batch) == ["accepted"] * len(batch)
        assert site.sequence("card") == len(seen) > 30


# ── events before their order


@pytest.mark.parametrize("together", [True, False])
def test_events_that_come_before_their_order_wait_and_are_folded_in(database_url: str, together: bool) -> None:  # noqa: FBT001 - a test's parameter
    def tell(site: Desk, *events: dict[str, Any]) -> None:
        for batch in (events,) if together else ((each,) for each in events):
            assert set(site.tell(*batch)) == {"accepted"}

    with desk(database_url) as site:
        tell(
            site,
            event("ready", "by-card", hours=1),
            told("op-2", "ready", hours=1),
            told("op-2", "started", hours=2),
            event("scanned", hours=9, carrier="dhl", trackingNumber="T3", status="InTransit"),
        )
        assert [site.stage(card) for card in ("by-card", "by-operation", "by-parcel")] == [None, None, None]
        tell(
            site,
            event("requested", "by-card"),
            event("requested", "by-operation", operationId="op-2"),
            event("requested", "by-parcel"),
            event("shipped", "by-parcel", hours=5, carrier="dhl", trackingNumber="T3"),
        )
        assert site.stage("by-card") == "CARD_PROD_READY"
        assert site.stage("by-operation") == "CARD_PROD_ONGOING"
        assert site.shipment("by-parcel") == "InTransit"
    waiting = "SELECT count(*) FROM {} WHERE waiting_since IS NOT NULL"
    assert [execute(database_url, waiting.format(t)) for t in ("card", "parcel", "operation_ref")] == [[(0,)]] * 3


def test_a_parcel_named_by_an_event_that_waited_for_its_operation_reaches_the_card(database_url: str) -> None:
    """Was a bug: such an event was folded, but its card was never linked to the parcel."""
    with desk(database_url) as site:
        early = event("scanned", hours=4, carrier="dhl", trackingNumber="T1", status="InfoReceived")
        site.tell(told("op-1", "shipped", hours=3, carrier="dhl", trackingNumber="T1"), early)
        site.tell(event("requested", "card", operationId="op-1"))
        assert site.shipment("card") == "InfoReceived"
        site.tell(event("scanned", hours=5, carrier="dhl", trackingNumber="T1", status="Delivered"))
        assert site.shipment("card") == "Delivered"


def test_an_operation_belongs_to_the_first_card_that_begins_it(database_url: str) -> None:
    """Was a bug: within one batch it was the last."""
    with desk(database_url) as site:
        batch = [event("requested", card, operationId="op-1") for card in ("one", "two")]
        assert site.tell(*batch, told("op-1", "ready", hours=1)) == ["accepted", "CONFLICT", "accepted"]
        assert [site.stage("one"), site.stage("two")] == ["CARD_PROD_READY", None]
        assert site.tell(event("requested", "two", issuerId=OTHER_ISSUER, operationId="op-1")) == ["accepted"]
        assert site.tell(event("requested", "two", operationId="op-1")) == ["CONFLICT"]
    assert sorted(execute(database_url, "SELECT issuer_id, card_id FROM card")) == [
        (ISSUER, "one"),
        (OTHER_ISSUER, "two"),
    ]


def test_a_refused_request_neither_takes_an_operation_nor_what_waits_for_it(database_url: str) -> None:
    """Was a bug: a known key with other content claimed the operation; what waited for it was lost."""
    with desk(database_url) as site:
        known = event("requested", "one")
        site.tell(known, told("op-2", "ready", hours=1))
        assert site.tell({**known, "operationId": "op-2"}) == ["CONFLICT"]
        assert site.tell({**known, "operationId": "op-3"}) == ["CONFLICT"]
        assert site.tell(event("requested", "two", operationId="op-2")) == ["accepted"]
        assert site.tell(event("requested", "three", operationId="op-3")) == ["accepted"]
        assert [site.stage("two"), site.stage("three")] == ["CARD_PROD_READY", "CARD_PROD_REQUESTED"]


def test_an_order_too_many_for_its_card_gives_its_operation_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: the refused order kept the operation, and what had waited for it was gone."""
    monkeypatch.setattr(refuse, "MAX_ORDERS", 1)
    with desk(database_url) as site:
        site.tell(event("requested", "full"), told("op-1", "ready", hours=1))
        refused = [event("requested", "full", operationId=name) for name in ("op-1", "op-2")]
        assert site.tell(*refused, told("op-2", "ready", hours=1)) == ["ORDER_FULL", "ORDER_FULL", "accepted"]
        waiting = "SELECT operation_id FROM operation_ref WHERE card_id IS NULL AND waiting_since IS NOT NULL"
        assert sorted(execute(database_url, waiting)) == [("op-1",), ("op-2",)]
        batch = [event("requested", card, operationId="op-1") for card in ("full", "one")]
        assert site.tell(*batch, event("requested", "two", operationId="op-2")) == [
            "ORDER_FULL",
            "accepted",
            "accepted",
        ]
        assert [site.stage("one"), site.stage("two")] == ["CARD_PROD_READY", "CARD_PROD_READY"]
        assert site.tell(event("requested", "full", operationId="op-3")) == ["ORDER_FULL"]
        assert execute(database_url, "SELECT * FROM operation_ref WHERE operation_id = 'op-3'") == []


def test_a_reference_means_its_own_issuers_operation_only(database_url: str) -> None:
    with desk(database_url) as site:
        site.tell(event("requested", "card", operationId="op-1"))
        site.tell(event("requested", "card", issuerId=OTHER_ISSUER, operationId="op-1"))
        site.tell(event("ready", issuerId=OTHER_ISSUER, operationId="op-1", hours=1))
        assert [site.stage("card"), site.stage("card", OTHER_ISSUER)] == ["CARD_PROD_REQUESTED", "CARD_PROD_READY"]


# ── limits


def test_an_order_takes_so_many_events_of_sites_and_carriers_apart_and_delivered_still_gets_in(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refuse, "MAX_SITE_EVENTS", 5)
    monkeypatch.setattr(refuse, "MAX_CARRIER_EVENTS", 6)
    monkeypatch.setattr(refuse, "RESERVED_CARRIER_EVENTS", 2)
    with desk(database_url) as site:
        site.tell(event("requested", "card"))
        again = [event("ready", "card", hours=1 + n / 10) for n in range(6)]
        assert site.tell(*again) == ["accepted"] * 4 + ["ORDER_FULL"] * 2
        scans = [event("scanned", "card", hours=10 + n, status="InTransit") for n in range(6)]
        assert site.tell(*scans) == ["accepted"] * 4 + ["ORDER_FULL"] * 2
        assert site.tell(scans[5]) == ["ORDER_FULL"]  # it left no key behind
        ends = [event("scanned", "card", hours=20 + n, status="Delivered") for n in range(3)]
        assert site.tell(*ends) == ["accepted", "accepted", "ORDER_FULL"]
        assert site.shipment("card") == "Delivered"
    counted = execute(database_url, "SELECT count(*) FROM inbox UNION ALL SELECT count(*) FROM event")
    assert counted == [(11,), (11,)]


def test_the_limits_are_those_of_the_documentation() -> None:
    assert refuse.MAX_SITE_EVENTS + refuse.MAX_CARRIER_EVENTS == 1_000
    assert (refuse.MAX_WAITING, refuse.MAX_RETRACTIONS, refuse.RESERVED_CARRIER_EVENTS) == (100, 100, 50)


@pytest.mark.parametrize(
    "about",
    [
        {"issuerId": ISSUER, "cardId": "card"},
        {"issuerId": ISSUER, "operationId": "op-1"},
        {},
    ],
    ids=["card", "operation", "parcel"],
)
@pytest.mark.parametrize("batch", [1, 7])
def test_only_so_many_events_wait_for_one_order(
    database_url: str, monkeypatch: pytest.MonkeyPatch, about: dict[str, str], batch: int
) -> None:
    """Was a bug: what waited for an operation or in a parcel was not counted."""
    monkeypatch.setattr(refuse, "MAX_WAITING", 4)
    with desk(database_url) as site:
        parcel = {"carrier": "dhl", "trackingNumber": "T1"}
        events = [event("scanned", hours=n, status="InTransit", **parcel, **about) for n in range(7)]
        answers = [answer for start in range(0, 7, batch) for answer in site.tell(*events[start : start + batch])]
        assert answers == ["accepted"] * 4 + ["WAITING_FULL"] * 3
        assert site.tell(*events) == ["duplicate"] * 4 + ["WAITING_FULL"] * 3
        order = [
            event("requested", "card", operationId="op-1"),
            event("shipped", "card", hours=5, **parcel),
        ]
        assert site.tell(*order, events[6]) == ["accepted"] * 3
        assert len(site.picture("card")["cardtrail"]["checkpoints"]) == 5


def test_a_parcel_that_cards_travel_in_takes_so_many_events_and_delivered_still_gets_in(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: a noisy carrier could fill the store by one tracking number."""
    monkeypatch.setattr(refuse, "MAX_CARRIER_EVENTS", 5)
    monkeypatch.setattr(refuse, "RESERVED_CARRIER_EVENTS", 2)
    with desk(database_url) as site:
        parcel = {"carrier": "dhl", "trackingNumber": "T1"}
        site.tell(event("requested", "card"), event("shipped", "card", hours=1, **parcel))
        scans = [event("scanned", hours=2 + n, status="InTransit", **parcel) for n in range(5)]
        assert site.tell(*scans) == ["accepted"] * 3 + ["ORDER_FULL"] * 2
        assert site.tell(event("scanned", hours=9, status="Delivered", **parcel)) == ["accepted"]
        assert site.shipment("card") == "Delivered"
    assert execute(database_url, "SELECT count(*) FROM inbox WHERE carrier = 'dhl'") == [(4,)]


def test_without_room_nothing_begins_to_wait_and_nothing_is_left_behind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: each refused event left a row for its card or parcel, and operations were let in."""
    monkeypatch.setattr("cardtrail.platform.ingest.MAX_WAITING_CARDS", 2)
    with desk(database_url) as site:
        site.tell(event("ready", "early"), told("op-early", "ready"))
        assert site.run(site.ingest.run_once()) == 0
        before = dump(database_url)
        late = [event("ready", "late"), told("op-late", "ready"), event("ready", "early", hours=2)]
        late.append(event("scanned", carrier="dhl", trackingNumber="T1", status="InTransit"))
        assert site.tell(*late) == ["WAITING_FULL"] * 4
        assert dump(database_url) == before
        site.tell(event("requested", "early"), event("requested", "card"))
        assert site.tell(event("ready", "card", hours=1)) == ["accepted"]
        site.run(site.ingest.run_once())
        assert site.tell(late[0]) == ["accepted"]


def test_a_card_takes_only_so_many_retractions(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refuse, "MAX_RETRACTIONS", 2)
    with desk(database_url) as site:
        site.tell(event("requested", "card"))
        taken = [event("retracted", "card", hours=n, retracts=f"e-{n}") for n in range(3)]
        assert site.tell(*taken) == ["accepted", "accepted", "ORDER_FULL"]


def test_a_request_said_again_for_another_time_is_a_conflict(database_url: str) -> None:
    """`startTime` is constant for one operation."""
    with desk(database_url) as site:
        site.tell(event("requested", "card", hours=5, operationId="op-1"))
        before = site.picture("card")
        assert site.tell(event("requested", "card", hours=3, operationId="op-1")) == ["CONFLICT"]
        assert site.tell(event("requested", "card", hours=6, operationId="op-1")) == ["accepted"]
        assert site.picture("card") == before


def test_a_reorder_is_an_order_of_its_own_and_the_newest_answers(database_url: str) -> None:
    with desk(database_url) as site:
        parcel = {"carrier": "dhl", "trackingNumber": "T1"}
        site.tell(event("requested", "card"), event("shipped", "card", hours=9, **parcel))
        site.tell(event("requested", "card", hours=200))
        assert (site.stage("card"), site.shipment("card")) == ("CARD_PROD_REQUESTED", None)
        site.tell(event("scanned", hours=210, status="Delivered", **parcel))
        newest, oldest = site.history("card")
        assert newest["cardtrail"]["sequence"] == 1
        assert oldest["details"]["shipment"]["status"] == "Delivered"


def test_a_sender_may_only_report_what_it_was_registered_for(database_url: str) -> None:
    carrier = Sender("dhl", frozenset({"carrier:dhl"}), ALL, frozenset({ISSUER}))
    with desk(database_url) as site:
        scan = event("scanned", "card", status="InTransit")
        assert site.tell(scan, sender=carrier) == ["accepted"]
        assert site.tell({**scan, "eventId": "e-2", "issuerId": OTHER_ISSUER}, sender=carrier) == ["FORBIDDEN"]
        assert site.tell({**scan, "eventId": "e-3", "source": "carrier:ups"}, sender=carrier) == ["FORBIDDEN"]


# ── callers at the same time


async def together(*takes: Awaitable[list[str]]) -> list[Any]:
    return await asyncio.gather(*takes, return_exceptions=True)


def test_callers_at_the_same_time_each_get_their_own_answers(database_url: str) -> None:
    with desk(database_url) as site:
        same = event("requested", "same")
        batches = [[event("requested", f"card-{n}"), same, event("explode", "x")] for n in range(30)]
        answers = site.run(together(*(site.take(*batch) for batch in batches)))
        assert {(first, last) for first, _, last in answers} == {("accepted", "FIELD_INVALID_VALUE")}
        assert sorted(middle for _, middle, _ in answers) == ["accepted"] + ["duplicate"] * 29


def test_a_batch_that_cannot_be_recorded_fails_only_its_own_sender(database_url: str) -> None:
    def may_reach(sender: str, _: str) -> bool:
        if sender == "broken":
            raise ZeroDivisionError
        return True

    parcel = {"carrier": "dhl", "trackingNumber": "T1"}
    with desk(database_url, may_reach) as site:
        site.tell(event("requested", "card"), event("shipped", "card", hours=1, **parcel))
        broken = Sender("broken", ALL, ALL, ALL)
        answers = site.run(
            together(
                site.take(event("ready", "card", hours=2)),
                site.take(event("scanned", hours=3, status="InTransit", **parcel), sender=broken),
                site.take(event("scanned", hours=4, status="Delivered", **parcel)),
                site.take(event("requested", "other")),
            )
        )
        assert isinstance(answers.pop(1), ZeroDivisionError)
        assert answers == [["accepted"]] * 3
        assert site.shipment("card") == "Delivered"


def test_a_caller_that_hangs_up_takes_nothing_away_from_the_others(database_url: str) -> None:
    async def story(site: Desk) -> list[Any]:
        gone = asyncio.create_task(site.take(event("requested", "gone")))
        others = [asyncio.create_task(site.take(event("requested", f"card-{n}"))) for n in range(5)]
        await asyncio.sleep(0)  # lets the tasks begin
        gone.cancel()
        return await asyncio.gather(gone, *others, return_exceptions=True)

    with desk(database_url) as site:
        ends = site.run(story(site))
        assert isinstance(ends[0], asyncio.CancelledError)
        assert ends[1:] == [["accepted"]] * 5
        site.run(site.ingest.drain())
        assert site.stage("gone") == "CARD_PROD_REQUESTED"


def test_only_so_many_events_wait_to_be_recorded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cardtrail.platform.ingest.MAX_PENDING", 10)
    with desk(database_url) as site:
        batches = [[event("requested", f"card-{n}-{m}") for m in range(4)] for n in range(5)]
        answers = site.run(together(*(site.take(*batch) for batch in batches)))
        assert [type(answer) for answer in answers] == [
            list,
            list,
            StoreUnavailable,
            StoreUnavailable,
            StoreUnavailable,
        ]
        assert site.tell(*batches[4]) == ["accepted"] * 4
