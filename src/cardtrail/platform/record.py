"""One transaction of ingest: lock, take the keys, fold each event, publish what changed.

The order of locks is always parcels, operations, cards, issuer counters, each sorted; so no two transactions wait
for each other in a ring, and an event and its order that commit at the same time meet at the card's row.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard

import msgspec

from cardtrail.core.event import CarrierEvent, Event, ProductionEvent, ProductionKind, Retraction
from cardtrail.core.operation import operation_of
from cardtrail.core.order import (
    PARCEL_AFTER,
    PARCEL_BEFORE,
    Order,
    Projection,
    instant_of,
    operation_id_of,
    project,
)
from cardtrail.core.status import ShipmentStatus
from cardtrail.db import Row, Transaction
from cardtrail.protocol.codec import answer_of, decode_events, etag_of, picture_of

MAX_SITE_EVENTS = 400
MAX_CARRIER_EVENTS = 600
RESERVED_CARRIER_EVENTS = 50
"""Of an order's 1,000 events 400 are the sites' and 600 the carriers'; the last 50 of these are kept for what ends a
parcel's story, so that a noisy carrier cannot block `Delivered`."""
MAX_RETRACTIONS = 100
"""Most retractions a card takes."""
MAX_WAITING = 100
"""Most events of a card that may wait for an order."""
MAX_FANOUT = 1_000
"""Most cards one parcel's event reaches in one transaction; the rest follow in chunks."""
MAX_COPIES = 4_000
"""Most copies of parcel events in one transaction."""

CardKey = tuple[str, str]
EventKey = tuple[str, str]
MayReach = Callable[[str, str], bool]
"""(sender, issuer id) -> may this sender's events reach that issuer's cards?"""


class Item(msgspec.Struct, frozen=True):
    """An event on its way in: who sent it, what it is, how it is stored, and a hash of its content."""

    sender: str
    event: Event
    body: bytes
    fingerprint: bytes


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
    """What is published of one operation."""

    requested_at: int
    sequence: int
    etag: str


class _Card:
    """A card's events and pictures while a transaction works on it."""

    __slots__ = ("changes", "events", "published", "sealed", "waits")

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        self.events: dict[EventKey, Event] = {}
        self.published: dict[str, Published] = {}
        self.sealed: frozenset[str] = frozenset()
        self.changes: dict[str, Row] = {}


def record(tx: Transaction, items: Sequence[Item], may_reach: MayReach, *, room: bool = True) -> list[Outcome]:
    """Record events in one transaction and return each one's outcome, in order. May be run again.

    Without `room` no further card or parcel may begin to wait for its order.
    """
    return _Recording(tx, may_reach, room=room).run(items)


def resume_fanout(tx: Transaction, may_reach: MayReach) -> int:
    """Bring one waiting parcel event to its next cards; return how many it reached, 0 when none waits."""
    return _Recording(tx, may_reach).resume()


