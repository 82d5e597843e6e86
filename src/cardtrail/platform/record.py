"""One transaction of ingest: take the keys, lock, fold each event, publish what changed.

The order of locks is always keys, operations, parcels, cards, issuer counters, each sorted; so no two transactions
wait for each other in a ring, and an event and its order that commit at the same time meet at the card's row. Keys
come first, because what is already known may change nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from cardtrail.platform.outbox import Change, Outbox
from cardtrail.protocol.codec import answer_of, decode_events, etag_of, picture_of, strict_form

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
    """What is published of one operation: the full form and how much of it is the published one."""

    requested_at: int
    sequence: int
    picture: bytes
    strict_length: int


class _Card:
    """A card's events and pictures while a transaction works on it."""

    __slots__ = ("changes", "events", "fresh", "published", "sealed", "waits")

    def __init__(self, *, waits: bool, fresh: bool) -> None:
        self.waits = waits
        self.fresh = fresh
        self.events: dict[EventKey, Event] = {}
        self.published: dict[str, Published] = {}
        self.sealed: frozenset[str] = frozenset()
        self.changes: dict[str, Row] = {}


class _Operation:
    """An operation while a transaction works on it: whose card it is, as stored and as it becomes, and what waits."""

    __slots__ = ("card_id", "fresh", "stored", "waiting")

    def __init__(self, stored: str | None, card_id: str | None, *, fresh: bool) -> None:
        self.stored = stored
        self.card_id = card_id
        self.fresh = fresh
        self.waiting: list[tuple[Event, bytes]] = []


class _Parcel:
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


def record(
    tx: Transaction, items: Sequence[Item], may_reach: MayReach, outbox: Outbox, *, room: bool = True
) -> list[Outcome]:
    """Record events in one transaction and return each one's outcome, in order. May be run again.

    A key that comes twice in one batch is answered as if it had come in two. Without `room` no further card, parcel
    or operation may begin to wait for its order.
    """
    outcomes: dict[int, Outcome] = {}
    left: Sequence[int] = range(len(items))
    while left:
        first: dict[EventKey, int] = {}
        for place in left:
            first.setdefault(items[place].event.key, place)
        told = _Recording(tx, may_reach, outbox, room=room).run([items[place] for place in first.values()])
        outcomes.update(zip(first.values(), told, strict=True))
        if len(first) == len(left):
            break
        for place in left:
            if place not in outcomes:
                known = first[items[place].event.key]
                again = _said_again(items[place], items[known], outcomes[known])
                if again is not None:
                    outcomes[place] = again
        left = [place for place in left if place not in outcomes]
    return [outcomes[place] for place in range(len(items))]


def _said_again(item: Item, first: Item, outcome: Outcome) -> Outcome | None:
    """Return what becomes of a key's second event; None where it must be tried, since the first was refused."""
    if item.fingerprint == first.fingerprint:
        return outcome if outcome.result == "rejected" else DUPLICATE
    return None if outcome.result == "rejected" else _CONFLICT


def resume_fanout(tx: Transaction, may_reach: MayReach, outbox: Outbox) -> int:
    """Bring one waiting parcel event to its next cards; return how many it reached, 0 when none waits."""
    return _Recording(tx, may_reach, outbox).resume()


