"""One transaction of ingest: take the keys, lock, fold each event, publish what changed, put it on its way."""

from collections.abc import Iterable, Sequence

from cardtrail.core.event import Event, ProductionEvent
from cardtrail.core.operation import operation_of
from cardtrail.core.order import Order, Projection, instant_of, operation_id_of, project
from cardtrail.core.place import place_of
from cardtrail.db import Row, Transaction
from cardtrail.platform import held, refuse
from cardtrail.platform.held import (
    ACCEPTED,
    DUPLICATE,
    CardKey,
    EventKey,
    Held,
    HeldCard,
    Item,
    Link,
    MayReach,
    Outcome,
    ParcelKey,
    Published,
    begins,
    by_parcel,
    ends_parcel,
    in_window,
    key_row,
    parcel_of,
    rejected,
)
from cardtrail.platform.moves import Moves, row_of
from cardtrail.platform.outbox import Change, Outbox
from cardtrail.platform.refuse import CONFLICT, parcel_refusal, refusal_of
from cardtrail.protocol.codec import answer_of, decode_events, etag_of, picture_of, strict_form


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
    return None if outcome.result == "rejected" else CONFLICT


def resume_fanout(tx: Transaction, may_reach: MayReach, outbox: Outbox) -> int:
    """Bring one waiting parcel event to its next cards; return how many it reached, 0 when none waits."""
    return _Recording(tx, may_reach, outbox).resume()