class _Recording:
    def __init__(self, tx: Transaction, may_reach: MayReach, *, room: bool = True) -> None:
        self.tx = tx
        self.now = 0
        self.room = room
        self.may_reach = may_reach
        self.refs: dict[tuple[str, str], str | None] = {}
        self.found: list[tuple[str, str, str]] = []
        self.links: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
        self.more: list[tuple[str, str, str, str]] = []
        self.cards: dict[CardKey, _Card] = {}
        self.outcomes: dict[EventKey, Outcome] = {}
        self.parcel_events: dict[tuple[str, str], list[tuple[str, Event, bytes]]] = {}
        self.waited: dict[tuple[str, str], list[tuple[Event, bytes]]] = {}
        self.saved: list[Row] = []
        self.saved_links: list[Row] = []
        self.forgotten: list[EventKey] = []
        self.copies = 0

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        first: dict[EventKey, Item] = {}
        for item in items:
            first.setdefault(item.event.key, item)
        batch = list(first.values())
        self.now = max((item.event.recorded_at for item in batch), default=0)
        self.lock_parcels(batch)
        self.lock_operations(batch)
        self.lock_cards(self.cards_of(batch))
        fresh = self.take_keys(batch)
        self.load(fresh)
        for item in fresh:
            self.outcomes[item.event.key] = self.fold(item)
        self.save()
        return [self.answer(item, first[item.event.key]) for item in items]

    def answer(self, item: Item, first: Item) -> Outcome:
        """A key that came twice in one batch is answered as if it had come twice in two."""
        outcome = self.outcomes[item.event.key]
        if item is first or outcome.result == "rejected":
            return outcome
        return DUPLICATE if item.fingerprint == first.fingerprint else _CONFLICT

    # ── locks ──

    def lock_parcels(self, items: Sequence[Item]) -> None:
        parcels = sorted({parcel for item in items if (parcel := _parcel_of(item.event))})
        if not parcels:
            return
        named = {parcel for item in items if (parcel := _parcel_of(item.event)) and not _by_parcel(item.event)}
        self.tx.each("add_parcels", [(*parcel, None if parcel in named else self.now) for parcel in parcels])
        self.tx.each("lock_parcels", parcels)
        wanted = sorted({parcel for item in items if (parcel := _parcel_of(item.event)) and _by_parcel(item.event)})
        for carrier, number, issuer_id, card_id, at in self.tx.each("links_of_parcels", [(*p, "", "") for p in wanted]):
            self.links.setdefault((carrier, number), []).append((issuer_id, card_id, at))

    def lock_operations(self, items: Sequence[Item]) -> None:
        rows: dict[tuple[str, str], str | None] = {}
        for item in items:
            event = item.event
            if _begins(event):
                rows[event.issuer_id or "", operation_id_of(event)] = event.card_id
            elif event.operation_id is not None and event.card_id is None:
                rows.setdefault((event.issuer_id or "", event.operation_id), None)
        if not rows:
            return
        keys = sorted(rows)
        self.tx.each("add_operation_refs", [(*key, rows[key]) for key in keys])
        for issuer_id, operation_id, card_id in self.tx.each("lock_operation_refs", keys):
            key = (issuer_id, operation_id)
            if card_id is None and rows[key] is not None:
                self.found.append((*key, rows[key] or ""))
                card_id = rows[key]  # noqa: PLW2901 -- the reference has just found its card
            self.refs[key] = card_id

    def lock_cards(self, keys: Iterable[CardKey]) -> None:
        ordered = sorted(keys)
        if not ordered:
            return
        self.take_cards(ordered)
        missing = [key for key in ordered if key not in self.cards]
        if missing:
            self.tx.each("add_cards", [(*key, self.now) for key in missing])
            self.take_cards(missing)

    def take_cards(self, keys: Sequence[CardKey]) -> None:
        for issuer_id, card_id, waiting_since in self.tx.each("lock_cards", keys):
            self.cards[issuer_id, card_id] = _Card(waits=waiting_since is not None)

    def cards_of(self, items: Sequence[Item]) -> set[CardKey]:
        keys: set[CardKey] = set()
        for item in items:
            card = self.card_of(item.event)
            if card is not None:
                keys.add(card)
            elif _by_parcel(item.event):
                keys.update(self.reached(item))
        return keys

    def card_of(self, event: Event) -> CardKey | None:
        """Return the card an event names, by itself or by an operation that is known."""
        if event.card_id is not None:
            return event.issuer_id or "", event.card_id
        if event.operation_id is None:
            return None
        card_id = self.refs.get((event.issuer_id or "", event.operation_id))
        return None if card_id is None else (event.issuer_id or "", card_id)

    def reached(self, item: Item) -> list[CardKey]:
        """Return the cards that a parcel's event reaches now; note where the rest begins."""
        event = item.event
        links = self.links.get((event.carrier or "", event.tracking_number or ""), [])
        chunk = links[:MAX_FANOUT] if self.copies < MAX_COPIES else []
        self.copies += len(chunk)
        if len(chunk) < len(links):
            after = chunk[-1][:2] if chunk else ("", "")
            self.more.append((*event.key, *after))
        return [(i, c) for i, c, at in chunk if _in_window(event, at) and self.may_reach(item.sender, i)]

    # ── keys ──

    def take_keys(self, items: Sequence[Item]) -> list[Item]:
        """Take the keys of the events; return those that are new, answer the others."""
        rows = sorted((self.key_row(item) for item in items), key=lambda row: row[:2])
        new = set(self.tx.each("record_events", rows))
        fresh = [item for item in items if item.event.key in new]
        if len(fresh) == len(items):
            return fresh
        known = [item for item in items if item.event.key not in new]
        prints = {(s, e): f for s, e, f in self.tx.each("known_events", [item.event.key for item in known])}
        for item in known:
            same = bytes(prints.get(item.event.key, b"")) == item.fingerprint
            self.outcomes[item.event.key] = DUPLICATE if same else _CONFLICT
        self.more = [entry for entry in self.more if entry[:2] in new]
        return fresh

    def key_row(self, item: Item) -> Row:
        event = item.event
        carrier, number = (event.carrier, event.tracking_number) if _by_parcel(event) else (None, None)
        waits = event.operation_id is not None and self.card_of(event) is None
        return (
            event.source, event.event_id, item.fingerprint, item.sender, event.recorded_at,
            event.issuer_id if waits else None, event.operation_id if waits else None, carrier, number,
            item.body if waits or carrier is not None else None,
        )  # fmt: skip

    # ── fold ──

    def load(self, items: Sequence[Item]) -> None:
        keys = sorted(self.cards)
        bodies: dict[CardKey, list[bytes]] = {}
        for issuer_id, card_id, body in self.tx.each("events_of_cards", keys):
            bodies.setdefault((issuer_id, card_id), []).append(body)
        for key, stored in bodies.items():
            self.cards[key].events = {event.key: event for event in decode_events(stored)}
        for issuer_id, card_id, operation_id, *published, sealed_at in self.tx.each("operations_of_cards", keys):
            card = self.cards[issuer_id, card_id]
            card.published[operation_id] = Published(*published)
            if sealed_at is not None:
                card.sealed |= {operation_id}
        self.load_parcel_events(items)
        for issuer_id, operation_id, body in self.tx.each("events_of_operations", [key[:2] for key in self.found]):
            waiting = self.waited.setdefault((issuer_id, operation_id), [])
            waiting.append((decode_events([body])[0], body))

    def load_parcel_events(self, items: Sequence[Item]) -> None:
        """Load what carriers told of the parcels that sites name in this batch."""
        named = sorted({p for item in items if (p := _parcel_of(item.event)) and not _by_parcel(item.event)})
        for carrier, number, sender, body in self.tx.each("events_of_parcels", named):
            told = self.parcel_events.setdefault((carrier, number), [])
            told.append((sender, decode_events([body])[0], body))

    def fold(self, item: Item) -> Outcome:
        event = item.event
        card = self.card_of(event)
        if card is not None:
            return self.fold_named(card, item)
        if not _by_parcel(event):
            return ACCEPTED
        reached = self.reached_again(item)
        if not reached and not self.room:
            self.forgotten.append(event.key)
            return rejected("WAITING_FULL", "too many parcels wait for their orders")
        for key in reached:
            self.give(key, event, item.body)
        return ACCEPTED

    def reached_again(self, item: Item) -> list[CardKey]:
        """Return the locked cards of a parcel's event, those linked by this very batch among them."""
        links = self.links.get((item.event.carrier or "", item.event.tracking_number or ""), [])
        return [
            (i, c) for i, c, at in links
            if (i, c) in self.cards and _in_window(item.event, at) and self.may_reach(item.sender, i)
        ]  # fmt: skip

    def fold_named(self, key: CardKey, item: Item) -> Outcome:
        event = item.event
        if _begins(event) and self.refs[key[0], operation_id_of(event)] != key[1]:
            self.forgotten.append(event.key)
            return rejected("CONFLICT", "operationId: already names an order of another card")
        refusal = self.give(key, event, item.body)
        if refusal is not None:
            self.forgotten.append(event.key)
            return refusal
        if _begins(event):
            for waiting, body in self.waited.pop((key[0], operation_id_of(event)), []):
                self.give(key, waiting, body)
        parcel = _parcel_of(event)
        if parcel is not None and isinstance(event, ProductionEvent):
            self.link(key, parcel, event)
        return ACCEPTED

    def link(self, key: CardKey, parcel: tuple[str, str], event: ProductionEvent) -> None:
        """A site has named the card's parcel: take in what carriers told of it, oldest first."""
        at = instant_of(event)
        self.links.setdefault(parcel, []).append((*key, at))
        self.saved_links.append((*key, *parcel, at))
        told = sorted(self.parcel_events.get(parcel, []), key=lambda entry: (instant_of(entry[1]), entry[1].key))
        for sender, scan, body in told:
            if _in_window(scan, at) and self.may_reach(sender, key[0]):
                self.give(key, scan, body)

    def give(self, key: CardKey, event: Event, body: bytes) -> Outcome | None:
        """Give an event to a card and fold it; return why not, leaving no trace, if the card cannot take it."""
        card = self.cards[key]
        if event.key in card.events:
            return None
        card.events[event.key] = event
        projection = project(card.events.values(), card.sealed)
        refusal = _refusal(card, projection, event, room=self.room)
        if refusal is not None:
            del card.events[event.key]
            return refusal
        for order in projection.orders:
            if order.operation_id not in card.sealed:
                self.publish(key, card, order)
        self.saved.append((*key, *event.key, event.recorded_at, int(_begins(event)), body))
        return None

    def publish(self, key: CardKey, card: _Card, order: Order) -> None:
        """Draw an order's picture; if it differs from the published one, it is the next in sequence."""
        picture = picture_of(operation_of(order))
        published = card.published.get(order.operation_id)
        sequence = published.sequence if published else 0
        if published and etag_of(answer_of([picture.sealed(sequence)])) == published.etag:
            return
        full = picture.sealed(sequence + 1)
        etag = etag_of(answer_of([full]))
        card.published[order.operation_id] = Published(order.requested_at, sequence + 1, etag)
        card.changes[order.operation_id] = (
            *key, order.requested_at, order.operation_id, sequence + 1, 0, order.ended_at, self.now,
            full, picture.strict_length, etag,
        )  # fmt: skip

    # ── save ──

    def save(self) -> None:
        tx = self.tx
        if self.forgotten:
            tx.each("forget_events", self.forgotten)
        tx.each("save_events", self.saved)
        if self.saved_links:
            tx.each("save_links", sorted(set(self.saved_links)))
            tx.each("stop_waiting_parcels", sorted({link[2:4] for link in self.saved_links}))
        if self.found:
            tx.each("set_operation_card", self.found)
            tx.each("settle_operation_events", [key[:2] for key in self.found])
        for source, event_id, after_issuer, after_card in self.more:
            tx.run("save_fanout", source=source, event_id=event_id, after_issuer=after_issuer, after_card=after_card)
        tx.each("stop_waiting", [key for key, card in sorted(self.cards.items()) if card.waits and card.published])
        self.publish_all()

    def publish_all(self) -> None:
        """Number the changes and write the pictures; the counters are the last lock before the commit."""
        changed: dict[str, list[Row]] = {}
        for (issuer_id, _), card in sorted(self.cards.items()):
            changed.setdefault(issuer_id, []).extend(card.changes.values())
        counts = [(issuer_id, len(rows)) for issuer_id, rows in sorted(changed.items()) if rows]
        newest: dict[str, int] = dict(self.tx.each("count_changes", counts))
        rows = [
            (*row[:5], newest[issuer_id] - len(rows) + place, *row[6:])
            for issuer_id, rows in changed.items() if rows
            for place, row in enumerate(rows, 1)
        ]  # fmt: skip
        self.tx.each("save_operations", rows)

    # ── the rest of a large parcel ──

    def resume(self) -> int:
        row = self.tx.one("next_fanout")
        if row is None:
            return 0
        source, event_id, after_issuer, after_card, sender, body = row
        event = decode_events([body])[0]
        self.now = event.recorded_at
        parcel = (event.carrier or "", event.tracking_number or "")
        self.tx.each("lock_parcels", [parcel])
        links = [tuple(link[2:]) for link in self.tx.each("links_of_parcels", [(*parcel, after_issuer, after_card)])]
        chunk = links[:MAX_FANOUT]
        keys = [(i, c) for i, c, at in chunk if _in_window(event, at) and self.may_reach(sender, i)]
        self.lock_cards(keys)
        self.load([])
        for key in keys:
            self.give(key, event, body)
        if len(chunk) < len(links):
            self.more.append((source, event_id, *chunk[-1][:2]))
        else:
            self.tx.run("end_fanout", source=source, event_id=event_id)
        self.save()
        return max(1, len(chunk))


