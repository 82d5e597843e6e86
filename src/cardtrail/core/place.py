"""Where an order is, in one word: what overviews count it under, and what its clock is set by.

The place is the shipment status of the parcel once a carrier has seen it, `ON_HOLD` while the order is held, and the
production stage otherwise. A place is *watched* while something should still come: an order that has ended well or
badly is not, nor a card that went by post without a tracking number, of which nobody will ever hear.
"""

from typing import Final

import msgspec

from cardtrail.core.order import Order
from cardtrail.core.status import MAIN_LINE, ProductionStatus, ShipmentStatus

ON_HOLD: Final = "ON_HOLD"
OTHER: Final = "OTHER"
"""Where an order of another server is whose status nobody has published."""
_STAGES = (*MAIN_LINE, ProductionStatus.EXCEPTION, ProductionStatus.DATA_EXCEPTION, ProductionStatus.CANCELED)
PLACES: Final = (
    *(stage.value for stage in _STAGES), ON_HOLD, *(status.value for status in ShipmentStatus),
    ProductionStatus.RETURNED.value,
)  # fmt: skip
"""Every place there is; the main line of production first, in its order."""
IN_POST: Final = frozenset(status.value for status in ShipmentStatus)
"""Places at which a carrier has the card, or had it last."""
ENDS: Final = frozenset({
    ShipmentStatus.DELIVERED.value, ProductionStatus.RETURNED.value, ProductionStatus.CANCELED.value,
    ProductionStatus.DATA_EXCEPTION.value,
})  # fmt: skip
"""Places that an order does not leave."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where an order is and since when, µs; whether it is watched; and what its dwell is compared with.

    `site` and `channel` are empty where not told; `carrier` is empty in production, `site` once a carrier has it.
    """

    name: str
    since: int
    is_watched: bool
    site: str = ""
    channel: str = ""
    carrier: str = ""


def place_of(order: Order) -> Place:
    """Return where an order is."""
    name = _name_of(order)
    carrier = order.shipment.carrier if order.shipment else None
    in_post = name in IN_POST or name == ProductionStatus.SHIPPED
    return Place(
        name, _since(order, name), _is_watched(order, name),
        "" if in_post else order.production_site or "", order.distribution_channel or "",
        (carrier or "") if in_post else "",
    )  # fmt: skip


def name_of(stage: str, shipment_status: str | None, *, is_held: bool) -> str:
    """Return the name of an order's place."""
    if is_held:
        return ON_HOLD
    return shipment_status if shipment_status is not None and stage == ProductionStatus.SHIPPED else stage


def _name_of(order: Order) -> str:
    shipped = order.shipment.status if order.shipment is not None else None
    return name_of(order.stage.value, None if shipped is None else shipped.value, is_held=order.hold is not None)


def _since(order: Order, name: str) -> int:
    """Return when the order came to its place; where a new parcel has an old word, since the newest step."""
    if name == ON_HOLD and order.held_at is not None:
        return order.held_at
    return next((step.at for step in reversed(order.timeline) if step.status == name), order.timeline[-1].at)


def _is_watched(order: Order, name: str) -> bool:
    if name in ENDS or order.final:
        return False
    if name == ProductionStatus.SHIPPED:
        return order.shipment is not None and order.shipment.tracking_number is not None
    return order.ended_at is None or name in IN_POST


def dwelt(before: Place, order: Order, now: Place) -> int | None:
    """Return how long an order dwelt where it was before, µs; None where that was not told, but inferred.

    It counts where the place before is the step before the newest one, and that one says where the order is now. That
    a carrier has given up waiting is no way on: else lost cards would teach that long is usual.
    """
    if now.name == ShipmentStatus.EXPIRED:
        return None
    steps = order.timeline[-2:]
    told = [step.status for step in steps] == [before.name, now.name]
    return now.since - before.since if told and now.since >= before.since else None
