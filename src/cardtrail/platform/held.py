"""What one transaction of ingest holds: the rows it has locked, and what it has loaded of them.

The order of locks is always keys, operations, parcels, cards, issuer counters, each sorted; so no two transactions
wait for each other in a ring, and an event and its order that commit at the same time meet at the card's row. Keys
come first, because what is already known may change nothing. After the counters come only notifications.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeGuard

import msgspec

from cardtrail.core.event import CarrierEvent, Event, ProductionEvent, ProductionKind
from cardtrail.core.order import PARCEL_AFTER, PARCEL_BEFORE, instant_of, operation_id_of
from cardtrail.core.place import Place
from cardtrail.core.status import ShipmentStatus
from cardtrail.db import Row, Transaction
from cardtrail.protocol.codec import decode_events

MAX_FANOUT = 1_000
"""Most cards one parcel's event reaches in one transaction; the rest follow in chunks."""
MAX_COPIES = 4_000
"""Most copies of parcel events in one transaction."""

CardKey = tuple[str, str]
OperationKey = tuple[str, str]
ParcelKey = tuple[str, str]
EventKey = tuple[str, str]
Link = tuple[str, str, int, int]
"""A card in a parcel: issuer id, card id, when a site named it first and last (µs)."""
MayReach = Callable[[str, str], bool]
"""(sender, issuer id) -> may this sender's events reach that issuer's cards?"""


class Item(msgspec.Struct, frozen=True):
    """An event on its way in: who sent it, what it is, how it is stored, a hash of its content, and by which call."""

    sender: str
    event: Event
    body: bytes
    fingerprint: bytes
    cause: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What became of an event: `accepted`, `duplicate` or `rejected` with a code and a text."""

    result: str
    code: str | None = None
    text: str | None = None


ACCEPTED = Outcome("accepted")
DUPLICATE = Outcome("duplicate")


def rejected(code: str, text: str) -> Outcome:
    """Return a rejection; `code` is stable, `text` is for people."""
    return Outcome("rejected", code, text)


class Published(msgspec.Struct):
    """What is published of one operation: the full form, how much of it is the published one, and where the order is.

    `place` is None where it was not placed yet.
    """

    requested_at: int
    sequence: int
    picture: bytes
    strict_length: int
    request_id: str | None
    place: Place | None


class HeldCard:
    """A card's events and pictures while a transaction works on it."""

    __slots__ = ("changes", "events", "fresh", "published", "sealed", "waits")

    def __init__(self, *, waits: bool, fresh: bool) -> None:
        self.waits = waits
        self.fresh = fresh
        self.events: dict[EventKey, Event] = {}
        self.published: dict[str, Published] = {}
        self.sealed: frozenset[str] = frozenset()
        self.changes: dict[str, Row] = {}


class HeldOperation:
    """An operation while a transaction works on it: whose card it is, as stored and as it becomes, and what waits."""

    __slots__ = ("card_id", "fresh", "stored", "waiting")

    def __init__(self, stored: str | None, card_id: str | None, *, fresh: bool) -> None:
        self.stored = stored
        self.card_id = card_id
        self.fresh = fresh
        self.waiting: list[tuple[Event, bytes]] = []


class HeldParcel:
    """A parcel while a transaction works on it: its cards with their windows, and what carriers told of it.

    `links` were there before, `named` come with this batch; `reach` has those that an event of this batch gets to.
    `told` counts events, `events` holds them (sender, event, body) where a site of this batch names the parcel.
    """

    __slots__ = ("events", "fresh", "links", "named", "reach", "told", "waits")

    def __init__(self, *, waits: bool, fresh: bool, told: int) -> None:
        self.waits = waits
        self.fresh = fresh
        self.told = told
        self.links: list[Link] = []
        self.named: list[Link] = []
        self.reach: dict[EventKey, list[Link]] = {}
        self.events: list[tuple[str, Event, bytes]] = []


