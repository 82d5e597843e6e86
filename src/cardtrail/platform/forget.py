"""Forgetting: what a card's orders say of a person's parcel is erased on request; how the orders ended stays.

Tracking numbers, links to carriers' pages, places and carriers' words go from pictures, from notifications and from
what was reported. A parcel on its way is tracked by just these, so the card must have arrived first; its orders are
sealed with that, and nothing that is reported later reaches them.
"""

from typing import Any, NamedTuple

import msgspec

from cardtrail.core.status import ProductionStatus, ShipmentStatus
from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import Conflict, NotFound
from cardtrail.pages.door.change import Changed
from cardtrail.platform.audit import change
from cardtrail.platform.sweep import seal_cards
from cardtrail.protocol.codec import answer_of, etag_of, strict_form

ACTION = "card.forget"
IN_SHIPMENT = ("trackingNumber", "trackingUrl", "message")
IN_CHECKPOINT = ("location", "message")
"""Members of a picture that are erased."""
_ERASING = "PRAGMA secure_delete=ON; -- sqlite\n"
"""What is deleted from now on is overwritten in its pages, too."""


class Forgotten(NamedTuple):
    """How many orders and notifications were written anew, and how many parcels stay, since other cards are in them."""

    orders: int
    notifications: int
    shared_parcels: int


async def forget(  # noqa: PLR0913 -- which card, and the line of the audit
    db: Database, issuer_id: str, card_id: str, actor: str, at: int, *, travelling: bool = False
) -> Forgotten:
    """Erase, and write down who did it, without what was erased; `at` in µs. Once more does no harm.

    With `travelling` also a card that has not arrived. Raises NotFound for a card without orders, Conflict where an
    order has not ended or a parcel not arrived, StoreUnavailable.
    """
    key = (issuer_id, card_id)

    def work(tx: Transaction) -> Changed[Forgotten]:
        tx.script(_ERASING)
        parcels = sorted({row[2:] for row in tx.each("parcels_of_cards", [key])})
        seal_cards(tx, [key], at + 1, at)
        _require_settled(tx, key, travelling=travelling)
        tx.each("drop_links", [key])
        alone = tx.each("unlinked_parcels", parcels)
        tx.each("drop_parcel_events", alone)
        tx.each("drop_parcels", alone)
        done = Forgotten(_rewrite_orders(tx, key), _rewrite_notifications(tx, key), len(parcels) - len(alone))
        return Changed(ACTION, f"{issuer_id}/{card_id}", None, done._asdict(), done)

    return await change(db, actor, at, work)


def _require_settled(tx: Transaction, key: tuple[str, str], *, travelling: bool) -> None:
    orders = tx.each("operations_of_cards", [key])
    if not orders:
        raise NotFound(f"card {key[1]} of issuer {key[0]} has no order")
    if tx.each("unsealed_of_cards", [key]):
        raise Conflict(f"card {key[1]} has an order that has not ended")
    if not travelling and any(_is_travelling(msgspec.json.decode(row[5])) for row in orders):
        raise Conflict(f"card {key[1]} has not arrived: its parcel is still tracked; --travelling gives that up")


def _is_travelling(picture: dict[str, Any]) -> bool:
    details = picture["details"]
    arrived = details.get("shipment", {}).get("status") == ShipmentStatus.DELIVERED
    return not arrived and bool(details["status"] == ProductionStatus.SHIPPED)


def _rewrite_orders(tx: Transaction, key: tuple[str, str]) -> int:
    rows: list[Row] = []
    for _, _, operation_id, _, _, picture, length, *_ in tx.each("operations_of_cards", [key]):
        full, strict_length = without_parcel(bytes(picture), length)
        if full != bytes(picture):
            rows.append((*key, operation_id, full, strict_length, etag_of(answer_of([full]))))
    tx.each("rewrite_operations", rows)
    return len(rows)


def _rewrite_notifications(tx: Transaction, key: tuple[str, str]) -> int:
    rows: list[Row] = []
    for notification_id, picture, length in tx.all("pictures_sent_of_card", issuer_id=key[0], card_id=key[1]):
        full, strict_length = without_parcel(bytes(picture), length)
        if full != bytes(picture):
            rows.append((key[0], notification_id, full, strict_length))
    tx.each("rewrite_notifications", rows)
    return len(rows)


def without_parcel(picture: bytes, strict_length: int) -> tuple[bytes, int]:
    """Return a stored picture without what is erased, and the length of its published form without the last brace."""
    published: dict[str, Any] = msgspec.json.decode(strict_form(picture, strict_length))
    extension: dict[str, Any] = msgspec.json.decode(picture)["cardtrail"]
    shipment = published.get("details", {}).get("shipment", {})
    for name in IN_SHIPMENT:
        shipment.pop(name, None)
    for checkpoint in extension.get("checkpoints", ()):
        for name in IN_CHECKPOINT:
            checkpoint.pop(name, None)
    begin = msgspec.json.encode(published)[:-1]
    return b'%b,"cardtrail":%b}' % (begin, msgspec.json.encode(extension)), len(begin)
