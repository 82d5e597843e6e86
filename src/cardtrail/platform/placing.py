"""Placing: orders from before places were kept are placed in the background, a few cards at a time.

An order that still has its events is folded once more; of one that was sealed, or that is about no production, its
picture says where it was last.
"""

from collections.abc import Iterator

import msgspec

from cardtrail.core.event import Event
from cardtrail.core.order import project
from cardtrail.core.place import Place, place_of
from cardtrail.db import Database, Row, Transaction
from cardtrail.platform.moves import Moves, row_of
from cardtrail.protocol.codec import decode_events

BATCH = 100
"""Most cards of one transaction."""
ELSEWHERE = "OTHER"
"""The place of what is about no production."""
CardKey = tuple[str, str]


class Placing:
    """Places orders of one store."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run_once(self) -> int:
        """Place the orders of some cards; return of how many there were any."""
        cards = await self._db.read(lambda tx: tx.all("unplaced", most=BATCH))
        return await self._db.transact(lambda tx: _place(tx, sorted(set(cards)))) if cards else 0


def _place(tx: Transaction, cards: list[Row]) -> int:
    tx.each("lock_cards", cards)
    for issuer_id in sorted({card[0] for card in cards}):
        tx.one("lock_counter", issuer_id=issuer_id)
    events: dict[CardKey, list[bytes]] = {}
    for issuer_id, card_id, body in tx.each("events_of_cards", cards):
        events.setdefault((issuer_id, card_id), []).append(bytes(body))
    moves, placed = Moves(), []
    for row in tx.each("operations_of_cards", cards):
        if row[8]:
            continue  # somebody was here first
        key: CardKey = (row[0], row[1])
        place, request_id = _found(row, decode_events(events.get(key, [])))
        moves.found(row[0], place)
        placed.append((*key, row[3], row[2], *row_of(place), request_id))
    tx.each("place_orders", sorted(placed, key=lambda each: each[:4]))
    tx.each("count_tallies", moves.rows())
    return len(cards)


def _found(row: Row, events: list[Event]) -> tuple[Place, str | None]:
    """Return where an order is, and its request id."""
    operation_id, requested_at, picture, sealed_at = row[2], row[3], bytes(row[5]), row[7]
    orders = () if sealed_at is not None else project(events).orders
    for order in orders:
        if order.operation_id == operation_id:
            return place_of(order), order.issuer_request_id
    told = msgspec.json.decode(picture)
    name = next(iter(_names(told.get("details") or {})), ELSEWHERE)
    return Place(name, requested_at, is_watched=False), told.get("issuerRequestId")


def _names(details: dict[str, object]) -> Iterator[str]:
    shipment, stage = details.get("shipment"), details.get("status")
    if stage == "CARD_SHIPPED" and isinstance(shipment, dict) and shipment.get("status"):
        yield str(shipment["status"])
    if stage:
        yield str(stage)
