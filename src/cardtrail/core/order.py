"""Orders: the fold over the set of a card's events.

`project(events)` is the only way an order comes to be. It takes *all* events of one card, in any order and with
repetitions, and returns the card's orders, newest first. Nothing is ever edited; a late event means folding again.

Rules of the fold
-----------------
* Events are sorted by (instant, rank, source, event id). The instant is what the source said, clamped by when we
  recorded it: nothing happens after we have heard of it. Nor does anything happen to an order before its request.
* A `requested` event begins an order. An event that names an operation belongs to it. A carrier's event belongs
  to the order whose site named that parcel. Any other event belongs to the newest order requested at or before it;
  within `SKEW` of a request the neighbours compete, and the one that can best take the step wins.
* A tracking number is used again and again: what a carrier saw before an order was requested is not about it.
* Delivered, returned and cancelled absorb. Between other shipment statuses the later one wins.
* What the transition table forbids is kept as an anomaly and moves nothing.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from cardtrail.core.event import CarrierEvent, Event, ProductionEvent, ProductionKind, Retraction
from cardtrail.core.status import Move
from cardtrail.core.track import SECOND, SKEW, Anomaly, Checkpoint, Fact, Order, ParcelKey, Shipment, Step, Track

__all__ = [
    "PARCEL_AFTER", "PARCEL_BEFORE", "SECOND", "SKEW", "Anomaly", "Checkpoint", "Order", "Projection", "Shipment",
    "Step", "facts_of", "instant_of", "operation_id_of", "project",
]  # fmt: skip

DAY = 86_400 * SECOND
PARCEL_BEFORE = 60 * DAY
PARCEL_AFTER = 180 * DAY
"""A carrier's event counts for a parcel from 60 days before to 180 days after the site named it: numbers are reused."""

EventKey = tuple[str, str]
Dated = tuple[int, int, str, str, Fact]
"""A fact behind what it is sorted by: instant, rank, source, event id."""
Requests = dict[str, tuple[int, ProductionEvent]]
"""Operation id -> when its order was requested, and by which event; oldest order first."""


class Projection(msgspec.Struct, frozen=True):
    """The orders of a card, newest first; `home` tells which operation took an event; the rest waits."""

    orders: tuple[Order, ...]
    home: dict[tuple[str, str], str]
    waiting: tuple[Fact, ...]


def instant_of(event: Event) -> int:
    """Return when the event counts as having happened: never after it was recorded."""
    return min(event.occurred_at, event.recorded_at)


def facts_of(events: Iterable[Event]) -> list[tuple[int, Fact]]:
    """Return the facts that stand, in the order in which they are folded, each with the instant it counts as of."""
    facts, _ = _standing({event.key: event for event in events})
    return [(entry[0], entry[4]) for entry in facts]


def project(events: Iterable[Event], sealed: frozenset[str] = frozenset()) -> Projection:
    """Fold the events of one card into its orders. Operations in `sealed` take no step any more."""
    known: dict[EventKey, Event] = {(event.source, event.event_id): event for event in events}
    facts, refused = _standing(known)
    requests = _requests(facts)
    if not requests:
        return Projection((), {}, tuple(entry[4] for entry in facts))
    homes = _attribute(facts, requests, sealed)
    tracks = {operation_id: Track(operation_id, request, at) for operation_id, (at, request) in requests.items()}
    waiting: list[Fact] = []
    for at, _, source, event_id, fact in facts:
        home = homes.get((source, event_id))
        if home is None:
            waiting.append(fact)
        else:
            tracks[home].take(fact, at)
    for retraction in refused:
        track = tracks.get(homes.get(retraction.target, ""))
        if track is not None:
            track.doubt("NOT_RETRACTABLE", "an order's request cannot be taken back; cancel it", retraction)
    return Projection(tuple(track.order() for track in reversed(tracks.values())), homes, tuple(waiting))


def _standing(known: dict[EventKey, Event]) -> tuple[list[Dated], list[Retraction]]:
    """Return the facts that stand, in the order they happened, and the retractions that ask for too much."""
    facts: list[Dated] = []
    retractions: list[Retraction] = []
    for (source, event_id), event in known.items():
        if isinstance(event, Retraction):
            retractions.append(event)
            continue
        at = min(event.recorded_at, event.occurred_at)
        facts.append((at, event.rank, source, event_id, event))
    facts.sort()
    if not retractions:
        return facts, retractions
    out, refused = _retracted(known, retractions)
    return [entry for entry in facts if entry[2:4] not in out], refused


def _retracted(known: dict[EventKey, Event], retractions: list[Retraction]) -> tuple[set[EventKey], list[Retraction]]:
    """Return the keys that are taken out, and the retractions of requests, which stand."""
    out: set[EventKey] = set()
    refused: list[Retraction] = []
    for event in filter(_may_retract, retractions):
        target = known.get(event.target)
        if isinstance(target, ProductionEvent) and target.kind is ProductionKind.REQUESTED:
            refused.append(event)
        else:
            out.add(event.target)
    return out, sorted(refused, key=lambda event: event.key)


def _may_retract(event: Retraction) -> bool:
    return event.target[0] == event.source or event.source.startswith("operator:")


