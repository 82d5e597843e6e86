"""Which order of a card takes an event: names, parcels, time, and clocks that disagree."""

from typing import Any

import pytest

from cardtrail.core.event import Event, ProductionEvent
from cardtrail.core.order import operation_id_of, project
from cardtrail.core.status import ProductionStatus, ShipmentStatus
from tests.unit.core.facts import CARD, DHL, ISSUER, UPS, codes, homes, orders_of, parcel_scan, retraction, scan, site

S = ProductionStatus
SECOND = 1 / 3600
DAY = 24.0


def request(hours: float, operation_id: str, **members: Any) -> ProductionEvent:
    return site("requested", hours, operation_id=operation_id, **members)


FIRST = request(0, "op-1")
SECOND_ORDER = request(10 * DAY, "op-2")
OLD = (FIRST, site("started", 1 * DAY), site("done", 2 * DAY), site("shipped", 3 * DAY, **DHL))
"""A first order that is on its way."""
BOTH = (*OLD, SECOND_ORDER)


def taken_by(event: Event, *others: Event) -> str | None:
    return project([*others, event]).home.get(event.key)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_orders_come_newest_first() -> None:
    assert [order.operation_id for order in orders_of(*BOTH)] == ["op-2", "op-1"]


def test_orders_of_one_instant_come_in_the_order_in_which_the_store_keeps_them() -> None:
    twins = request(0, "op-a", event_id="e2"), request(0, "op-b", event_id="e1")
    assert [order.operation_id for order in orders_of(*twins)] == ["op-b", "op-a"]
    assert taken_by(site("prepared", 1), *twins) == "op-b"


def test_a_request_without_an_operation_is_named_after_its_own_key() -> None:
    event = site("requested", 0, event_id="e1")
    (order,) = orders_of(event)
    assert order.operation_id == operation_id_of(event) == operation_id_of(site("requested", 5, event_id="e1"))
    assert order.operation_id.startswith("op-")
    assert operation_id_of(site("requested", 0, event_id="e2")) != order.operation_id
    assert operation_id_of(site("requested", 0, event_id="e1", issuer_id="ISSUER0002")) != order.operation_id


def test_an_event_that_names_an_operation_belongs_to_it_whenever_it_happened() -> None:
    assert taken_by(site("done", 20 * DAY, operation_id="op-1"), *BOTH) == "op-1"
    assert taken_by(site("done", 1 * DAY, operation_id="op-2"), *BOTH) == "op-2"


def test_an_event_of_an_unknown_operation_waits() -> None:
    event = site("done", 1, operation_id="op-9")
    projection = project([*BOTH, event])
    assert (projection.waiting, projection.home.get(event.key)) == ((event,), None)


def test_an_event_from_before_every_order_waits() -> None:
    event = site("done", -1)
    assert project([*BOTH, event]).waiting == (event,)
    assert project([FIRST, event]).waiting == (event,)


def test_an_order_knows_its_card() -> None:
    (order,) = orders_of(FIRST)
    assert (order.issuer_id, order.card_id) == (ISSUER, CARD)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_belongs_to_the_newest_order_before_it() -> None:
    assert taken_by(site("ready", 11 * DAY), *BOTH) == "op-2"
    assert taken_by(site("ready", 9 * DAY), *BOTH) == "op-1"


@pytest.mark.parametrize("kind", ["prepared", "ready", "started", "data_failed", "held", "canceled"])
def test_a_site_whose_clock_is_half_a_minute_behind_does_not_feed_the_previous_order(kind: str) -> None:
    event = site(kind, 10 * DAY - 30 * SECOND)
    assert taken_by(event, *BOTH) == "op-2"
    assert codes(orders_of(*BOTH, event)[0]) == []


def test_a_site_whose_clock_is_half_a_minute_ahead_does_not_feed_the_next_order() -> None:
    made = (FIRST, site("started", 1 * DAY), site("done", 2 * DAY), SECOND_ORDER)
    assert taken_by(site("shipped", 10 * DAY + 30 * SECOND, **DHL), *made) == "op-1"


def test_an_order_begun_by_a_request_a_minute_late_takes_its_first_step() -> None:
    event = site("prepared", -60 * SECOND)
    assert taken_by(event, FIRST) == "op-1"
    assert taken_by(event, *BOTH) == "op-1"


def test_clocks_are_trusted_to_ten_minutes_and_no_further() -> None:
    assert taken_by(site("prepared", 10 * DAY - 600 * SECOND), *BOTH) == "op-2"
    assert taken_by(site("prepared", 10 * DAY - 601 * SECOND), *BOTH) == "op-1"


def test_a_sealed_order_takes_no_step_of_a_neighbour() -> None:
    late = site("shipped", 10 * DAY + 30 * SECOND)
    events = [FIRST, site("done", 2 * DAY), SECOND_ORDER, late]
    assert project(events).home[late.key] == "op-1"
    assert project(events, frozenset({"op-1"})).home[late.key] == "op-2"


