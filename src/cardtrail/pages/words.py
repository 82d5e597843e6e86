"""How pages say things: words for places, times in UTC, spans as a person counts them."""

from datetime import UTC, datetime
from typing import Final

from cardtrail.core.place import ENDS, ON_HOLD, OTHER
from cardtrail.core.status import MAIN_LINE, OperationStatus, ProductionStatus, ShipmentStatus
from cardtrail.core.track import SECOND
from cardtrail.core.why import MEANING, Reason

WORDS: Final = {
    ProductionStatus.REQUESTED.value: "Requested", ProductionStatus.DATA_PREPARED.value: "Data prepared",
    ProductionStatus.DATA_EXCEPTION.value: "Data exception", ProductionStatus.READY.value: "Ready",
    ProductionStatus.ONGOING.value: "In production", ProductionStatus.EXCEPTION.value: "Production exception",
    ProductionStatus.DONE.value: "Produced", ProductionStatus.SHIPPED.value: "Shipped",
    ProductionStatus.CANCELED.value: "Cancelled", ProductionStatus.RETURNED.value: "Returned", ON_HOLD: "On hold",
    ShipmentStatus.PENDING.value: "Parcel pending", ShipmentStatus.INFO_RECEIVED.value: "Announced",
    ShipmentStatus.IN_TRANSIT.value: "In transit", ShipmentStatus.OUT_FOR_DELIVERY.value: "Out for delivery",
    ShipmentStatus.ATTEMPT_FAIL.value: "Delivery failed", ShipmentStatus.DELIVERED.value: "Delivered",
    ShipmentStatus.AVAILABLE_FOR_PICKUP.value: "At a pickup point",
    ShipmentStatus.EXCEPTION.value: "Parcel exception", ShipmentStatus.EXPIRED.value: "Parcel expired",
    OTHER: "Not published",
}  # fmt: skip
"""A word for each place, for people."""
FLOW: Final = (
    *(stage.value for stage in MAIN_LINE), ShipmentStatus.INFO_RECEIVED.value, ShipmentStatus.IN_TRANSIT.value,
    ShipmentStatus.OUT_FOR_DELIVERY.value, ShipmentStatus.DELIVERED.value,
)  # fmt: skip
"""The usual way of a card, in order."""
ASIDE: Final = tuple(place for place in WORDS if place not in FLOW)
"""Where cards are that did not go the usual way."""
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND
_MOODS = {
    OperationStatus.SUCCESSFUL.value: "good",
    OperationStatus.FAILED.value: "bad",
    OperationStatus.PENDING.value: "warn",
}
_SPANS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"))


def word_of(place: str) -> str:
    """Return a place's word; an unknown one stands for itself."""
    return WORDS.get(place, place)


def kind_of(place: str) -> str:
    """Return whether a place is on the usual way, an end beside it, or a stop on the way: `way`, `end`, `stop`."""
    if place in FLOW:
        return "way"
    return "end" if place in ENDS else "stop"


def headline_of(stage: str, shipment_status: str | None, reason: str | None) -> str:
    """Return where an order is, in words."""
    words = word_of(stage)
    if shipment_status and stage not in ENDS:
        words += f", {word_of(shipment_status).lower()}"
    return f"{words}, on hold" if (reason or "").startswith(ON_HOLD) else words


def mood_of(status: str, stage: str) -> str:
    """Return how an operation's status is marked: `good`, `warn`, `bad`, or not. A card that came back is not well."""
    return "warn" if stage == ProductionStatus.RETURNED else _MOODS.get(status, "")


def meaning_of(reason: Reason) -> str:
    """Return a rule as a sentence."""
    return MEANING[reason]


def when(at: int | None) -> str:
    """Return µs to the minute, in UTC."""
    if at is None:
        return "–"
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d %H:%M")


def ago(span: float | None) -> str:
    """Return a span of µs in its largest unit, such as `3 days`; less than a second is `now`."""
    if span is None:
        return "–"
    for size, name in _SPANS:
        if span >= size:
            count = int(span // size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "now"


def since(span: float | None) -> str:
    """Return how long ago something was, a span of µs, such as `3 days ago`; less than a second is `just now`."""
    return "–" if span is None else "just now" if span < SECOND else f"{ago(span)} ago"


def lasting(span: float | None) -> str:
    """Return how long something lasted (µs) in its largest unit; less than a second is said to be that."""
    return "under a second" if span is not None and span < SECOND else ago(span)


def days(quarters: int | None) -> str:
    """Return quarters of a business day as days, such as `2.5`."""
    return "–" if quarters is None else f"{quarters / 4:g}"


def number(value: int) -> str:
    """Return a number with commas."""
    return f"{value:,}"