class Held:
    """The operations, parcels and cards of one transaction. `now` in µs of domain time."""

    def __init__(self, tx: Transaction, may_reach: MayReach) -> None:
        self.tx = tx
        self.now = 0
        self.may_reach = may_reach
        self.operations: dict[OperationKey, HeldOperation] = {}
        self.parcels: dict[ParcelKey, HeldParcel] = {}
        self.cards: dict[CardKey, HeldCard] = {}
        self.more: dict[EventKey, tuple[str, str, str]] = {}
        """Events of parcels that have more cards to reach than this transaction takes: where the rest begins, why."""
        self.copies = 0

    def lock(self, items: Sequence[Item]) -> None:
        """Lock and load all that these events are about."""
        self.lock_operations(items)
        self.lock_parcels(items)
        self.lock_cards(self.cards_of(items), {card_key(item.event) for item in items if begins(item.event)})
        self.load()

    def hold(self, lock: str, add: str, rows: Mapping[tuple[str, str], Row]) -> tuple[list[Row], list[Row]]:
        """Lock the rows of these keys; those that are missing are added. Return what was there, and what is new."""
        there: list[Row] = []
        new: list[Row] = []
        left = sorted(rows)
        while left:  # a row may go or come between the two steps: whoever did it has committed, so look again
            there += self.tx.each(lock, left)
            held = {row[:2] for row in there}
            left = [key for key in left if key not in held]
            new += self.tx.each(add, [rows[key] for key in left])
            held = {row[:2] for row in new}
            left = [key for key in left if key not in held]
        return there, new

    def lock_operations(self, items: Sequence[Item]) -> None:
        """Lock what the events call operations; the first event that begins one says whose card it is."""
        cards: dict[OperationKey, str | None] = {}
        for item in items:
            event = item.event
            if begins(event):
                key = (event.issuer_id or "", operation_id_of(event))
                cards[key] = cards.get(key) or event.card_id
            elif event.operation_id is not None and event.card_id is None:
                cards.setdefault((event.issuer_id or "", event.operation_id), None)
        if not cards:
            return
        rows = {key: (*key, card_id, None if card_id else self.now) for key, card_id in cards.items()}
        there, new = self.hold("lock_operation_refs", "add_operation_refs", rows)
        for row in new:
            self.operations[row[:2]] = HeldOperation(row[2], row[2], fresh=True)
        for row in there:
            self.operations[row[:2]] = HeldOperation(row[2], row[2] or cards[row[:2]], fresh=False)
        self.load_operations([row[:2] for row in there if row[2] is None])

    def load_operations(self, keys: Sequence[OperationKey]) -> None:
        """Load what waits for operations that were only referred to until now."""
        told: dict[OperationKey, list[bytes]] = {}
        for issuer_id, operation_id, body in self.tx.each("events_of_operations", sorted(keys)):
            told.setdefault((issuer_id, operation_id), []).append(body)
        for key, bodies in told.items():
            self.operations[key].waiting = list(zip(decode_events(bodies), bodies, strict=True))

    def lock_parcels(self, items: Sequence[Item]) -> None:
        """Lock the parcels that events are about or that sites name; load the cards in them."""
        known = [operation for operation in self.operations.values() if operation.card_id is not None]
        named = {parcel_of(event) for operation in known for event, _ in operation.waiting}
        named |= {parcel_of(item.event) for item in items if not by_parcel(item.event)}
        wanted = Counter(parcel_of(item.event) for item in items if by_parcel(item.event))
        keys = {key for key in named | wanted.keys() if key is not None}
        if not keys:
            return
        there, new = self.hold(
            "lock_parcels", "add_parcels", {key: (*key, self.now if key in wanted else None) for key in keys}
        )
        for row in new:
            self.parcels[row[:2]] = HeldParcel(waits=row[2] is not None, fresh=True, told=0)
        for row in there:
            self.parcels[row[:2]] = HeldParcel(waits=row[2] is not None, fresh=False, told=row[3] - wanted[row[:2]])
        old = [row[:2] for row in there]
        for carrier, number, *link in self.tx.each(
            "links_of_parcels", [(*key, "", "") for key in old if key in wanted]
        ):
            self.parcels[carrier, number].links.append((link[0], link[1], link[2], link[3]))
        self.load_told({item.event.key for item in items}, [key for key in old if key in named])

    def load_told(self, mine: Collection[EventKey], named: Sequence[ParcelKey]) -> None:
        """Load what carriers told of the parcels that sites name, but for this batch, whose turn comes."""
        for carrier, number, sender, body in self.tx.each("events_of_parcels", named):
            [event] = decode_events([body])
            if event.key not in mine:
                self.parcels[carrier, number].events.append((sender, event, body))

    def lock_cards(self, keys: Iterable[CardKey], begun: Iterable[CardKey] = ()) -> None:
        """Lock the cards, whether an order exists or not."""
        rows: dict[CardKey, Row] = {key: (*key, self.now) for key in keys}
        rows.update((key, (*key, None)) for key in begun)
        there, new = self.hold("lock_cards", "add_cards", rows)
        for row in there:
            self.cards[row[0], row[1]] = HeldCard(waits=row[2] is not None, fresh=False)
        for row in new:
            self.cards[row[0], row[1]] = HeldCard(waits=row[2] is not None, fresh=True)

    def cards_of(self, items: Sequence[Item]) -> set[CardKey]:
        """Return the cards that these events reach."""
        keys: set[CardKey] = set()
        for item in items:
            card = self.card_of(item.event)
            if card is not None:
                keys.add(card)
            elif by_parcel(item.event):
                keys.update(self.reached(item))
        return keys

    def card_of(self, event: Event) -> CardKey | None:
        """Return the card an event names, by itself or by an operation that is known."""
        if event.card_id is not None:
            return event.issuer_id or "", event.card_id
        if event.operation_id is None:
            return None
        operation = self.operations[event.issuer_id or "", event.operation_id]
        return None if operation.card_id is None else (event.issuer_id or "", operation.card_id)

    def reached(self, item: Item) -> list[CardKey]:
        """Return the cards that a parcel's event reaches now; note where the rest begins."""
        event = item.event
        parcel = self.parcels[event.carrier or "", event.tracking_number or ""]
        chunk = parcel.links[:MAX_FANOUT] if self.copies < MAX_COPIES else []
        self.copies += len(chunk)
        if len(chunk) < len(parcel.links):
            self.more[event.key] = (*(chunk[-1][:2] if chunk else ("", "")), item.cause)
        parcel.reach[event.key] = chunk
        return self.within_reach(item, chunk)

    def within_reach(self, item: Item, links: Iterable[Link]) -> list[CardKey]:
        """Return the cards of these links that an event may be given to."""
        return [link[:2] for link in links if in_window(item.event, link) and self.may_reach(item.sender, link[0])]

    def load(self) -> None:
        """Load the events and pictures of the cards that were there before."""
        keys = sorted(key for key, card in self.cards.items() if not card.fresh)
        bodies: dict[CardKey, list[bytes]] = {}
        for issuer_id, card_id, body in self.tx.each("events_of_cards", keys):
            bodies.setdefault((issuer_id, card_id), []).append(body)
        for key, stored in bodies.items():
            self.cards[key].events = {event.key: event for event in decode_events(stored)}
        for issuer_id, card_id, operation_id, *stored_row in self.tx.each("operations_of_cards", keys):
            at, sequence, picture, length, sealed_at, request_id, *where = stored_row
            card = self.cards[issuer_id, card_id]
            place = Place(where[0], where[1], bool(where[2]), *where[3:]) if where[0] else None
            card.published[operation_id] = Published(at, sequence, bytes(picture), length, request_id, place)
            if sealed_at is not None:
                card.sealed |= {operation_id}


