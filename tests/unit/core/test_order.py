"""The fold of one order: steps, details, clocks, parcels, anomalies, retractions."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from cardtrail.core.event import Event, ProductionEvent
from cardtrail.core.order import Checkpoint, project
from cardtrail.core.status import ProductionStatus, ShipmentStatus
from tests.unit.core.facts import (
    BEGIN,
    DHL,
    UPS,
    codes,
    instant,
    order_of,
    orders_of,
    parcel_scan,
    retraction,
    scan,
    site,
    steps,
)

S = ProductionStatus
START = site("requested", 0, operation_id="op-1")


def shipped(hours: float = 50, **members: Any) -> ProductionEvent:
    return site("shipped", hours, **(DHL | members))


def delivered(*more: Event) -> tuple[Event, ...]:
    return START, shipped(), parcel_scan("InTransit", 60), parcel_scan("Delivered", 70), *more


# ── the main line ────────────────────────────────────────────────────────────────────────────────────────────


def test_no_events_make_no_order() -> None:
    assert project([]).orders == ()


def test_a_request_begins_an_order() -> None:
    order = order_of(START)
    assert (order.stage, order.requested_at, order.ended_at) == (S.REQUESTED, BEGIN, None)
    assert steps(order) == [("CARD_PROD_REQUESTED", "claimed")]


def test_an_order_walks_the_main_line_to_the_carrier() -> None:
    kinds = ["prepared", "ready", "started", "done"]
    order = order_of(START, *(site(kind, 1 + hours) for hours, kind in enumerate(kinds)), shipped())
    assert order.stage is S.SHIPPED
    assert {evidence for _, evidence in steps(order)} == {"claimed"}
    assert [status for status, _ in steps(order)] == [
        "CARD_PROD_REQUESTED", "DATA_PREPARED", "CARD_PROD_READY", "CARD_PROD_ONGOING", "CARD_PROD_DONE",
        "CARD_SHIPPED",
    ]  # fmt: skip


def test_stages_that_nobody_told_of_are_marked_inferred() -> None:
    assert steps(order_of(START, site("started", 5))) == [
        ("CARD_PROD_REQUESTED", "claimed"), ("DATA_PREPARED", "inferred"), ("CARD_PROD_READY", "inferred"),
        ("CARD_PROD_ONGOING", "claimed"),
    ]  # fmt: skip


def test_rework_leads_from_the_exception_back_to_production() -> None:
    order = order_of(START, site("started", 1), site("failed", 2, reason="torn"), site("started", 3))
    assert (order.stage, order.reason) == (S.ONGOING, None)
    assert codes(order) == []


def test_a_card_done_after_an_exception_was_worked_on_again() -> None:
    order = order_of(START, site("started", 1), site("failed", 2), site("done", 3))
    assert steps(order)[-3:] == [
        ("CARD_PROD_EXCEPTION", "claimed"), ("CARD_PROD_ONGOING", "inferred"), ("CARD_PROD_DONE", "claimed"),
    ]  # fmt: skip


def test_a_step_back_moves_nothing_and_is_kept_as_an_anomaly() -> None:
    late = site("prepared", 3)
    order = order_of(START, site("done", 2), late)
    assert order.stage is S.DONE
    (anomaly,) = order.anomalies
    assert (anomaly.code, anomaly.event_id, anomaly.at) == ("OUT_OF_TURN", late.event_id, instant(3))
    assert "CARD_PROD_DONE" in anomaly.text


def test_an_anomaly_adds_no_details() -> None:
    order = order_of(START, site("done", 2, production_site="north"), site("ready", 3, production_site="south"))
    assert order.production_site == "north"


def test_the_same_stage_said_again_brings_newer_details() -> None:
    first = site("ready", 1, due_date="2026-01-10", production_site="north")
    order = order_of(START, first, site("ready", 2, due_date="2026-01-12"))
    assert (order.due_date, order.production_site) == ("2026-01-12", "north")
    assert len(order.timeline) == 3
    assert codes(order) == []


def test_a_late_event_takes_the_place_where_it_happened() -> None:
    order = order_of(START, site("done", 9), site("started", 5, heard=100))
    assert [step.at for step in order.timeline] == [instant(hours) for hours in (0, 5, 5, 5, 9)]
    assert codes(order) == []


# ── holds ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hold_keeps_the_stage_until_it_is_released() -> None:
    held = (START, site("ready", 1), site("held", 2, reason="chip stock"))
    assert (order_of(*held).stage, order_of(*held).hold) == (S.READY, "chip stock")
    assert order_of(*held, site("released", 3)).hold is None


def test_a_hold_said_again_keeps_its_reason_unless_there_is_a_new_one() -> None:
    held = (START, site("held", 2, reason="chip stock"))
    assert order_of(*held, site("held", 3)).hold == "chip stock"
    assert order_of(*held, site("held", 3, reason="audit")).hold == "audit"


def test_a_release_without_a_hold_is_an_anomaly() -> None:
    assert codes(order_of(START, site("released", 1))) == ["OUT_OF_TURN"]


@pytest.mark.parametrize("end", ["shipped", "canceled", "data_failed"])
def test_an_end_of_production_ends_the_hold_and_none_begins_after_it(end: str) -> None:
    order = order_of(START, site("held", 1, reason="x"), site(end, 2), site("held", 3), site("released", 4))
    assert order.hold is None
    assert codes(order) == ["OUT_OF_TURN", "OUT_OF_TURN"]


def test_a_final_failure_ends_the_hold_so_that_its_own_reason_is_seen() -> None:
    order = order_of(START, site("held", 1, reason="audit"), site("failed", 2, final=True, reason="chip dead"))
    assert (order.hold, order.reason) == (None, "chip dead")


def test_an_exception_that_allows_rework_leaves_the_hold() -> None:
    assert order_of(START, site("held", 1, reason="audit"), site("failed", 2)).hold == "audit"


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", ["requested", "prepared", "ready", "started", "failed", "done"])
def test_an_order_can_be_cancelled_until_it_is_shipped(stage: str) -> None:
    events = [START] if stage == "requested" else [START, site(stage, 1)]
    order = order_of(*events, site("canceled", 2))
    assert (order.stage, order.ended_at, codes(order)) == (S.CANCELED, instant(2), [])


def test_a_shipped_order_cannot_be_cancelled() -> None:
    order = order_of(START, shipped(), site("canceled", 51))
    assert (order.stage, codes(order)) == (S.SHIPPED, ["OUT_OF_TURN"])


@pytest.mark.parametrize("end", ["canceled", "data_failed"])
@pytest.mark.parametrize("then", ["prepared", "started", "done", "shipped", "held"])
def test_after_a_failed_end_nothing_moves(end: str, then: str) -> None:
    order = order_of(START, site(end, 1), site(then, 2), scan("InTransit", 3), scan(None, 4, kind="returned"))
    assert order.stage.name == {"canceled": "CANCELED", "data_failed": "DATA_EXCEPTION"}[end]
    assert codes(order) == ["OUT_OF_TURN"] * 3
    assert order.ended_at == instant(1)


def test_a_final_failure_allows_no_rework() -> None:
    order = order_of(START, site("started", 1), site("failed", 2, final=True), site("started", 3))
    assert (order.stage, order.final, order.ended_at) == (S.EXCEPTION, True, instant(2))
    assert codes(order) == ["OUT_OF_TURN"]


def test_a_failure_may_be_called_final_later() -> None:
    order = order_of(START, site("failed", 2), site("failed", 5, final=True, reason="given up"))
    assert (order.final, order.ended_at, order.reason) == (True, instant(5), "given up")


def test_a_final_failure_stays_final_when_it_is_said_again_without_the_word() -> None:
    assert order_of(START, site("failed", 2, final=True), site("failed", 3)).final


def test_a_late_fact_corrects_when_the_order_ended() -> None:
    assert order_of(START, scan("InTransit", 60)).ended_at == instant(60)
    assert order_of(START, scan("InTransit", 60), shipped(50, heard=100)).ended_at == instant(50)


def test_an_instant_card_ends_when_it_is_done_wherever_the_channel_was_named() -> None:
    by_request = order_of(site("requested", 0, distribution_channel="INSTANT"), site("done", 1))
    by_the_end = order_of(START, site("done", 1, distribution_channel="INSTANT"))
    afterwards = order_of(START, site("done", 1), site("done", 2, distribution_channel="INSTANT"))
    assert [order.ended_at for order in (by_request, by_the_end, afterwards)] == [instant(1), instant(1), instant(2)]


def test_an_instant_card_cancelled_after_its_end_ended_with_the_cancellation() -> None:
    request = site("requested", 0, distribution_channel="INSTANT")
    order = order_of(request, site("done", 1), site("canceled", 2))
    assert (order.stage, order.ended_at) == (S.CANCELED, instant(2))


def test_the_channel_is_what_was_named_first() -> None:
    request = site("requested", 0, distribution_channel="CENTRAL")
    order = order_of(request, site("done", 1, distribution_channel="INSTANT"))
    assert (order.distribution_channel, order.ended_at) == ("CENTRAL", None)


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_far_in_the_future_is_clamped_and_shown() -> None:
    order = order_of(START, site("ready", 24 * 365, heard=2), site("started", 3))
    assert [step.at for step in order.timeline][-2:] == [instant(2), instant(3)]
    assert codes(order) == ["CLOCK_AHEAD"]
    assert order.anomalies[0].at == instant(24 * 365)


def test_a_clock_a_little_ahead_is_clamped_in_silence() -> None:
    order = order_of(START, site("ready", 2 + 10 / 60, heard=2))
    assert (order.timeline[-1].at, codes(order)) == (instant(2), [])
    assert codes(order_of(START, site("ready", 2 + 11 / 60, heard=2))) == ["CLOCK_AHEAD"]


def test_a_request_from_a_clock_far_in_the_future_begins_when_we_heard_of_it() -> None:
    order = order_of(site("requested", 10_000, heard=1), site("prepared", 2))
    assert (order.requested_at, order.stage) == (instant(1), S.DATA_PREPARED)


def test_a_timeline_begins_with_the_request_though_a_slow_clock_put_a_step_before_it() -> None:
    order = order_of(START, site("prepared", -5 / 60))
    assert steps(order) == [("CARD_PROD_REQUESTED", "claimed"), ("DATA_PREPARED", "claimed")]
    assert [step.at for step in order.timeline] == [BEGIN, BEGIN]
    assert codes(order) == []


def test_an_order_never_ends_before_it_was_requested() -> None:
    order = order_of(START, site("data_failed", -5 / 60))
    assert order.ended_at == order.requested_at == BEGIN


def test_events_of_one_instant_are_taken_in_the_order_of_their_stages() -> None:
    kinds = ["shipped", "done", "started", "ready", "prepared"]
    order = order_of(START, *(site(kind, 1, event_id=f"{place}") for place, kind in enumerate(kinds)))
    assert codes(order) == []
    assert [step.evidence.value for step in order.timeline] == ["claimed"] * 6


# ── the parcel ───────────────────────────────────────────────────────────────────────────────────────────────


def test_scans_tell_where_the_parcel_is() -> None:
    first = parcel_scan("InTransit", 60, code="PU", message="Picked up", location="Leipzig")
    last = parcel_scan("OutForDelivery", 70, estimated_delivery="2026-01-09", message="On the van")
    shipment = order_of(START, shipped(), first, last).shipment
    assert shipment is not None
    assert (shipment.carrier, shipment.tracking_number) == ("dhl", "P1")
    assert (shipment.status, shipment.message) == (ShipmentStatus.OUT_FOR_DELIVERY, "On the van")
    assert shipment.estimated_delivery == "2026-01-09"
    assert shipment.checkpoints[0] == Checkpoint(instant(60), ShipmentStatus.IN_TRANSIT, "PU", "Picked up", "Leipzig")


def test_an_unknown_carrier_word_stays_unknown_and_moves_nothing() -> None:
    order = order_of(START, shipped(), parcel_scan("InTransit", 60), parcel_scan("Teleported", 61, code="ZZ"))
    assert order.shipment is not None
    assert order.shipment.status is ShipmentStatus.IN_TRANSIT
    assert order.shipment.checkpoints[-1].status is None
    assert order.shipment.checkpoints[-1].code == "ZZ"
    assert codes(order) == []


def test_an_unknown_word_without_a_code_is_itself_kept_raw() -> None:
    order = order_of(START, shipped(), parcel_scan("Teleported", 61))
    assert order.shipment is not None
    assert (order.shipment.status, order.shipment.checkpoints[0].code) == (None, "Teleported")


def test_an_unknown_word_does_not_prove_that_a_card_was_shipped() -> None:
    assert order_of(START, scan("Teleported", 61)).stage is S.REQUESTED
    assert order_of(START, scan(None, 61)).stage is S.REQUESTED


@pytest.mark.parametrize("word", ["Pending", "InfoReceived", "Exception", "Expired"])
def test_a_parcel_that_is_only_announced_does_not_prove_shipping(word: str) -> None:
    assert order_of(START, site("done", 1), scan(word, 2)).stage is S.DONE


def test_a_scan_proves_shipping_before_the_site_says_so() -> None:
    order = order_of(START, site("done", 1), scan("InTransit", 2, **DHL))
    assert (order.stage, order.ended_at) == (S.SHIPPED, instant(2))
    assert steps(order)[-2:] == [("CARD_SHIPPED", "inferred"), ("InTransit", "scanned")]


def test_a_site_that_says_shipped_after_the_scan_turns_the_inference_into_a_claim() -> None:
    claim = shipped(3)
    order = order_of(START, site("done", 1), scan("InTransit", 2, **DHL), claim)
    (step,) = [step for step in order.timeline if step.status == S.SHIPPED]
    assert (step.evidence, step.at, step.event_id) == ("claimed", instant(2), claim.event_id)
    assert codes(order) == []


def test_attempts_to_deliver_are_a_story_and_no_error() -> None:
    words = ["OutForDelivery", "AttemptFail", "OutForDelivery", "AttemptFail", "AvailableForPickup", "Delivered"]
    order = order_of(START, shipped(), *(parcel_scan(word, 60 + hours) for hours, word in enumerate(words)))
    assert [status for status, evidence in steps(order) if evidence == "scanned"] == words
    assert codes(order) == []


def test_out_for_delivery_after_delivered_is_an_anomaly_and_changes_nothing() -> None:
    late = parcel_scan("OutForDelivery", 80, estimated_delivery="2026-02-01", tracking_url="https://x.test/")
    order, before = order_of(*delivered(late)), order_of(*delivered())
    assert order.shipment == before.shipment
    assert codes(order) == ["OUT_OF_TURN"]
    assert order.anomalies[0].event_id == late.event_id


def test_a_delivery_heard_of_before_the_van_left_is_no_anomaly() -> None:
    late = parcel_scan("OutForDelivery", 69, heard=100)
    order = order_of(*delivered(late))
    assert order.shipment is not None
    assert order.shipment.status is ShipmentStatus.DELIVERED
    assert codes(order) == []


def test_an_unknown_word_after_delivered_contradicts_nothing() -> None:
    order = order_of(*delivered(parcel_scan("ProofScanned", 71, code="POD")))
    assert order.shipment is not None
    assert order.shipment.status is ShipmentStatus.DELIVERED
    assert order.shipment.checkpoints[-1].code == "POD"
    assert codes(order) == []


def test_delivered_said_again_keeps_the_first_telling() -> None:
    order = order_of(*delivered(parcel_scan("Delivered", 71, message="again")))
    assert codes(order) == []
    assert [status for status, _ in steps(order)].count("Delivered") == 1


@pytest.mark.parametrize("kind", ["shipped", "canceled", "failed", "held", "released", "done"])
def test_what_a_site_says_after_the_delivery_moves_nothing(kind: str) -> None:
    order = order_of(*delivered(site(kind, 80, **UPS, due_date="2030-01-01")))
    assert order.stage is S.SHIPPED
    assert order.shipment == order_of(*delivered()).shipment
    assert (order.due_date, codes(order)) == (None, ["OUT_OF_TURN"])


def test_a_delivered_card_does_not_come_back() -> None:
    order = order_of(*delivered(parcel_scan(None, 90, kind="returned")))
    assert (order.stage, codes(order)) == (S.SHIPPED, ["OUT_OF_TURN"])


def test_a_returned_card_shows_an_exception_of_the_parcel() -> None:
    order = order_of(START, shipped(), parcel_scan("AttemptFail", 60), parcel_scan(None, 70, kind="returned"))
    assert order.shipment is not None
    assert (order.stage, order.shipment.status) == (S.RETURNED, ShipmentStatus.EXCEPTION)
    assert order.ended_at == instant(50)
    assert steps(order)[-1] == ("CARD_RETURNED", "scanned")


def test_a_return_said_again_is_no_anomaly() -> None:
    returns = [parcel_scan(None, hours, kind="returned") for hours in (70, 71)]
    order = order_of(START, shipped(), *returns)
    assert (order.stage, codes(order)) == (S.RETURNED, [])
    assert [status for status, _ in steps(order)].count("CARD_RETURNED") == 1


def test_after_the_return_nothing_moves() -> None:
    end = (START, shipped(), parcel_scan(None, 70, kind="returned"))
    order = order_of(*end, parcel_scan("Delivered", 80), shipped(81), site("canceled", 82))
    assert (order.stage, order.shipment) == (S.RETURNED, order_of(*end).shipment)
    assert codes(order) == ["OUT_OF_TURN"] * 3


def test_a_return_nobody_saw_leave_was_shipped_before() -> None:
    order = order_of(START, site("done", 1), scan(None, 70, kind="returned"))
    assert steps(order)[-2:] == [("CARD_SHIPPED", "inferred"), ("CARD_RETURNED", "scanned")]
    assert (order.stage, order.ended_at) == (S.RETURNED, instant(70))


def test_a_card_shipped_again_travels_in_the_new_parcel() -> None:
    again = site("shipped", 55, **UPS, tracking_url="https://ups.test/P2")
    order = order_of(START, shipped(), parcel_scan("InTransit", 52), again, parcel_scan("InfoReceived", 56, UPS))
    assert order.shipment is not None
    assert (order.shipment.carrier, order.shipment.tracking_number) == ("ups", "P2")
    assert order.shipment.tracking_url == "https://ups.test/P2"
    assert order.shipment.status is ShipmentStatus.INFO_RECEIVED
    assert len(order.shipment.checkpoints) == 1
    assert (order.ended_at, codes(order)) == (instant(50), [])


def test_two_carriers_do_not_mix_what_they_saw() -> None:
    seen = parcel_scan("Delivered", 60), parcel_scan("InTransit", 61, UPS)
    order = order_of(START, shipped(), site("shipped", 51, **UPS), *seen)
    assert order.shipment is not None
    assert (order.shipment.carrier, order.shipment.status) == ("ups", ShipmentStatus.IN_TRANSIT)
    assert codes(order) == []


def test_shipping_data_that_come_later_without_the_number_keep_the_parcel() -> None:
    later = site("shipped", 51, carrier="dhl", tracking_url="https://dhl.test/P1")
    order = order_of(START, shipped(), later, parcel_scan("InTransit", 60))
    assert order.shipment is not None
    assert (order.shipment.tracking_number, order.shipment.tracking_url) == ("P1", "https://dhl.test/P1")
    assert order.shipment.status is ShipmentStatus.IN_TRANSIT


def test_another_carrier_without_a_number_is_another_parcel() -> None:
    order = order_of(START, shipped(), site("shipped", 51, carrier="ups"))
    assert order.shipment is not None
    assert (order.shipment.carrier, order.shipment.tracking_number) == ("ups", None)


def test_a_scan_of_a_card_without_a_parcel_is_about_the_parcel_it_travels_in() -> None:
    order = order_of(START, shipped(), scan("InTransit", 60))
    assert order.shipment is not None
    assert (order.shipment.tracking_number, order.shipment.status) == ("P1", ShipmentStatus.IN_TRANSIT)


# ── retractions ──────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_taken_back_never_happened() -> None:
    wrong = site("data_failed", 1)
    order = order_of(START, wrong, site("prepared", 2), retraction(wrong))
    assert (order.stage, order.ended_at, codes(order)) == (S.DATA_PREPARED, None, [])
    assert project([START, wrong, retraction(wrong)]).home.get(wrong.key) is None


def test_a_retraction_may_come_before_what_it_takes_back() -> None:
    wrong = site("shipped", 5)
    assert order_of(START, retraction(wrong, 1), wrong).stage is S.REQUESTED


def test_what_happened_again_after_a_retraction_counts() -> None:
    wrong = site("shipped", 5)
    assert order_of(START, wrong, retraction(wrong), site("shipped", 9)).ended_at == instant(9)


@pytest.mark.parametrize("source", ["site:b", "carrier:a", "api:a"])
def test_nobody_takes_back_what_another_source_said(source: str) -> None:
    wrong = site("shipped", 5)
    for named in (None, wrong.source):
        assert order_of(START, wrong, retraction(wrong, source=source, retracted_source=named)).stage is S.SHIPPED


def test_an_operator_takes_back_what_any_source_said() -> None:
    wrong = site("shipped", 5)
    event = retraction(wrong, source="operator:ann", retracted_source=wrong.source)
    assert order_of(START, wrong, event).stage is S.REQUESTED


def test_a_request_cannot_be_taken_back_and_whoever_tries_is_shown() -> None:
    event = retraction(START)
    order = order_of(START, event)
    assert order.stage is S.REQUESTED
    assert [(anomaly.code, anomaly.event_id) for anomaly in order.anomalies] == [("NOT_RETRACTABLE", event.event_id)]


def test_a_retraction_is_not_undone_by_another() -> None:
    wrong = site("shipped", 5)
    first = retraction(wrong)
    assert order_of(START, wrong, first, retraction(first)).stage is S.REQUESTED


def test_a_parcel_taken_back_takes_its_scans_along_to_wait() -> None:
    wrong, seen = shipped(), parcel_scan("InTransit", 60)
    projection = project([START, wrong, seen, retraction(wrong)])
    assert projection.waiting == (seen,)
    assert projection.orders[0].stage is S.REQUESTED


# ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────


def test_events_without_an_order_wait_in_the_order_they_happened() -> None:
    early, late, gone = site("ready", 1), site("done", 2), site("failed", 3)
    back = retraction(gone)
    assert project([late, back, gone, early]).waiting == project([early, gone, back, late]).waiting == (early, late)


def test_sites_and_carriers_are_counted_apart() -> None:
    order = order_of(*delivered(site("ready", 90)))
    assert (order.site_events, order.carrier_events) == (3, 2)


def test_a_second_request_of_the_same_operation_begins_no_other_order() -> None:
    again = site("requested", 1, operation_id="op-1", source="site:b")
    assert len(orders_of(START, again)) == 1
    assert codes(order_of(START, again)) == []


def _work(function: Callable[[], object]) -> int:
    """Return how many bytecodes a call takes: a measure that no other load on the machine changes."""
    count = 0

    def step(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def _noisy(size: int) -> list[Event]:
    """A site that says "shipped" again and again, and a carrier that never stops."""
    claims = [shipped(1 + place) for place in range(size // 2)]
    words = ["InTransit", "OutForDelivery", "AttemptFail"]
    return [START, *claims, *(parcel_scan(words[place % 3], 1.5 + place) for place in range(size // 2))]


def _reordered(size: int, *, named: bool) -> list[Event]:
    """A card that is ordered again every day."""
    events: list[Event] = []
    for day in range(size // 5):
        name: dict[str, Any] = {"operation_id": f"op-{day:03}"}
        about: dict[str, Any] = name if named else {}
        events.append(site("requested", 24 * day, **name))
        events += [site(kind, 24 * day + 2 + hours, **about) for hours, kind in enumerate(["ready", "started", "done"])]
        events.append(site("shipped", 24 * day + 9, carrier="dhl", tracking_number=f"P{day}", **about))
    return events


MANY: dict[str, Callable[[int], list[Event]]] = {
    "a noisy parcel": _noisy,
    "orders by name": lambda size: _reordered(size, named=True),
    "orders by time": lambda size: _reordered(size, named=False),
}


@pytest.mark.parametrize("story", list(MANY))
def test_the_work_of_a_fold_grows_with_the_number_of_events_and_not_with_its_square(story: str) -> None:
    few, many = MANY[story](250), MANY[story](1000)
    project(many)  # whatever is computed once is computed now
    assert _work(lambda: project(many)) < 5.5 * _work(lambda: project(few))