class _Recording:
    def __init__(self, tx: Transaction, may_reach: MayReach, outbox: Outbox, *, room: bool = True) -> None:
        self.tx = tx
        self.outbox = outbox
        self.steps: list[Change] = []
        self.now = 0
        self.room = room
        self.may_reach = may_reach
        self.operations: dict[OperationKey, _Operation] = {}
        self.parcels: dict[ParcelKey, _Parcel] = {}
        self.more: dict[EventKey, tuple[str, str]] = {}
        self.cards: dict[CardKey, _Card] = {}
        self.saved: list[Row] = []
        self.saved_links: dict[tuple[CardKey, ParcelKey], tuple[int, int]] = {}
        self.awaited: list[Row] = []
        self.forgotten: list[EventKey] = []
        self.copies = 0

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        """Record events of different keys; return their outcomes, in order."""
        self.now = max(item.event.recorded_at for item in items)
        outcomes = self.take_keys(items)
        fresh = [item for item in items if item.event.key not in outcomes]
        if fresh:
            self.lock_operations(fresh)
            self.lock_parcels(fresh)
            self.lock_cards(self.cards_of(fresh), {_card_key(item.event) for item in fresh if _begins(item.event)})
            self.load()
            outcomes.update((item.event.key, self.fold(item)) for item in fresh)
            self.save()
        return [outcomes[item.event.key] for item in items]

    # ── keys ──

    def take_keys(self, items: Sequence[Item]) -> dict[EventKey, Outcome]:
        """Take the keys of the events; return the outcomes of those that are known."""
        rows = sorted(map(_key_row, items), key=lambda row: row[:2])
        new = set(self.tx.each("record_events", rows))
        if len(new) == len(items):
            return {}
        known = {item.event.key: item.fingerprint for item in items if item.event.key not in new}
        prints = {(s, e): f for s, e, f in self.tx.each("known_events", list(known))}
        return {
            key: DUPLICATE if bytes(prints.get(key, b"")) == fingerprint else _CONFLICT
            for key, fingerprint in known.items()
        }

    # ── locks ──

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
            if _begins(event):
                key = (event.issuer_id or "", operation_id_of(event))
                cards[key] = cards.get(key) or event.card_id
            elif event.operation_id is not None and event.card_id is None:
                cards.setdefault((event.issuer_id or "", event.operation_id), None)
        if not cards:
            return
        rows = {key: (*key, card_id, None if card_id else self.now) for key, card_id in cards.items()}
        there, new = self.hold("lock_operation_refs", "add_operation_refs", rows)
        for row in new:
            self.operations[row[:2]] = _Operation(row[2], row[2], fresh=True)
        for row in there:
            self.operations[row[:2]] = _Operation(row[2], row[2] or cards[row[:2]], fresh=False)
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
        named = {_parcel_of(event) for operation in known for event, _ in operation.waiting}
        named |= {_parcel_of(item.event) for item in items if not _by_parcel(item.event)}
        wanted = Counter(_parcel_of(item.event) for item in items if _by_parcel(item.event))
        keys = {key for key in named | wanted.keys() if key is not None}
        if not keys:
            return
        there, new = self.hold(
            "lock_parcels", "add_parcels", {key: (*key, self.now if key in wanted else None) for key in keys}
        )
        for row in new:
            self.parcels[row[:2]] = _Parcel(waits=row[2] is not None, fresh=True, told=0)
        for row in there:
            self.parcels[row[:2]] = _Parcel(waits=row[2] is not None, fresh=False, told=row[3] - wanted[row[:2]])
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
            self.cards[row[0], row[1]] = _Card(waits=row[2] is not None, fresh=False)
        for row in new:
            self.cards[row[0], row[1]] = _Card(waits=row[2] is not None, fresh=True)

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
        operation = self.operations[event.issuer_id or "", event.operation_id]
        return None if operation.card_id is None else (event.issuer_id or "", operation.card_id)

    def reached(self, item: Item) -> list[CardKey]:
        """Return the cards that a parcel's event reaches now; note where the rest begins."""
        event = item.event
        parcel = self.parcels[event.carrier or "", event.tracking_number or ""]
        chunk = parcel.links[:MAX_FANOUT] if self.copies < MAX_COPIES else []
        self.copies += len(chunk)
        if len(chunk) < len(parcel.links):
            self.more[event.key] = chunk[-1][:2] if chunk else ("", "")
        parcel.reach[event.key] = chunk
        return self.within_reach(item, chunk)

    def within_reach(self, item: Item, links: Iterable[Link]) -> list[CardKey]:
        """Return the cards of these links that an event may be given to."""
        return [link[:2] for link in links if _in_window(item.event, link) and self.may_reach(item.sender, link[0])]

    # ── fold ──

    def load(self) -> None:
        """Load the events and pictures of the cards that were there before."""
        keys = sorted(key for key, card in self.cards.items() if not card.fresh)
        bodies: dict[CardKey, list[bytes]] = {}
        for issuer_id, card_id, body in self.tx.each("events_of_cards", keys):
            bodies.setdefault((issuer_id, card_id), []).append(body)
        for key, stored in bodies.items():
            self.cards[key].events = {event.key: event for event in decode_events(stored)}
        for issuer_id, card_id, operation_id, at, sequence, picture, length, sealed_at in self.tx.each(
            "operations_of_cards", keys
        ):
            card = self.cards[issuer_id, card_id]
            card.published[operation_id] = Published(at, sequence, bytes(picture), length)
            if sealed_at is not None:
                card.sealed |= {operation_id}

    def fold(self, item: Item) -> Outcome:
        card = self.card_of(item.event)
        if card is not None:
            refusal = self.fold_named(card, item)
        elif _by_parcel(item.event):
            refusal = self.fold_told(item)
        else:
            refusal = self.await_operation(item)
        if refusal is None:
            return ACCEPTED
        self.forgotten.append(item.event.key)
        self.more.pop(item.event.key, None)
        return refusal

    def fold_named(self, key: CardKey, item: Item) -> Outcome | None:
        """Fold an event that names a card."""
        event = item.event
        if not _begins(event):
            return self.take(key, event, item.body)
        operation = self.operations[key[0], operation_id_of(event)]
        if operation.card_id not in (key[1], None):
            return rejected("CONFLICT", "operationId: already names an order of another card")
        operation.card_id = key[1]
        refusal = self.take(key, event, item.body)
        if refusal is None:
            self.give_all(key, operation.waiting)
            for waiting, _ in operation.waiting:
                self.link_named(key, waiting)
        elif operation_id_of(event) not in self.cards[key].published:
            operation.card_id = None  # the order that would have begun it did not
        return refusal

    def fold_told(self, item: Item) -> Outcome | None:
        """Fold what a carrier told of a parcel; it is refused where every card that it reaches refuses it."""
        event = item.event
        parcel = self.parcels[event.carrier or "", event.tracking_number or ""]
        reached = self.within_reach(item, [*parcel.reach[event.key], *parcel.named])
        if not reached and not self.room:
            return rejected("WAITING_FULL", "too many parcels wait for their orders")
        refusal = _parcel_refusal(parcel, event)
        if refusal is not None:
            return refusal
        refusals = [self.give(key, event, item.body) for key in reached]
        if refusals and None not in refusals and event.key not in self.more:
            return refusals[0]
        parcel.told += 1
        parcel.events.append((item.sender, event, item.body))
        return None

    def await_operation(self, item: Item) -> Outcome | None:
        """Keep an event until its operation is known."""
        event = item.event
        operation = self.operations[event.issuer_id or "", event.operation_id or ""]
        if not self.room:
            return rejected("WAITING_FULL", "too many operations wait for their orders")
        if len(operation.waiting) >= MAX_WAITING:
            return rejected("WAITING_FULL", f"{MAX_WAITING} events wait for this operation's order")
        operation.waiting.append((event, item.body))
        self.awaited.append((*event.key, event.issuer_id, event.operation_id, item.body))
        return None

    def take(self, key: CardKey, event: Event, body: bytes) -> Outcome | None:
        """Give a card an event that names it, and link it to the parcel that a site names."""
        refusal = self.give(key, event, body)
        if refusal is None:
            self.link_named(key, event)
        return refusal

    def link_named(self, key: CardKey, event: Event) -> None:
        """Where a site names the card's parcel, note it and take in what carriers told of it."""
        parcel_key = _parcel_of(event)
        if parcel_key is None or not isinstance(event, ProductionEvent) or event.key not in self.cards[key].events:
            return
        parcel, at = self.parcels[parcel_key], instant_of(event)
        parcel.named.append((*key, at, at))
        first, last = self.saved_links.get((key, parcel_key), (at, at))
        self.saved_links[key, parcel_key] = (min(first, at), max(last, at))
        link = parcel.named[-1]
        self.give_all(key, [
            (event, body) for sender, event, body in parcel.events
            if _in_window(event, link) and self.may_reach(sender, key[0])
        ])  # fmt: skip

    def give_all(self, key: CardKey, told: Iterable[tuple[Event, bytes]]) -> None:
        """Give a card what waited for it: all in one fold, or one by one, oldest first, where it cannot take all."""
        card = self.cards[key]
        fresh = [entry for entry in told if entry[0].key not in card.events]
        if not fresh:
            return
        card.events.update((event.key, event) for event, _ in fresh)
        projection = project(card.events.values(), card.sealed)
        if all(_refusal(card, projection, event, room=self.room) is None for event, _ in fresh):
            self.accept(key, projection, fresh)
            return
        for event, _ in fresh:
            del card.events[event.key]
        full = False
        for event, body in sorted(fresh, key=lambda entry: (instant_of(entry[0]), entry[0].key)):
            if not full or _ends_parcel(event):
                full = self.give(key, event, body) is not None or full

    def give(self, key: CardKey, event: Event, body: bytes) -> Outcome | None:
        """Give an event to a card and fold it; return why not, leaving no trace, if the card cannot take it."""
        card = self.cards[key]
        if event.key in card.events:
            return None
        if _begins(event) and len(card.published) >= MAX_ORDERS and operation_id_of(event) not in card.published:
            return rejected("ORDER_FULL", f"a card takes {MAX_ORDERS} orders")
        card.events[event.key] = event
        projection = project(card.events.values(), card.sealed)
        refusal = _refusal(card, projection, event, room=self.room)
        if refusal is not None:
            del card.events[event.key]
            return refusal
        self.accept(key, projection, [(event, body)])
        return None

    def accept(self, key: CardKey, projection: Projection, events: Iterable[tuple[Event, bytes]]) -> None:
        """Publish what a card's events have become, and keep those that are new."""
        card = self.cards[key]
        for order in projection.orders:
            if order.operation_id not in card.sealed:
                self.publish(key, card, order)
        for event, body in events:
            self.saved.append((*key, *event.key, event.recorded_at, int(_begins(event)), body))

    def publish(self, key: CardKey, card: _Card, order: Order) -> None:
        """Draw an order's picture; if it differs from the published one, it is the next in sequence."""
        operation = operation_of(order)
        picture = picture_of(operation)
        before = card.published.get(order.operation_id)
        sequence = before.sequence if before else 0
        if before and picture.sealed(sequence) == before.picture:
            return
        full = picture.sealed(sequence + 1)
        card.published[order.operation_id] = Published(order.requested_at, sequence + 1, full, picture.strict_length)
        card.changes[order.operation_id] = (
            *key, order.requested_at, order.operation_id, sequence + 1, 0, order.ended_at, self.now,
            full, picture.strict_length, etag_of(answer_of([full])),
        )  # fmt: skip
        is_published = before is None or strict_form(before.picture, before.strict_length) != picture.published
        self.steps.append(Change(
            *key, order.operation_id, operation.operation, order.stage, sequence + 1, full, picture.strict_length,
            is_published,
        ))  # fmt: skip

    # ── save ──

    def save(self) -> None:
        tx = self.tx
        if self.forgotten:
            tx.each("forget_events", self.forgotten)
        tx.each("save_events", self.saved)
        if self.operations:
            self.save_operations()
        if self.parcels:
            self.save_parcels()
        self.save_cards()
        self.publish_all()

    def save_operations(self) -> None:
        """Write which operations found their cards and what waits for the others; an unused one leaves no row."""
        operations = sorted(self.operations.items())
        changed = [each for each in operations if each[1].card_id != each[1].stored]
        rows = [(*key, each.card_id, None if each.card_id else self.now) for key, each in changed]
        self.tx.each("set_operation_refs", rows)
        self.tx.each("await_operations", self.awaited)
        self.tx.each("settle_operation_events", [key for key, each in changed if each.card_id])
        unused = [key for key, each in operations if each.fresh and each.card_id is None and not each.waiting]
        self.tx.each("drop_operation_refs", unused)

    def save_parcels(self) -> None:
        """Write who travels where; a parcel waits until a site has named it, and an empty one leaves no row."""
        links = [(*card, *parcel, *window) for (card, parcel), window in sorted(self.saved_links.items())]
        self.tx.each("save_links", links)
        parcels = sorted(self.parcels.items())
        unused = [key for key, parcel in parcels if parcel.fresh and not parcel.named and not parcel.events]
        named = [(*key, None) for key, parcel in parcels if parcel.waits and parcel.named]
        self.tx.each("set_parcels_waiting", named)
        self.tx.each("drop_parcels", unused)
        for (source, event_id), (after_issuer, after_card) in sorted(self.more.items()):
            self.tx.run(
                "save_fanout", source=source, event_id=event_id, after_issuer=after_issuer, after_card=after_card
            )

    def save_cards(self) -> None:
        """Write which cards wait for their order; one that took no event leaves no row."""
        waiting: list[Row] = []
        unused: list[CardKey] = []
        for key, card in sorted(self.cards.items()):
            if card.fresh and not card.events:
                unused.append(key)
            elif card.waits == bool(card.published):
                waiting.append((*key, None if card.published else self.now))
        self.tx.each("set_cards_waiting", waiting)
        self.tx.each("drop_cards", unused)

    def publish_all(self) -> None:
        """Number the changes, write the pictures, put them on their way; after the counters only notifications lock."""
        changed: dict[str, list[Row]] = {}
        for (issuer_id, _), card in sorted(self.cards.items()):
            changed.setdefault(issuer_id, []).extend(card.changes.values())
        counts = [(issuer_id, len(rows)) for issuer_id, rows in sorted(changed.items()) if rows]
        counted = self.tx.each("count_changes", counts)
        newest: dict[str, int] = {issuer_id: change_no for issuer_id, change_no, _ in counted}
        rows = [
            (*row[:5], newest[issuer_id] - len(rows) + place, *row[6:])
            for issuer_id, rows in changed.items() if rows
            for place, row in enumerate(rows, 1)
        ]  # fmt: skip
        self.tx.each("save_operations", rows)
        self.outbox.enqueue(self.tx, self.steps, {issuer_id: endpoints for issuer_id, _, endpoints in counted})

    # ── the rest of a large parcel ──

    def resume(self) -> int:
        row = self.tx.one("next_fanout")
        if row is None:
            return 0
        self.tx.each("lock_parcels", [row[4:6]])
        if self.tx.one("next_fanout") != row:
            return 1  # another process was here first; what it left is seen on the next call
        source, event_id, after_issuer, after_card, carrier, number, sender, body = row
        [event] = decode_events([body])
        self.now = event.recorded_at
        found = self.tx.each("links_of_parcels", [(carrier, number, after_issuer, after_card)])
        chunk: list[Link] = [(row[2], row[3], row[4], row[5]) for row in found[:MAX_FANOUT]]
        keys = [link[:2] for link in chunk if _in_window(event, link) and self.may_reach(sender, link[0])]
        self.lock_cards(keys)
        self.load()
        for key in keys:
            self.give(key, event, body)
        if len(chunk) < len(found):
            after = {"after_issuer": chunk[-1][0], "after_card": chunk[-1][1]}
            self.tx.run("save_fanout", source=source, event_id=event_id, **after)
        else:
            self.tx.run("end_fanout", source=source, event_id=event_id)
        self.save()
        return max(1, len(chunk))


