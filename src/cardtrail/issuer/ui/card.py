"""One card of the mirror for a person: its orders, what happened and how we know, and when it is asked for next."""

from collections.abc import Sequence

import msgspec

from cardtrail.db import Transaction
from cardtrail.issuer.mirror import Held, held_of
from cardtrail.issuer.rows import Card, card_of

MAX_MATES = 100
"""Most other cards of a parcel that are named."""
MAX_ORDERS = 50
"""Most orders of a card that are shown, the newest."""
MAX_FOUND = 50
"""Most cards that a search finds by each of the ways it looks."""
FIRST_BEYOND = "\U0010ffff"
"""Follows everything that an id may begin with."""


class ParcelSeen(msgspec.Struct, frozen=True):
    """A parcel that an order of the card names, and the other cards in it, MAX_MATES and one more at most."""

    carrier: str
    tracking_number: str
    mates: tuple[str, ...]


class CardSeen(msgspec.Struct, frozen=True):
    """A card as its page shows it: its orders, newest first, and what is known of the card itself.

    `has_feed`: what changes is read from the platform's feed. `is_whole`: it has no more orders than these.
    """

    card_id: str
    card: Card
    held: tuple[Held, ...]
    parcels: tuple[ParcelSeen, ...]
    has_feed: bool
    is_whole: bool


def seen_of(tx: Transaction, issuer_id: str, card_id: str) -> CardSeen | None:
    """Read a card; None where the mirror neither keeps nor expects it."""
    row = tx.one("card", issuer_id=issuer_id, card_id=card_id)
    if row is None:
        return None
    every = held_of(tx, issuer_id, card_id)
    held = tuple(every[:MAX_ORDERS])
    numbers = {each.known.parcel: None for each in held if each.known.parcel[1]}
    parcels = tuple(_parcel(tx, issuer_id, card_id, carrier, number or "") for carrier, number in numbers)
    issuer = tx.one("find_issuer", issuer_id=issuer_id)
    return CardSeen(card_id, card_of(row), held, parcels, issuer is not None and issuer[2] is not None,
                    len(every) <= MAX_ORDERS)  # fmt: skip


def _parcel(tx: Transaction, issuer_id: str, card_id: str, carrier: str | None, number: str) -> ParcelSeen:
    rows = tx.all(
        "cards_in_parcel", issuer_id=issuer_id, carrier=carrier or "", tracking_number=number, most=MAX_MATES + 2
    )
    return ParcelSeen(carrier or "", number, tuple(row[0] for row in rows if row[0] != card_id)[: MAX_MATES + 1])


def found_by(tx: Transaction, issuer_id: str, text: str, *, personal: bool) -> Sequence[str]:
    """Return the cards that a text names: a card id or its beginning, a request id, a tracking number.

    Tracking numbers are looked for only where the visitor may see them: else a search would tell them.
    """
    key = {"issuer_id": issuer_id, "most": MAX_FOUND}
    begin = tx.all("cards_by_beginning", **key, first=text, last=text + FIRST_BEYOND)
    found = [row[0] for row in begin if row[0].startswith(text)]  # what lies in between differs by collation
    found += [row[0] for row in tx.all("cards_by_request", **key, request_id=text)]
    if personal:
        found += [row[0] for row in tx.all("cards_by_number", **key, tracking_number=text)]
    return list(dict.fromkeys(found))