def begins(event: Event) -> TypeGuard[ProductionEvent]:
    """Tell whether an event begins an order."""
    return isinstance(event, ProductionEvent) and event.kind is ProductionKind.REQUESTED


def by_parcel(event: Event) -> bool:
    """Tell whether an event is about a parcel and names no card."""
    return event.card_id is None and event.operation_id is None


def parcel_of(event: Event) -> tuple[str, str] | None:
    """Return the parcel an event names; a carrier's event that names a card needs none."""
    if event.tracking_number is None or event.carrier is None:
        return None
    if by_parcel(event) or isinstance(event, ProductionEvent):
        return event.carrier, event.tracking_number
    return None


def key_row(item: Item) -> Row:
    """Return the inbox row of an event; what is told of a parcel is kept there, for cards that are linked later."""
    event = item.event
    carrier, number = (event.carrier, event.tracking_number) if by_parcel(event) else (None, None)
    body = item.body if carrier is not None else None
    return event.source, event.event_id, item.fingerprint, item.sender, event.recorded_at, carrier, number, body


def card_key(event: Event) -> CardKey:
    """Return the card that an event names by itself."""
    return event.issuer_id or "", event.card_id or ""


def in_window(event: Event, link: Link) -> bool:
    """Tell whether an event lies in the window of time in which a parcel's events reach a card."""
    return link[2] - PARCEL_BEFORE <= instant_of(event) <= link[3] + PARCEL_AFTER


def ends_parcel(event: Event) -> bool:
    """Tell whether an event ends a parcel's story."""
    return isinstance(event, CarrierEvent) and (
        event.kind == "returned" or event.shipment_status is ShipmentStatus.DELIVERED
    )
