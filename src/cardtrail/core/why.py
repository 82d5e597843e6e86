"""Why an order's picture says what it says: for each visible value the event that made it so, and by which rule.

Nothing is noted while events are folded, and nothing is guessed afterwards: the order's own events are folded once
more, one after the other, and the event after which a value is what it is now is the one that decided it. So what is
told here cannot differ from what the fold does.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from cardtrail.core.event import STAGE_OF, CarrierEvent, CarrierKind, Event, ProductionEvent, ProductionKind, Retraction
from cardtrail.core.operation import Operation, operation_of
from cardtrail.core.order import Order, facts_of, project
from cardtrail.core.status import Move, ShipmentStatus
from cardtrail.core.track import Anomaly, Fact, Track


class Reason(StrEnum):
    """The rule by which an event decided a value; what each means stands in `MEANING`."""

    REQUEST = "request"
    STEP = "step"
    SKIP = "skip"
    DETAIL = "detail"
    HELD = "held"
    RELEASED = "released"
    SCAN = "scan"
    DELIVERED = "delivered"
    PROVEN = "proven"
    RETURNED = "returned"
    PARCEL = "parcel"


MEANING = {
    Reason.REQUEST: "the order begins with its request",
    Reason.STEP: "the stage that comes next was reported",
    Reason.SKIP: "a later stage was reported, so those between are inferred",
    Reason.DETAIL: "the newest report that names it counts",
    Reason.HELD: "a held order keeps its stage and says why",
    Reason.RELEASED: "a released order goes on where it was",
    Reason.SCAN: "of a carrier's scans the latest counts",
    Reason.DELIVERED: "a delivered parcel stays delivered, whatever scan comes after",
    Reason.PROVEN: "a scan that only a parcel on its way can have proves that the card was shipped",
    Reason.RETURNED: "the carrier brings it back to the sender",
    Reason.PARCEL: "the parcel that the site named last is the card's",
}


class Because(msgspec.Struct, frozen=True, kw_only=True):
    """Why one value is what it is: the event that decided, as of when it counts (µs), and the rule.

    `happened_at` is what the source said, `received_at` when we heard of it, both µs. `value` is None for a member
    that was there before and is gone.
    """

    member: str
    value: str | None
    reason: Reason
    source: str
    event_id: str
    counts_at: int
    happened_at: int
    received_at: int


class Account(msgspec.Struct, frozen=True):
    """Why an order says all that it says; `ignored` are the events that moved nothing, `taken_back` the retracted."""

    order: Order
    because: tuple[Because, ...]
    ignored: tuple[Anomaly, ...]
    taken_back: tuple[tuple[str, str], ...]


def account_of(events: Iterable[Event], operation_id: str, sealed: frozenset[str] = frozenset()) -> Account | None:
    """Return why an order says what it says; `events` are all of its card. None where there is no such order."""
    known = {event.key: event for event in events}
    projection = project(known.values(), sealed)
    order = next((each for each in projection.orders if each.operation_id == operation_id), None)
    if order is None:
        return None
    facts = [(at, fact) for at, fact in facts_of(known.values()) if projection.home.get(fact.key) == operation_id]
    request = _request_of(facts)
    teller = _Teller(Track(operation_id, request, order.requested_at), request)
    for at, fact in facts:
        teller.take(fact, at)
    targets = (event.target for event in known.values() if isinstance(event, Retraction))
    standing = {fact.key for _, fact in facts_of(known.values())}
    back = sorted({target for target in targets if target in known and target not in standing})
    return Account(order, tuple(teller.found.values()), order.anomalies, tuple(back))


def _request_of(facts: Iterable[tuple[int, Fact]]) -> ProductionEvent:
    return next(
        fact for _, fact in facts if isinstance(fact, ProductionEvent) and fact.kind is ProductionKind.REQUESTED
    )


class _Teller:
    """Folds an order's events one by one and notes after which of them each value is what it is."""

    def __init__(self, track: Track, request: ProductionEvent) -> None:
        self._track = track
        self._values: dict[str, str] = {}
        self.found: dict[str, Because] = {}
        self._note(request, track.requested_at, lambda _member: Reason.REQUEST)

    def take(self, fact: Fact, at: int) -> None:
        """Fold one event in, and note what it has changed."""
        at = max(at, self._track.requested_at)
        move = self._track.verdict(fact) if fact is not self._track.request else Move.SAME
        self._track.take(fact, at)
        self._note(fact, at, lambda member: _reason_of(member, fact, move))

    def _note(self, fact: Fact, at: int, reason_of: "_ReasonOf") -> None:
        values = values_of(operation_of(self._track.order()))
        for member in [*values, *(self._values.keys() - values.keys())]:
            value = values.get(member)
            if value != self._values.get(member):
                self.found[member] = Because(
                    member=member, value=value, reason=reason_of(member), source=fact.source, event_id=fact.event_id,
                    counts_at=at, happened_at=fact.occurred_at, received_at=fact.recorded_at,
                )  # fmt: skip
        self._values = values


_ReasonOf = Callable[[str], Reason]


def _reason_of(member: str, fact: Fact, move: Move) -> Reason:
    if isinstance(fact, CarrierEvent):
        return _scan_reason(member, fact, move)
    if fact.kind is ProductionKind.HELD:
        return Reason.HELD
    if fact.kind is ProductionKind.RELEASED:
        return Reason.RELEASED
    if member.startswith("details.shipment.") or member == "estimatedDelivery":
        return Reason.PARCEL
    moved = member in _MOVED and fact.kind in STAGE_OF
    return {Move.STEP: Reason.STEP, Move.SKIP: Reason.SKIP}.get(move, Reason.DETAIL) if moved else Reason.DETAIL


def _scan_reason(member: str, event: CarrierEvent, move: Move) -> Reason:
    if event.kind is CarrierKind.RETURNED:
        return Reason.RETURNED
    if member in _MOVED and move is not Move.SAME:
        return Reason.PROVEN
    if member == "details.shipment.status" and event.shipment_status is ShipmentStatus.DELIVERED:
        return Reason.DELIVERED
    return Reason.SCAN


_MOVED = frozenset({"status", "details.status", "endTime", "errorCode", "error", "details.reason"})
"""Members that follow from the order's stage."""


def values_of(operation: Operation) -> dict[str, str]:
    """Return a picture's visible values by their names on the wire, as text; instants in µs, checkpoints counted."""
    details, shipment = operation.details, operation.details.shipment
    told = {
        "status": operation.status.value, "details.status": details.status, "details.reason": details.reason,
        "startTime": str(operation.start_time),
        "endTime": None if operation.end_time is None else str(operation.end_time),
        "errorCode": operation.error_code, "error": operation.error,
        "details.dueDate": details.due_date, "details.productionSite": details.production_site,
        "inputFileName": operation.input_file_name, "issuerRequestId": operation.issuer_request_id,
        "estimatedDelivery": operation.estimated_delivery,
        "checkpoints": str(len(operation.checkpoints)) if operation.checkpoints else None,
    }  # fmt: skip
    if shipment is not None:
        told |= {
            "details.shipment.carrier": shipment.carrier, "details.shipment.trackingNumber": shipment.tracking_number,
            "details.shipment.status": shipment.status, "details.shipment.message": shipment.message,
            "details.shipment.trackingUrl": shipment.tracking_url,
        }  # fmt: skip
    return {member: str(value) for member, value in told.items() if value is not None}
