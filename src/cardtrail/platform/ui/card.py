"""One card for a person: its orders, what happened and how we know, why each value is what it is, who was told."""

from collections.abc import Sequence

import msgspec

from cardtrail.core.why import Account, account_of
from cardtrail.db import Row, Transaction
from cardtrail.platform.ledger import Attempt, Entry, Selection, entries_of
from cardtrail.protocol.codec import decode_events

MAX_MATES = 100
"""Most other cards of a parcel that are named."""
MAX_NOTIFICATIONS = 200
"""Most notifications of a card that are shown, the newest."""
MAX_ATTEMPTS = 20
"""Most attempts of one notification that are shown, the newest."""


class OrderSeen(msgspec.Struct, frozen=True):
    """One order: what is published, and why; `account` is None where it was sealed and its events are gone."""

    operation_id: str
    sequence: int
    changed_at: int
    sealed_at: int | None
    picture: bytes
    account: Account | None


class ParcelSeen(msgspec.Struct, frozen=True):
    """A parcel that the card travelled in, and the issuer's own other cards in it, MAX_MATES and one more at most."""

    carrier: str
    tracking_number: str
    mates: tuple[str, ...]


class CardSeen(msgspec.Struct, frozen=True):
    """A card as its page shows it; `waiting` counts events that wait for an order."""

    card_id: str
    orders: tuple[OrderSeen, ...]
    waiting: int
    parcels: tuple[ParcelSeen, ...]
    notifications: tuple[tuple[Entry, tuple[Attempt, ...]], ...]


def card_of(tx: Transaction, issuer_id: str, card_id: str) -> CardSeen | None:
    """Read a card; None where nothing of it is known. Every row is the issuer's own."""
    key = {"issuer_id": issuer_id, "card_id": card_id}
    published = tx.all("pictures_of_card", **key)
    events = decode_events([bytes(row[0]) for row in tx.all("events_of_card", **key)])
    if not published and not events:
        return None
    sealed = frozenset(row[0] for row in published if row[4] is not None)
    orders = tuple(
        OrderSeen(
            row[0], row[1], row[3], row[4], bytes(row[5]),
            None if row[4] is not None else account_of(events, row[0], sealed),
        )
        for row in published
    )  # fmt: skip
    waiting = 0 if published else len(events)
    parcels = tx.each("parcels_of_cards", [(issuer_id, card_id)])
    return CardSeen(card_id, orders, waiting, tuple(_parcels(tx, parcels)), tuple(_told(tx, issuer_id, card_id)))


def _parcels(tx: Transaction, links: Sequence[Row]) -> Sequence[ParcelSeen]:
    found = []
    for issuer_id, card_id, carrier, number in links:
        rows = tx.all(
            "cards_in_parcel", issuer_id=issuer_id, carrier=carrier, tracking_number=number, most=MAX_MATES + 2
        )
        found.append(ParcelSeen(carrier, number, tuple(row[0] for row in rows if row[0] != card_id)[: MAX_MATES + 1]))
    return found


def _told(tx: Transaction, issuer_id: str, card_id: str) -> Sequence[tuple[Entry, tuple[Attempt, ...]]]:
    entries = entries_of(tx, issuer_id, Selection(card_id=card_id), "", 1_000)[-MAX_NOTIFICATIONS:]
    wanted = [(issuer_id, each) for entry in entries for each in entry.attempt_ids[-MAX_ATTEMPTS:]]
    attempts = {row[0]: Attempt(*row) for row in tx.each("attempts_by_id", wanted)}
    return [
        (entry, tuple(attempts[each] for each in entry.attempt_ids[-MAX_ATTEMPTS:] if each in attempts))
        for entry in reversed(entries)
    ]


def found_by(tx: Transaction, issuer_id: str, text: str, *, personal: bool) -> list[str]:
    """Return the issuer's cards that a text names: a card id or its beginning, a request id, a tracking number.

    Tracking numbers are looked for only where the visitor may see them: else a search would tell them.
    """
    key = {"issuer_id": issuer_id}
    begin = tx.all("cards_by_beginning", **key, first=text, last=text + "\U0010ffff", most=50)
    found = [row[0] for row in begin if row[0].startswith(text)]  # what lies in between differs by collation
    found += [row[0] for row in tx.all("cards_by_request", **key, request_id=text)]
    if personal:
        found += [row[0] for row in tx.all("cards_by_number", **key, tracking_number=text)]
    return list(dict.fromkeys(found))