def operation_id_of(event: ProductionEvent) -> str:
    """Return the operation that a `requested` event begins; without an id of its own the event's key names it."""
    if event.operation_id:
        return event.operation_id
    name = f"{event.issuer_id}|{event.source}|{event.event_id}"
    return "op-" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _requests(facts: Sequence[Dated]) -> Requests:
    """Return the first request of each operation, in the store's order: by instant, then by operation id.

    Later requests of an operation add nothing but their details.
    """
    found: Requests = {}
    for at, _, _, _, fact in facts:
        if isinstance(fact, ProductionEvent) and fact.kind is ProductionKind.REQUESTED:
            found.setdefault(operation_id_of(fact), (at, fact))
    if len(found) == 1:
        return found
    return dict(sorted(found.items(), key=lambda begun: (begun[1][0], begun[0])))


# ── attribution ──────────────────────────────────────────────────────────────────────────────────────────────


def _attribute(facts: Sequence[Dated], requests: Requests, sealed: frozenset[str]) -> dict[EventKey, str]:
    """Return event key -> operation id. Sites first, in time order; then carriers, by the parcels sites named.

    A scan that names a card besides its parcel goes by the parcel: a re-order does not inherit the old one. Where no
    site named the parcel it is taken in its turn, as any event that names its card: what comes later moves it nowhere.
    """
    walkers = {operation_id: Track(operation_id, request, at) for operation_id, (at, request) in requests.items()}
    line = list(walkers.values())
    homes: dict[EventKey, str] = {}
    parcels: dict[ParcelKey, list[tuple[int, str]]] = {}
    scans: list[Dated] = []
    told = _parcels_told(facts) if len(line) > 1 else None
    for entry in facts:
        at, _, source, event_id, fact = entry
        if _goes_by_parcel(fact, told):
            scans.append(entry)
            continue
        named = _named(fact)
        walker = walkers.get(named) if named is not None else _home(fact, at, line, sealed)
        if walker is None:
            continue
        homes[source, event_id] = walker.operation_id
        if len(line) > 1:
            walker.move(fact, at)
        if fact.tracking_number is not None and isinstance(fact, ProductionEvent):
            parcels.setdefault((fact.carrier, fact.tracking_number), []).append((at, walker.operation_id))
    for names in parcels.values():
        names.sort()
    for at, _, source, event_id, fact in scans:
        walker = _parcel_home(at, parcels.get((fact.carrier, fact.tracking_number), []), walkers)
        if walker is None and fact.card_id is not None:
            walker = _home(fact, at, line, sealed)
        if walker is not None:
            homes[source, event_id] = walker.operation_id
    return homes


def _parcels_told(facts: Sequence[Dated]) -> set[ParcelKey]:
    return {
        (entry[4].carrier, entry[4].tracking_number) for entry in facts
        if isinstance(entry[4], ProductionEvent) and entry[4].tracking_number is not None
    }  # fmt: skip


def _goes_by_parcel(fact: Fact, told: set[ParcelKey] | None) -> bool:
    """Tell whether a scan looks for the order that named its parcel; `told` is None where there is one order only."""
    if not isinstance(fact, CarrierEvent) or fact.operation_id is not None or fact.tracking_number is None:
        return False
    return told is None or fact.card_id is None or (fact.carrier, fact.tracking_number) in told


def _named(fact: Fact) -> str | None:
    if isinstance(fact, ProductionEvent) and fact.kind is ProductionKind.REQUESTED:
        return operation_id_of(fact)
    return fact.operation_id


def _home(fact: Fact, at: int, line: list[Track], sealed: frozenset[str]) -> Track | None:
    """Return the order of an event that names its card only, of orders from old to new; None while it waits."""
    if len(line) == 1:
        return line[0] if line[0].requested_at <= at + SKEW else None
    rivals = _rivals(at, line)
    if len(rivals) <= 1:
        return rivals[0] if rivals else None
    return max(rivals, key=lambda walker: 0 if walker.operation_id in sealed else _FIT[walker.verdict(fact)])


def _rivals(at: int, line: list[Track]) -> list[Track]:
    """Return the newest order requested at or before an instant, then the neighbours that clocks could mean."""
    index = bisect_right(line, at, key=lambda walker: walker.requested_at) - 1
    rivals = line[index : index + 1] if index >= 0 else []
    if index + 1 < len(line) and line[index + 1].requested_at <= at + SKEW:
        rivals.append(line[index + 1])
    if index >= 1 and line[index].requested_at > at - SKEW:
        rivals.append(line[index - 1])
    return rivals


_FIT = {Move.ANOMALY: 0, Move.SKIP: 1, Move.SAME: 2, Move.STEP: 3}
"""How well an order fits an event when clocks leave it open which one is meant."""


def _parcel_home(at: int, names: list[tuple[int, str]], walkers: dict[str, Track]) -> Track | None:
    """Return the order that named the parcel last before an instant, or else first after it; `names` is sorted."""
    later = bisect_right(names, at + SKEW, key=lambda name: name[0])
    for named_at, operation_id in names[max(later - 1, 0) : later + 1]:
        inside = named_at - PARCEL_BEFORE <= at <= named_at + PARCEL_AFTER
        if inside and walkers[operation_id].requested_at <= at + SKEW:
            return walkers[operation_id]
    return None
