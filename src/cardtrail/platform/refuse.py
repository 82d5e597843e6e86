"""Why an event is refused: the limits of cards, orders, operations and parcels, and what is settled for good."""

from cardtrail.core.event import Event, ProductionEvent, Retraction
from cardtrail.core.order import Order, Projection
from cardtrail.platform.held import HeldCard, HeldParcel, Outcome, by_parcel, ends_parcel, rejected

MAX_SITE_EVENTS = 400
MAX_CARRIER_EVENTS = 600
RESERVED_CARRIER_EVENTS = 50
"""Of an order's 1,000 events 400 are the sites' and 600 the carriers'; the last 50 of these are kept for what ends a
parcel's story, so that a noisy carrier cannot block `Delivered`."""
MAX_ORDERS = 50
"""Most orders of one card; a real card has a handful."""
MAX_RETRACTIONS = 100
"""Most retractions a card takes."""
MAX_WAITING = 100
"""Most events of a card, an operation or a parcel that may wait for an order."""

CONFLICT = rejected("CONFLICT", "eventId: known with other content")
SEALED = rejected("ORDER_SEALED", "the order was settled long ago and takes no events")


def parcel_refusal(parcel: HeldParcel, event: Event) -> Outcome | None:
    """Return why a parcel can take no more events, or None."""
    if parcel.links or parcel.named:
        most = MAX_CARRIER_EVENTS - (0 if ends_parcel(event) else RESERVED_CARRIER_EVENTS)
        return rejected("ORDER_FULL", f"the parcel has {most} events") if parcel.told >= most else None
    return (
        rejected("WAITING_FULL", f"{MAX_WAITING} events wait for this parcel") if parcel.told >= MAX_WAITING else None
    )


def refusal_of(card: HeldCard, projection: Projection, event: Event, *, room: bool) -> Outcome | None:
    """Return why a card cannot take an event, or None."""
    if isinstance(event, Retraction):
        return _retraction_refusal(card)
    home = projection.home.get(event.key)
    if home is None:
        return _waiting_refusal(card, projection, event, room=room)
    if home in card.sealed:
        return SEALED
    order = next(order for order in projection.orders if order.operation_id == home)
    published = card.published.get(home)
    if published and published.requested_at != order.requested_at:
        return rejected("CONFLICT", "operationId: already requested at another time")
    return _full(order, event)


def _waiting_refusal(card: HeldCard, projection: Projection, event: Event, *, room: bool) -> Outcome | None:
    if card.sealed and by_parcel(event):
        return SEALED  # the event that named this parcel went when its order was sealed
    if len(projection.waiting) > MAX_WAITING:
        return rejected("WAITING_FULL", f"{MAX_WAITING} events wait for this card's order")
    return None if room or card.published else rejected("WAITING_FULL", "too many cards wait for their orders")


def _retraction_refusal(card: HeldCard) -> Outcome | None:
    if card.published and card.sealed >= card.published.keys():
        return SEALED
    taken = sum(isinstance(known, Retraction) for known in card.events.values())
    return rejected("ORDER_FULL", f"a card takes {MAX_RETRACTIONS} retractions") if taken > MAX_RETRACTIONS else None


def _full(order: Order, event: Event) -> Outcome | None:
    if isinstance(event, ProductionEvent):
        most, taken = MAX_SITE_EVENTS, order.site_events
    else:
        most, taken = MAX_CARRIER_EVENTS - (0 if ends_parcel(event) else RESERVED_CARRIER_EVENTS), order.carrier_events
    return rejected("ORDER_FULL", f"the order has {most} events of this side") if taken > most else None