_CONFLICT = rejected("CONFLICT", "eventId: known with other content")
_SEALED = rejected("ORDER_SEALED", "the order was settled long ago and takes no events")


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


def _key_row(item: Item) -> Row:
    """Return the inbox row of an event; what is told of a parcel is kept there, for cards that are linked later."""
    event = item.event
    carrier, number = (event.carrier, event.tracking_number) if _by_parcel(event) else (None, None)
    body = item.body if carrier is not None else None
    return event.source, event.event_id, item.fingerprint, item.sender, event.recorded_at, carrier, number, body


def _card_key(event: Event) -> CardKey:
    return event.issuer_id or "", event.card_id or ""


def _in_window(event: Event, link: Link) -> bool:
    """Tell whether an event lies in the window of time in which a parcel's events reach a card."""
    return link[2] - PARCEL_BEFORE <= instant_of(event) <= link[3] + PARCEL_AFTER


def _parcel_refusal(parcel: _Parcel, event: Event) -> Outcome | None:
    """Return why a parcel can take no more events, or None."""
    if parcel.links or parcel.named:
        most = MAX_CARRIER_EVENTS - (0 if _ends_parcel(event) else RESERVED_CARRIER_EVENTS)
        return rejected("ORDER_FULL", f"the parcel has {most} events") if parcel.told >= most else None
    return (
        rejected("WAITING_FULL", f"{MAX_WAITING} events wait for this parcel") if parcel.told >= MAX_WAITING else None
    )


