"""Facts for tests of the fold: one card, instants in hours after `BEGIN`, an id of its own for each event."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from cardtrail.core.event import CarrierEvent, CarrierKind, Event, ProductionEvent, ProductionKind, Retraction
from cardtrail.core.order import SECOND, Order, Projection, project

BEGIN = 1_767_600_000 * SECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
ISSUER = "ISSUER0001"
CARD = "card-1"
HEARD = 1 / 60
"""Hours from an event to our hearing of it, unless a test says otherwise."""
DHL: dict[str, Any] = {"carrier": "dhl", "tracking_number": "P1"}
UPS: dict[str, Any] = {"carrier": "ups", "tracking_number": "P2"}

_numbers = count(1)


def instant(hours: float) -> int:
    """Return µs of an instant some hours after `BEGIN`."""
    return BEGIN + round(hours * HOUR)


def _common(hours: float, heard: float | None, members: dict[str, Any]) -> dict[str, Any]:
    about = {"issuer_id": ISSUER, "card_id": CARD}
    times = {"occurred_at": instant(hours), "recorded_at": instant(hours + HEARD if heard is None else heard)}
    return {"event_id": f"e{next(_numbers)}"} | times | about | members


def site(kind: str, hours: float = 0, *, heard: float | None = None, **members: Any) -> ProductionEvent:
    """Return what a site tells; `heard` is when we heard of it, in hours."""
    return ProductionEvent(kind=ProductionKind(kind), **({"source": "site:a"} | _common(hours, heard, members)))


def scan(
    status: str | None, hours: float, *, kind: str = "scanned", heard: float | None = None, **members: Any
) -> CarrierEvent:
    """Return what a carrier tells of a card."""
    common = {"source": "carrier:a"} | _common(hours, heard, members)
    return CarrierEvent(kind=CarrierKind(kind), status=status, **common)


def parcel_scan(
    status: str | None, hours: float, parcel: dict[str, Any] = DHL, *, kind: str = "scanned", **members: Any
) -> CarrierEvent:
    """Return what a carrier tells of a parcel, naming no card."""
    return scan(status, hours, kind=kind, **({"issuer_id": None, "card_id": None} | parcel | members))


def retraction(target: Event, hours: float = 500, *, source: str | None = None, **members: Any) -> Retraction:
    """Return what takes `target` back, by the same source if no other is named."""
    common = _common(hours, None, members)
    return Retraction(source=source or target.source, retracts=target.event_id, **common)


def orders_of(*events: Event) -> tuple[Order, ...]:
    """Return a card's orders, newest first."""
    return project(events).orders


def order_of(*events: Event) -> Order:
    """Return a card's only order."""
    (order,) = project(events).orders
    return order


def homes(projection: Projection, events: Iterable[Event]) -> list[str | None]:
    """Return the operation that took each event, None for one that waits."""
    return [projection.home.get(event.key) for event in events]


def codes(order: Order) -> list[str]:
    """Return the codes of an order's anomalies."""
    return [anomaly.code for anomaly in order.anomalies]


def steps(order: Order) -> list[tuple[str, str]]:
    """Return an order's timeline as pairs of status and evidence."""
    return [(step.status, step.evidence.value) for step in order.timeline]
