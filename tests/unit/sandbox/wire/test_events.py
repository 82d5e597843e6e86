"""The wire for events: cards that only a parcel names, bounds, and events in odd shapes."""

from pathlib import Path
from typing import Any

import pytest

from cardtrail.sandbox.wire import events as module
from cardtrail.sandbox.wire.events import EventWire, Outgoing
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.kinds import Hop
from cardtrail.sandbox.wire.record import Recorder, exchanges_of
from tests.faults.wire_answers import SHIPPED
from tests.faults.wire_events import request, scan

E = Hop.EVENTS


def test_with_no_fault_the_batch_goes_as_it_is() -> None:
    batch = [SHIPPED, scan(1)]
    outgoing = EventWire(Faults(1)).on_events(batch)
    assert outgoing == Outgoing(batch, [])
    assert outgoing.now is batch


def test_a_carriers_events_count_for_the_cards_whose_parcel_was_named_even_before_the_fault_was_on() -> None:
    faults = Faults(1)
    wire = EventWire(faults)
    wire.on_events([SHIPPED, SHIPPED | {"cardId": "card-5"}])
    faults.set("drop", E, cards=["card-5"])
    other = scan(2, trackingNumber="N2")
    assert wire.on_events([scan(1), other]).now == [other]


def test_of_very_many_parcels_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARCELS", 2)
    faults = Faults(1)
    wire = EventWire(faults)
    wire.on_events([SHIPPED | {"trackingNumber": number} for number in ("N1", "N2", "N3")])
    faults.set("drop", E, cards=["card-1"])
    scans = [scan(1, trackingNumber=number) for number in ("N1", "N2", "N3")]
    assert wire.on_events(scans).now == scans[:1]


def test_an_event_that_was_sent_because_its_time_was_up_does_not_come_again() -> None:
    faults = Faults(1)
    wire = EventWire(faults)
    faults.set("reorder", E, count=1)
    [held] = wire.on_events([request("a")]).later
    assert held.take() == [request("a")]
    assert wire.on_events([request("a")]).now == [request("a")]
    faults.set("reorder", E, count=1)
    assert len(wire.on_events([request("a")]).later) == 1


def test_one_that_is_held_goes_behind_the_next_of_its_card_also_when_no_fault_is_on_any_more() -> None:
    faults = Faults(1)
    wire = EventWire(faults)
    faults.set("reorder", E)
    [held] = wire.on_events([request("a")]).later
    faults.clear()
    assert wire.on_events([request("b"), request("a") | {"eventId": "2"}]).now == [
        request("b"), request("a") | {"eventId": "2"}, request("a")
    ]  # fmt: skip
    assert held.take() == []


def test_no_more_are_held_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 2)
    faults = Faults(1)
    faults.set("reorder", E)
    outgoing = EventWire(faults).on_events([request(card) for card in "abcd"])
    assert (len(outgoing.later), [event["cardId"] for event in outgoing.now]) == (2, ["c", "d"])


@pytest.mark.parametrize(
    "event",
    [{}, {"cardId": 7}, {"occurredAt": 5}, {"occurredAt": "soon"}, {"occurredAt": "2026-01-01"},
     {"occurredAt": "9999-12-31T23:59:59+00:00", "kind": ["scanned"]}, {"carrier": {}, "trackingNumber": None}],
)  # fmt: skip
def test_an_event_in_an_odd_shape_is_sent_as_it_is_and_the_platform_judges_it(event: dict[str, Any]) -> None:
    faults = Faults(1)
    for kind in ("clock-skew", "unknown-status", "unknown-carrier", "reorder"):
        faults.set(kind, E, cards=[])
    assert EventWire(faults).on_events([event]).now == [event]


def test_several_faults_change_an_event_in_their_order_and_the_record_has_it_as_it_was(tmp_path: Path) -> None:
    faults, recorder = Faults(1), Recorder(tmp_path)
    for kind in ("unknown-status", "unknown-carrier", "unknown-member", "delay", "duplicate"):
        faults.set(kind, E)
    [later] = EventWire(faults, recorder).on_events([scan(1)]).later
    recorder.close()
    one, other = later.take()
    assert one == other
    assert "status" not in one
    [noted] = exchanges_of(recorder.path)
    assert noted.faults == ["unknown-status", "unknown-member", "unknown-carrier", "delay", "duplicate"]
    assert '"status":"InTransit"' in noted.request.body