_CONFLICT = rejected("CONFLICT", "eventId: known with other content")


def _begins(event: Event) -> TypeGuard[ProductionEvent]:
    return isinstance(event, ProductionEvent) and event.kind is ProductionKind.REQUESTED


def _by_parcel(event: Event) -> bool:
    """Tell whether an event is about a parcel and names no card."""
    return event.card_id is None and event.operation_id is None


def _parcel_of(event: Event) -> tuple[str, str] | None:
    """Return the parcel an event names; a carrier's event that names a card needs none."""
    if event.tracking_number is None or event.carrier is None:
        return None
    if _by_parcel(event) or isinstance(event, ProductionEvent):
        return event.carrier, event.tracking_number
    return None


def _in_window(event: Event, linked_at: int) -> bool:
    return linked_at - PARCEL_BEFORE <= instant_of(event) <= linked_at + PARCEL_AFTER


def _refusal(card: _Card, projection: Projection, event: Event, *, room: bool) -> Outcome | None:
    """Return why a card cannot take an event, or None."""
    if isinstance(event, Retraction):
        taken = sum(isinstance(known, Retraction) for known in card.events.values())
        full = taken > MAX_RETRACTIONS
        return rejected("ORDER_FULL", f"a card takes {MAX_RETRACTIONS} retractions") if full else None
    home = projection.home.get(event.key)
    if home is None:
        if len(projection.waiting) > MAX_WAITING:
            return rejected("WAITING_FULL", f"{MAX_WAITING} events wait for this card's order")
        return None if room or card.published else rejected("WAITING_FULL", "too many cards wait for their orders")
    if home in card.sealed:
        return rejected("ORDER_SEALED", "the order was settled long ago and takes no events")
    order = next(order for order in projection.orders if order.operation_id == home)
    published = card.published.get(home)
    if published and published.requested_at != order.requested_at:
        return rejected("CONFLICT", "operationId: already requested at another time")
    return _full(order, event)


def _full(order: Order, event: Event) -> Outcome | None:
    if isinstance(event, ProductionEvent):
        most, taken = MAX_SITE_EVENTS, order.site_events
    else:
        ends = isinstance(event, CarrierEvent) and (
            event.kind == "returned" or event.shipment_status is ShipmentStatus.DELIVERED
        )
        most, taken = MAX_CARRIER_EVENTS - (0 if ends else RESERVED_CARRIER_EVENTS), order.carrier_events
    return rejected("ORDER_FULL", f"the order has {most} events of this side") if taken > most else None