class _Recording:
    def __init__(self, tx: Transaction, may_reach: MayReach, outbox: Outbox, *, room: bool = True) -> None:
        self.tx = tx
        self.held = Held(tx, may_reach)
        self.outbox = outbox
        self.room = room
        self.steps: list[Change] = []
        self.requests: list[Row] = []
        self.moves = Moves()
        self.saved: list[Row] = []
        self.saved_links: dict[tuple[CardKey, ParcelKey], tuple[int, int]] = {}
        self.awaited: list[Row] = []
        self.forgotten: list[EventKey] = []
        self.cause = ""

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        """Record events of different keys; return their outcomes, in order."""
        self.held.now = max(item.event.recorded_at for item in items)
        outcomes = self.take_keys(items)
        fresh = [item for item in items if item.event.key not in outcomes]
        if fresh:
            self.held.lock(fresh)
            outcomes.update((item.event.key, self.fold(item)) for item in fresh)
            self.save()
        return [outcomes[item.event.key] for item in items]

    # ── keys ──

    def take_keys(self, items: Sequence[Item]) -> dict[EventKey, Outcome]:
        """Take the keys of the events; return the outcomes of those that are known."""
        rows = sorted(map(key_row, items), key=lambda row: row[:2])
        new = set(self.tx.each("record_events", rows))
        if len(new) == len(items):
            return {}
        known = {item.event.key: item.fingerprint for item in items if item.event.key not in new}
        prints = {(s, e): f for s, e, f in self.tx.each("known_events", list(known))}
        return {
            key: DUPLICATE if bytes(prints.get(key, b"")) == fingerprint else CONFLICT
            for key, fingerprint in known.items()
        }

    # ── fold ──

    def fold(self, item: Item) -> Outcome:
        self.cause = item.cause
        card = self.held.card_of(item.event)
        if card is not None:
            refusal = self.fold_named(card, item)
        elif by_parcel(item.event):
            refusal = self.fold_told(item)
        else:
            refusal = self.await_operation(item)
        if refusal is None:
            return ACCEPTED
        self.forgotten.append(item.event.key)
        self.held.more.pop(item.event.key, None)
        return refusal

    def fold_named(self, key: CardKey, item: Item) -> Outcome | None:
        """Fold an event that names a card."""
        event = item.event
        if not begins(event):
            return self.take(key, event, item.body)
        operation = self.held.operations[key[0], operation_id_of(event)]
        if operation.card_id not in (key[1], None):
            return rejected("CONFLICT", "operationId: already names an order of another card")
        operation.card_id = key[1]
        refusal = self.take(key, event, item.body)
        if refusal is None:
            self.give_all(key, operation.waiting)
            for waiting, _ in operation.waiting:
                self.link_named(key, waiting)
        elif operation_id_of(event) not in self.held.cards[key].published:
            operation.card_id = None  # the order that would have begun it did not
        return refusal

    def fold_told(self, item: Item) -> Outcome | None:
        """Fold what a carrier told of a parcel; it is refused where every card that it reaches refuses it."""
        event = item.event
        parcel = self.held.parcels[event.carrier or "", event.tracking_number or ""]
        reached = self.held.within_reach(item, [*parcel.reach[event.key], *parcel.named])
        if not reached and not self.room:
            return rejected("WAITING_FULL", "too many parcels wait for their orders")
        refusal = parcel_refusal(parcel, event)
        if refusal is not None:
            return refusal
        refusals = [self.give(key, event, item.body) for key in reached]
        if refusals and None not in refusals and event.key not in self.held.more:
            return refusals[0]
        parcel.told += 1
        parcel.events.append((item.sender, event, item.body))
        return None

    def await_operation(self, item: Item) -> Outcome | None:
        """Keep an event until its operation is known."""
        event = item.event
        operation = self.held.operations[event.issuer_id or "", event.operation_id or ""]
        if not self.room:
            return rejected("WAITING_FULL", "too many operations wait for their orders")
        if len(operation.waiting) >= refuse.MAX_WAITING:
            return rejected("WAITING_FULL", f"{refuse.MAX_WAITING} events wait for this operation's order")
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
        parcel_key = parcel_of(event)
        if parcel_key is None or not isinstance(event, ProductionEvent) or event.key not in self.held.cards[key].events:
            return
        parcel, at = self.held.parcels[parcel_key], instant_of(event)
        parcel.named.append((*key, at, at))
        first, last = self.saved_links.get((key, parcel_key), (at, at))
        self.saved_links[key, parcel_key] = (min(first, at), max(last, at))
        link = parcel.named[-1]
        self.give_all(key, [
            (event, body) for sender, event, body in parcel.events
            if in_window(event, link) and self.held.may_reach(sender, key[0])
        ])  # fmt: skip

    def give_all(self, key: CardKey, told: Iterable[tuple[Event, bytes]]) -> None:
        """Give a card what waited for it: all in one fold, or one by one, oldest first, where it cannot take all."""
        card = self.held.cards[key]
        fresh = [entry for entry in told if entry[0].key not in card.events]
        if not fresh:
            return
        card.events.update((event.key, event) for event, _ in fresh)
        projection = project(card.events.values(), card.sealed)
        if all(refusal_of(card, projection, event, room=self.room) is None for event, _ in fresh):
            self.accept(key, projection, fresh)
            return
        for event, _ in fresh:
            del card.events[event.key]
        full = False
        for event, body in sorted(fresh, key=lambda entry: (instant_of(entry[0]), entry[0].key)):
            if not full or ends_parcel(event):
                full = self.give(key, event, body) is not None or full

    def give(self, key: CardKey, event: Event, body: bytes) -> Outcome | None:
        """Give an event to a card and fold it; return why not, leaving no trace, if the card cannot take it."""
        card = self.held.cards[key]
        if event.key in card.events:
            return None
        if begins(event) and len(card.published) >= refuse.MAX_ORDERS and operation_id_of(event) not in card.published:
            return rejected("ORDER_FULL", f"a card takes {refuse.MAX_ORDERS} orders")
        card.events[event.key] = event
        projection = project(card.events.values(), card.sealed)
        refusal = refusal_of(card, projection, event, room=self.room)
        if refusal is not None:
            del card.events[event.key]
            return refusal
        self.accept(key, projection, [(event, body)])
        return None

    def accept(self, key: CardKey, projection: Projection, events: Iterable[tuple[Event, bytes]]) -> None:
        """Publish what a card's events have become, and keep those that are new."""
        card = self.held.cards[key]
        for order in projection.orders:
            if order.operation_id not in card.sealed:
                self.publish(key, card, order)
        for event, body in events:
            self.saved.append((*key, *event.key, event.recorded_at, int(begins(event)), body))

    def publish(self, key: CardKey, card: HeldCard, order: Order) -> None:
        """Draw an order's picture; if it differs from the published one, it is the next in sequence."""
        operation = operation_of(order)
        picture = picture_of(operation)
        before = card.published.get(order.operation_id)
        sequence = before.sequence if before else 0
        if before and picture.sealed(sequence) == before.picture:
            return
        full = picture.sealed(sequence + 1)
        place = place_of(order)
        self.moves.note(key[0], before.place if before else None, order, place, self.held.now)
        card.published[order.operation_id] = Published(
            order.requested_at, sequence + 1, full, picture.strict_length, order.issuer_request_id, place
        )
        if before and before.request_id != order.issuer_request_id:
            self.requests.append((*key, order.requested_at, order.operation_id, order.issuer_request_id))
        card.changes[order.operation_id] = (
            *key, order.requested_at, order.operation_id, sequence + 1, 0, order.ended_at, self.held.now,
            full, picture.strict_length, etag_of(answer_of([full])), *row_of(place), order.issuer_request_id,
            self.cause,
        )  # fmt: skip
        is_published = before is None or strict_form(before.picture, before.strict_length) != picture.published
        self.steps.append(Change(
            *key, order.operation_id, operation.operation, order.stage, sequence + 1, full, picture.strict_length,
            is_published, self.cause,
        ))  # fmt: skip

    # ── save ──

    def save(self) -> None:
        tx = self.tx
        if self.forgotten:
            tx.each("forget_events", self.forgotten)
        tx.each("save_events", self.saved)
        if self.held.operations:
            self.save_operations()
        if self.held.parcels:
            self.save_parcels()
        self.save_cards()
        self.publish_all()

    def save_operations(self) -> None:
        """Write which operations found their cards and what waits for the others; an unused one leaves no row."""
        operations = sorted(self.held.operations.items())
        changed = [each for each in operations if each[1].card_id != each[1].stored]
        rows = [(*key, each.card_id, None if each.card_id else self.held.now) for key, each in changed]
        self.tx.each("set_operation_refs", rows)
        self.tx.each("await_operations", self.awaited)
        self.tx.each("settle_operation_events", [key for key, each in changed if each.card_id])
        unused = [key for key, each in operations if each.fresh and each.card_id is None and not each.waiting]
        self.tx.each("drop_operation_refs", unused)

    def save_parcels(self) -> None:
        """Write who travels where; a parcel waits until a site has named it, and an empty one leaves no row."""
        links = [(*card, *parcel, *window) for (card, parcel), window in sorted(self.saved_links.items())]
        self.tx.each("save_links", links)
        parcels = sorted(self.held.parcels.items())
        unused = [key for key, parcel in parcels if parcel.fresh and not parcel.named and not parcel.events]
        named = [(*key, None) for key, parcel in parcels if parcel.waits and parcel.named]
        self.tx.each("set_parcels_waiting", named)
        self.tx.each("drop_parcels", unused)
        for (source, event_id), (after_issuer, after_card, cause) in sorted(self.held.more.items()):
            self.tx.run(
                "save_fanout", source=source, event_id=event_id, after_issuer=after_issuer, after_card=after_card,
                cause=cause,
            )  # fmt: skip

    def save_cards(self) -> None:
        """Write which cards wait for their order; one that took no event leaves no row."""
        waiting: list[Row] = []
        unused: list[CardKey] = []
        for key, card in sorted(self.held.cards.items()):
            if card.fresh and not card.events:
                unused.append(key)
            elif card.waits == bool(card.published):
                waiting.append((*key, None if card.published else self.held.now))
        self.tx.each("set_cards_waiting", waiting)
        self.tx.each("drop_cards", unused)

    def publish_all(self) -> None:
        """Number the changes, write the pictures, put them on their way; after the counters only notifications lock."""
        changed: dict[str, list[Row]] = {}
        for (issuer_id, _), card in sorted(self.held.cards.items()):
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
        self.tx.each("set_request_ids", self.requests)
        self.tx.each("count_tallies", self.moves.rows())
        self.outbox.enqueue(self.tx, self.steps, {issuer_id: endpoints for issuer_id, _, endpoints in counted})

    # ── the rest of a large parcel ──

    def resume(self) -> int:
        row = self.tx.one("next_fanout")
        if row is None:
            return 0
        self.tx.each("lock_parcels", [row[4:6]])
        if self.tx.one("next_fanout") != row:
            return 1  # another process was here first; what it left is seen on the next call
        source, event_id, after_issuer, after_card, carrier, number, sender, body, self.cause = row
        [event] = decode_events([body])
        self.held.now = event.recorded_at
        found = self.tx.each("links_of_parcels", [(carrier, number, after_issuer, after_card)])
        chunk: list[Link] = [(row[2], row[3], row[4], row[5]) for row in found[: held.MAX_FANOUT]]
        keys = [link[:2] for link in chunk if in_window(event, link) and self.held.may_reach(sender, link[0])]
        self.held.lock_cards(keys)
        self.held.load()
        for key in keys:
            self.give(key, event, body)
        if len(chunk) < len(found):
            after = {"after_issuer": chunk[-1][0], "after_card": chunk[-1][1]}
            self.tx.run("save_fanout", source=source, event_id=event_id, cause=self.cause, **after)
        else:
            self.tx.run("end_fanout", source=source, event_id=event_id)
        self.save()
        return max(1, len(chunk))
