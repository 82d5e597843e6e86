"""The laws of the fold, for whatever sites, carriers and clocks make of a card."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.event import CarrierEvent, Event, ProductionEvent, ProductionKind, Retraction
from cardtrail.core.operation import Operation, operation_of
from cardtrail.core.order import SECOND, Order, instant_of, operation_id_of, project
from cardtrail.core.status import RANK, OperationStatus, ProductionStatus, ShipmentStatus
from tests.property.stories import ABOUT, DAY, changed, scans, site_events, stories, stories_of_one_order

S = ProductionStatus
STAGES = {stage.value for stage in S}
ENDS = {S.DATA_EXCEPTION, S.CANCELED, S.RETURNED}


def retracted(events: list[Event]) -> set[tuple[str, str]]:
    """Return the keys that are rightly taken back: not by strangers, and no request."""
    begin = {event.key for event in events if isinstance(event, ProductionEvent) and event.kind == "requested"}
    rightly = {
        event.target for event in events
        if isinstance(event, Retraction) and (event.target[0] == event.source or event.source.startswith("operator:"))
    }  # fmt: skip
    return rightly - begin


def facts(events: list[Event]) -> dict[tuple[str, str], Event]:
    return {event.key: event for event in events if not isinstance(event, Retraction)}


def is_absorbed(order: Order) -> bool:
    delivered = order.shipment is not None and order.shipment.status is ShipmentStatus.DELIVERED
    return order.stage in ENDS or order.final or delivered


def shown(order: Order) -> Operation:
    return operation_of(order)


@given(stories, st.randoms(use_true_random=False))
def test_an_order_depends_neither_on_arrival_nor_on_repetition(events: list[Event], chance: Random) -> None:
    again = [*events, *chance.choices(events, k=len(events))]
    chance.shuffle(again)
    assert project(again) == project(events)


@given(stories)
def test_no_event_is_ever_lost(events: list[Event]) -> None:
    projection = project(events)
    at_home, waiting, out = set(projection.home), [event.key for event in projection.waiting], retracted(events)
    assert at_home | set(waiting) | (out & set(facts(events))) == set(facts(events))
    assert len(at_home) + len(waiting) + len(out & set(facts(events))) == len(facts(events))
    assert set(projection.home.values()) == {order.operation_id for order in projection.orders}
    assert sum(order.site_events + order.carrier_events for order in projection.orders) == len(at_home)


@given(stories)
def test_without_a_request_every_event_waits(events: list[Event]) -> None:
    others = [event for event in events if not (isinstance(event, ProductionEvent) and event.kind == "requested")]
    projection = project(others)
    assert (projection.orders, projection.home) == ((), {})
    assert {event.key for event in projection.waiting} == set(facts(others)) - retracted(others)
    assert project(reversed(others)) == projection


@given(stories)
def test_an_event_that_names_an_operation_belongs_to_it_or_waits(events: list[Event]) -> None:
    projection = project(events)
    known = {order.operation_id for order in projection.orders}
    for event in facts(events).values():
        if event.operation_id is not None and event.key not in retracted(events):
            assert projection.home.get(event.key) == (event.operation_id if event.operation_id in known else None)


@given(stories)
def test_every_request_has_its_order_and_orders_come_newest_first(events: list[Event]) -> None:
    orders = project(events).orders
    begun = {
        operation_id_of(event) for event in events
        if isinstance(event, ProductionEvent) and event.kind is ProductionKind.REQUESTED
    }  # fmt: skip
    assert {order.operation_id for order in orders} == begun
    ages = [(order.requested_at, order.operation_id) for order in orders]
    assert ages == sorted(ages, reverse=True)


@given(stories)
def test_an_order_is_made_of_its_own_events_alone(events: list[Event]) -> None:
    projection = project(events)
    for order in projection.orders:
        own = [
            event for event in events
            if isinstance(event, Retraction) or projection.home.get(event.key) == order.operation_id
        ]  # fmt: skip
        assert project(own).orders == (order,)


@given(stories)
def test_a_timeline_begins_with_the_request_and_never_runs_backwards(events: list[Event]) -> None:
    for order in project(events).orders:
        assert (order.timeline[0].status, order.timeline[0].at) == (S.REQUESTED, order.requested_at)
        assert all(early.at <= late.at for early, late in pairwise(order.timeline))
        told = max(instant_of(event) for event in events)
        assert order.timeline[-1].at <= max(told, order.requested_at)


@given(stories)
def test_the_rank_of_the_stage_never_goes_back_but_for_rework(events: list[Event]) -> None:
    for order in project(events).orders:
        stages = [ProductionStatus(step.status) for step in order.timeline if step.status in STAGES]
        assert stages[-1] is order.stage
        for now, then in pairwise(stages):
            assert RANK[then] > RANK[now] or (now, then) == (S.EXCEPTION, S.ONGOING)


@given(stories)
def test_an_operation_has_an_end_exactly_when_it_has_ended(events: list[Event]) -> None:
    for order in project(events).orders:
        drawn = shown(order)
        assert (drawn.end_time is None) == (drawn.status is OperationStatus.PENDING)
        assert (order.ended_at is None) == (drawn.status is OperationStatus.PENDING)
        assert drawn.end_time is None or drawn.end_time >= drawn.start_time
        assert (drawn.error_code is None) == (drawn.status is not OperationStatus.FAILED)
        assert order.hold is None or drawn.status is not OperationStatus.FAILED


@given(stories, st.lists(st.one_of(site_events, scans), min_size=1, max_size=6))
def test_delivered_returned_and_cancelled_absorb(
    events: list[Event], later: list[ProductionEvent | CarrierEvent]
) -> None:
    end = max(event.recorded_at for event in events) + 400 * DAY * SECOND
    for order in project(events).orders:
        if not is_absorbed(order):
            continue
        after = [told_later(event, order, end, number) for number, event in enumerate(later)]
        (now,) = (one for one in project([*events, *after]).orders if one.operation_id == order.operation_id)
        assert (now.stage, now.final, now.ended_at, now.hold) == (order.stage, order.final, order.ended_at, order.hold)
        assert shown(now).status is shown(order).status
        assert (now.shipment is None) == (order.shipment is None)
        if now.shipment is not None and order.shipment is not None:
            assert (now.shipment.carrier, now.shipment.tracking_number, now.shipment.status) == (
                order.shipment.carrier, order.shipment.tracking_number, order.shipment.status,
            )  # fmt: skip


def told_later(event: ProductionEvent | CarrierEvent, order: Order, end: int, number: int) -> Event:
    """Return an event that happens to an order after everything else; of a site's, without a parcel."""
    parcel = {"carrier": None, "tracking_number": None} if isinstance(event, ProductionEvent) else {}
    about = ABOUT | {"event_id": f"later-{number}", "operation_id": order.operation_id}
    return changed(event, **about, **parcel, occurred_at=end + number, recorded_at=end + number)