def _refusal(card: _Card, projection: Projection, event: Event, *, room: bool) -> Outcome | None:
    """Return why a card cannot take an event, or None."""
    if isinstance(event, Retraction):
        return _retraction_refusal(card)
    home = projection.home.get(event.key)
    if home is None:
        return _waiting_refusal(card, projection, event, room=room)
    if home in card.sealed:
        return _SEALED
    order = next(order for order in projection.orders if order.operation_id == home)
    published = card.published.get(home)
    if published and published.requested_at != order.requested_at:
        return rejected("CONFLICT", "operationId: already requested at another time")
    return _full(order, event)


def _waiting_refusal(card: _Card, projection: Projection, event: Event, *, room: bool) -> Outcome | None:
    if card.sealed and _by_parcel(event):
        return _SEALED  # the event that named this parcel went when its order was sealed
    if len(projection.waiting) > MAX_WAITING:
        return rejected("WAITING_FULL", f"{MAX_WAITING} events wait for this card's order")
    return None if room or card.published else rejected("WAITING_FULL", "too many cards wait for their orders")


def _retraction_refusal(card: _Card) -> Outcome | None:
    if card.published and card.sealed >= card.published.keys():
        return _SEALED
    taken = sum(isinstance(known, Retraction) for known in card.events.values())
    return rejected("ORDER_FULL", f"a card takes {MAX_RETRACTIONS} retractions") if taken > MAX_RETRACTIONS else None


def _full(order: Order, event: Event) -> Outcome | None:
    if isinstance(event, ProductionEvent):
        most, taken = MAX_SITE_EVENTS, order.site_events
    else:
        most, taken = MAX_CARRIER_EVENTS - (0 if _ends_parcel(event) else RESERVED_CARRIER_EVENTS), order.carrier_events
    return rejected("ORDER_FULL", f"the order has {most} events of this side") if taken > most else None


def _ends_parcel(event: Event) -> bool:
    """Tell whether an event ends a parcel's story."""
    return isinstance(event, CarrierEvent) and (
        event.kind == "returned" or event.shipment_status is ShipmentStatus.DELIVERED
    )
