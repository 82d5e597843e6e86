"""Operations: the public picture of an order, one object for answers and notifications.

`operation_of(order)` draws the picture; `newer(a, b)` says which of two observed pictures to believe.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from cardtrail.core.order import Checkpoint, Order
from cardtrail.core.status import RANK, SHIPMENT_RANK, OperationStatus, ProductionStatus, ShipmentStatus

MAX_CHECKPOINTS = 20
"""The newest checkpoints that the picture shows."""
MAX_REASON = 300
"""Longest `details.reason`, in characters."""


class PictureOfShipment(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`details.shipment` as published; all members optional."""

    carrier: str | None = None
    tracking_number: str | None = None
    status: str | None = None
    message: str | None = None
    tracking_url: str | None = None


class Details(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`details` of a PRODUCE operation as published."""

    status: str
    reason: str | None = None
    due_date: str | None = None
    production_site: str | None = None
    shipment: PictureOfShipment | None = None


class Operation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An operation without our extension. Instants are µs; the codec writes them in the published form."""

    operation_id: str
    operation: str = "PRODUCE"
    status: OperationStatus
    start_time: int
    end_time: int | None = None
    card_id: str
    details: Details
    error_code: str | None = None
    error: str | None = None
    input_file_name: str | None = None
    issuer_request_id: str | None = None
    estimated_delivery: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()


def operation_of(order: Order) -> Operation:
    """Return the public picture of an order."""
    status = _status_of(order)
    failed = status is OperationStatus.FAILED
    shipment = order.shipment
    return Operation(
        operation_id=order.operation_id, status=status, card_id=order.card_id,
        start_time=order.requested_at,
        end_time=None if status is OperationStatus.PENDING else order.ended_at,
        details=Details(
            order.stage, _reason_of(order), order.due_date, order.production_site, _shipment_of(order)
        ),
        error_code=_error_code_of(order) if failed else None,
        error=order.error if failed else None,
        input_file_name=order.input_file_name, issuer_request_id=order.issuer_request_id,
        estimated_delivery=shipment.estimated_delivery if shipment else None,
        checkpoints=shipment.checkpoints[-MAX_CHECKPOINTS:] if shipment else (),
    )  # fmt: skip


_STATUS = {
    ProductionStatus.DATA_EXCEPTION: OperationStatus.FAILED,
    ProductionStatus.CANCELED: OperationStatus.FAILED,
    ProductionStatus.SHIPPED: OperationStatus.SUCCESSFUL,
    ProductionStatus.RETURNED: OperationStatus.SUCCESSFUL,
}


def _status_of(order: Order) -> OperationStatus:
    """Contract section 3; instant issuance ends with DONE, and a final exception ends in failure."""
    if order.final:
        return OperationStatus.FAILED
    if order.stage is ProductionStatus.DONE and order.distribution_channel == "INSTANT":
        return OperationStatus.SUCCESSFUL
    return _STATUS.get(order.stage, OperationStatus.PENDING)


def _reason_of(order: Order) -> str | None:
    if order.hold is not None:
        return f"ON_HOLD: {order.hold}"[:MAX_REASON].rstrip()
    return order.reason


def _error_code_of(order: Order) -> str:
    if order.stage is ProductionStatus.CANCELED:
        return "ORDER_CANCELED"
    return order.error_code or order.stage.value


def _shipment_of(order: Order) -> PictureOfShipment | None:
    shipment = order.shipment
    if shipment is None:
        return None
    return PictureOfShipment(
        shipment.carrier, shipment.tracking_number, shipment.status, shipment.message, shipment.tracking_url
    )


# ── which picture to believe ─────────────────────────────────────────────────────────────────────────────────


class Observation(msgspec.Struct, frozen=True):
    """A picture and how we came by it. `asked_at` is None for a notification; times are of one clock, never going back.

    That clock may be a count of the observer's own: then no jump of a wall clock ever decides. `content` is the
    published form of the picture; it tells a hold or another reason apart from a repetition. `parcel` is the carrier
    and the tracking number, each as far as the picture names it.
    """

    operation_id: str
    source: Literal["notification", "answer"]
    observed_at: int
    stage: str
    content: bytes = b""
    ended: bool = False
    shipment_status: str | None = None
    sequence: int | None = None
    asked_at: int | None = None
    parcel: tuple[str | None, str | None] = (None, None)


class Newer(StrEnum):
    """Whether one observation is newer than another."""

    YES = "yes"
    NO = "no"
    SAME = "same"
    UNSURE = "unsure"


class Rule(StrEnum):
    """What decided which of two observations is newer."""

    ASKED_LATER = "an answer that was asked for later"
    SEQUENCE = "sequence"
    STAGE = "production stage"
    ENDED = "end of the operation"
    PARCEL = "another parcel"
    SHIPMENT = "shipment status"
    CONTENT = "content"


class Verdict(msgspec.Struct, frozen=True):
    """Whether one observation is newer than another, and by which rule."""

    newer: Newer
    rule: Rule


def newer(a: Observation, b: Observation) -> Newer:
    """Say whether `a` is newer than `b`; both must be of one operation. The rules stand at `judge`."""
    return judge(a, b).newer


def judge(a: Observation, b: Observation) -> Verdict:
    """Say whether `a` is newer than `b`, and why; both must be of one operation.

    An answer asked for after `b` was observed wins, whatever its sequence (a restored platform counts anew).
    Then `sequence` decides where both have one. Then production rank, end of operation, shipment progress; where
    these contradict each other or a cycle (rework, hold, failed attempts) is possible, the truth is UNSURE. So it is
    where the two name different parcels, since a parcel that replaces another begins its way anew; and where nothing
    tells two different pictures apart, such as one sequence given twice, before and after a restore.
    """
    if a.asked_at is not None and a.asked_at > b.observed_at:
        return Verdict(Newer.YES, Rule.ASKED_LATER)
    if b.asked_at is not None and b.asked_at > a.observed_at:
        return Verdict(Newer.NO, Rule.ASKED_LATER)
    return judged_by_content(a, b)


def judged_by_content(a: Observation, b: Observation) -> Verdict:
    """Say the same from what the two pictures say alone, without when they were asked for."""
    same = a.content == b.content
    if a.sequence is not None and b.sequence is not None:
        return _told(((_compared(a.sequence, b.sequence), Rule.SEQUENCE),), same=same)
    steps = (
        (_newer_stage(a.stage, b.stage), Rule.STAGE),
        (_compared(int(a.ended), int(b.ended)), Rule.ENDED),
        _newer_parcel(a, b),
    )
    return _told(steps, same=same)


def _told(steps: tuple[tuple[Newer, Rule], ...], *, same: bool) -> Verdict:
    """Return what the first step that differs says, unless a later one contradicts it."""
    told = [(step, rule) for step, rule in steps if step is not Newer.SAME]
    if not told:
        return Verdict(Newer.SAME if same else Newer.UNSURE, Rule.CONTENT)
    if {Newer.YES, Newer.NO} <= {step for step, _ in told}:
        return Verdict(Newer.UNSURE, told[0][1])
    return Verdict(*told[0])


def _compared(a: int, b: int) -> Newer:
    if a == b:
        return Newer.SAME
    return Newer.YES if a > b else Newer.NO


_REWORK = frozenset({ProductionStatus.ONGOING, ProductionStatus.EXCEPTION})
_ROUNDS = frozenset({
    ShipmentStatus.IN_TRANSIT, ShipmentStatus.OUT_FOR_DELIVERY, ShipmentStatus.ATTEMPT_FAIL,
    ShipmentStatus.AVAILABLE_FOR_PICKUP, ShipmentStatus.EXCEPTION, ShipmentStatus.EXPIRED,
})  # fmt: skip


def _newer_stage(a: str, b: str) -> Newer:
    if a == b:
        return Newer.SAME
    if a not in RANK or b not in RANK or {a, b} == _REWORK:
        return Newer.UNSURE
    return _compared(RANK[ProductionStatus(a)], RANK[ProductionStatus(b)])


def _newer_parcel(a: Observation, b: Observation) -> tuple[Newer, Rule]:
    """Return what shipment progress says; nothing where the two are of different parcels."""
    if any(None not in {ours, theirs} and ours != theirs for ours, theirs in zip(a.parcel, b.parcel, strict=True)):
        return Newer.UNSURE, Rule.PARCEL
    return _newer_shipment(a.shipment_status, b.shipment_status), Rule.SHIPMENT


def _newer_shipment(a: str | None, b: str | None) -> Newer:
    if a == b:
        return Newer.SAME
    if a is None or b is None:
        return Newer.NO if a is None else Newer.YES
    if a not in SHIPMENT_RANK or b not in SHIPMENT_RANK or {a, b} <= _ROUNDS:
        return Newer.UNSURE
    return _compared(SHIPMENT_RANK[ShipmentStatus(a)], SHIPMENT_RANK[ShipmentStatus(b)])