@given(stories_of_one_order)
def test_an_anomaly_moves_nothing(events: list[Event]) -> None:
    (order,) = project(events).orders
    wrong = {(anomaly.source, anomaly.event_id) for anomaly in order.anomalies if anomaly.code == "OUT_OF_TURN"}
    naming = {event.key for event in events if isinstance(event, ProductionEvent) and event.tracking_number is not None}
    (without,) = project(event for event in events if event.key not in wrong - naming).orders
    assert shown(without) == shown(order)
    assert without.timeline == order.timeline


@given(stories)
def test_an_anomaly_names_an_event_of_its_order(events: list[Event]) -> None:
    projection = project(events)
    for order in projection.orders:
        for anomaly in order.anomalies:
            key = anomaly.source, anomaly.event_id
            if anomaly.code == "NOT_RETRACTABLE":
                assert key not in facts(events)
            else:
                assert projection.home[key] == order.operation_id


@given(stories)
def test_nothing_happens_after_we_have_heard_of_it(events: list[Event]) -> None:
    heard = max(event.recorded_at for event in events)
    for order in project(events).orders:
        checkpoints = order.shipment.checkpoints if order.shipment else ()
        for at in [step.at for step in order.timeline] + [checkpoint.at for checkpoint in checkpoints]:
            assert order.requested_at <= at <= heard