def test_an_order_cancelled_and_made_again_at_once_gets_its_own_events() -> None:
    events = FIRST, site("canceled", 1), request(1 + 60 * SECOND, "op-2"), site("prepared", 1 + 30 * SECOND)
    newest, oldest = orders_of(*events)
    assert (newest.stage, oldest.stage) == (S.DATA_PREPARED, S.CANCELED)
    assert codes(newest) == codes(oldest) == []


# ── parcels ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_parcels_event_belongs_to_the_order_whose_site_named_it() -> None:
    assert taken_by(parcel_scan("InTransit", 4 * DAY), *BOTH) == "op-1"


def test_a_parcels_event_before_its_site_named_it_belongs_there_too() -> None:
    assert taken_by(parcel_scan("InfoReceived", 2.5 * DAY), *BOTH) == "op-1"


def test_a_parcel_that_no_site_named_waits() -> None:
    event = parcel_scan("InTransit", 4 * DAY, UPS)
    assert project([*BOTH, event]).waiting == (event,)


@pytest.mark.parametrize("named", [{}, {"issuer_id": ISSUER, "card_id": CARD}], ids=["by parcel", "by card as well"])
def test_a_re_order_does_not_inherit_the_old_parcel(named: dict[str, Any]) -> None:
    event = parcel_scan("Delivered", 11 * DAY, **named)
    newest, oldest = orders_of(*BOTH, event)
    assert (newest.stage, newest.shipment) == (S.REQUESTED, None)
    assert oldest.shipment is not None
    assert oldest.shipment.status is ShipmentStatus.DELIVERED


def test_a_scan_of_a_card_in_a_parcel_nobody_named_belongs_to_the_order_of_its_time() -> None:
    assert taken_by(scan("InTransit", 11 * DAY, **UPS), *BOTH) == "op-2"
    assert taken_by(scan("InTransit", 9 * DAY, **UPS), *BOTH) == "op-1"


def test_a_carrier_does_not_name_a_parcel_for_the_others() -> None:
    named, bare = scan("InTransit", 11 * DAY, **UPS), parcel_scan("Delivered", 12 * DAY, UPS)
    assert homes(project([*BOTH, named, bare]), [named, bare]) == ["op-2", None]


def test_a_number_that_both_orders_used_belongs_to_the_one_that_named_it_last() -> None:
    again = site("shipped", 13 * DAY, **DHL)
    assert taken_by(parcel_scan("InTransit", 14 * DAY), *BOTH, again) == "op-2"
    assert taken_by(parcel_scan("InTransit", 5 * DAY), *BOTH, again) == "op-1"


def test_a_tracking_number_used_again_long_after_is_another_parcel() -> None:
    inside, outside = parcel_scan("InTransit", 183 * DAY), parcel_scan("InTransit", 183 * DAY + 1)
    assert homes(project([*OLD, inside, outside]), [inside, outside]) == ["op-1", None]


def test_a_tracking_number_used_long_before_is_another_parcel() -> None:
    made = FIRST, site("shipped", 100 * DAY, **DHL)
    inside, outside = parcel_scan("InfoReceived", 40 * DAY), parcel_scan("InfoReceived", 40 * DAY - 1)
    assert homes(project([*made, inside, outside]), [inside, outside]) == ["op-1", None]


def test_what_happened_to_a_number_before_the_order_was_requested_is_not_about_its_parcel() -> None:
    before = parcel_scan("Delivered", -20 * DAY)
    projection = project([*OLD, before])
    assert projection.waiting == (before,)
    assert projection.orders[0].shipment is not None
    assert projection.orders[0].shipment.status is None


def test_a_carriers_clock_a_minute_behind_the_request_is_forgiven() -> None:
    named = FIRST, site("done", 1, **DHL)
    assert taken_by(parcel_scan("InfoReceived", -60 * SECOND), *named) == "op-1"


def test_a_parcel_named_by_an_event_taken_back_is_named_by_nobody() -> None:
    wrong = site("shipped", 3 * DAY, **UPS)
    event = parcel_scan("InTransit", 4 * DAY, UPS)
    assert taken_by(event, FIRST, wrong) == "op-1"
    assert taken_by(event, FIRST, wrong, retraction(wrong)) is None


def test_two_parcels_of_one_order_both_belong_to_it() -> None:
    events = [parcel_scan("InTransit", 4 * DAY), parcel_scan("InTransit", 5 * DAY, UPS)]
    assert homes(project([*OLD, site("shipped", 3.5 * DAY, **UPS), *events]), events) == ["op-1", "op-1"]


def test_what_happens_later_takes_no_scan_from_the_order_that_it_delivered() -> None:
    """A scan of a parcel that no site named found its order after all site events, and so by their later state."""
    twins = request(0, "op-1"), request(1, "op-2")
    delivered = scan("Delivered", 1, carrier="ups", tracking_number="P9")
    assert taken_by(delivered, *twins) == "op-2"
    late = site("data_failed", 400 * DAY, operation_id="op-2")
    assert taken_by(delivered, *twins, late) == "op-2"
    (newest, _) = orders_of(*twins, delivered, late)
    assert newest.stage is S.SHIPPED
    assert codes(newest) == ["OUT_OF_TURN"]
