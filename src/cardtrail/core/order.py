"""Orders: the fold over the set of a card's events.

`project(events)` is the only way an order comes to be. It takes *all* events of one card, in any order and with
repetitions, and returns the card's orders, newest first. Nothing is ever edited; a late event means folding again.

Rules of the fold
-----------------
* Events are sorted by (instant, rank, source, event id). The instant is what the source said, clamped by when we
  recorded it: nothing happens after we have heard of it.
* A `requested` event begins an order. An event that names an operation belongs to it. A carrier's event belongs
  to the order whose site named that parcel. Any other event belongs to the newest order requested at or before it;
  within `SKEW` of a request the neighbours compete, and the one that can best take the step wins.
* Delivered, returned and cancelled absorb. Between other shipment statuses the later one wins.
* What the transition table forbids is kept as an anomaly and moves nothing.
"""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from cardtrail.core.event import (
    STAGE_OF,
    CarrierEvent,
    CarrierKind,
    Event,
    ProductionEvent,
    ProductionKind,
    Retraction,
)
from cardtrail.core.status import (
    MOVING,
    OPEN,
    TRANSITIONS,
    Evidence,
    Move,
    ProductionStatus,
    ShipmentStatus,
    skipped,
)

SECOND = 1_000_000
"""Microseconds in a second; all instants are microseconds."""
SKEW = 600 * SECOND
"""How far the clocks of sites, carriers and issuers may disagree."""
PARCEL_BEFORE = 60 * 86_400 * SECOND
PARCEL_AFTER = 180 * 86_400 * SECOND
"""A carrier's event counts for a parcel from 60 days before to 180 days after the site named it: numbers are reused."""
MAX_CHECKPOINTS = 20
"""The newest checkpoints that the public picture shows."""

ParcelKey = tuple[str | None, str | None]
EventKey = tuple[str, str]
Fact = ProductionEvent | CarrierEvent
Dated = tuple[int, int, str, str, Fact]
"""A fact behind what it is sorted by: instant, rank, source, event id."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """One entry of the timeline: a stage or shipment status, when, and how we know."""

    status: str
    at: int
    evidence: Evidence
    source: str
    event_id: str


class Anomaly(msgspec.Struct, frozen=True, gc=False):
    """An event that moved nothing, and why. `code` is stable, `text` is for people."""

    code: str
    text: str
    at: int
    source: str
    event_id: str


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """What a carrier saw, where and when; `status` is None where the carrier's code is unknown."""

    at: int
    status: ShipmentStatus | None
    code: str | None
    message: str | None
    location: str | None


class Shipment(msgspec.Struct, frozen=True):
    """The parcel that the card travels in now."""

    carrier: str | None
    tracking_number: str | None
    tracking_url: str | None
    status: ShipmentStatus | None
    message: str | None
    estimated_delivery: str | None
    checkpoints: tuple[Checkpoint, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Where one order stands and how it got there. `ended_at` is None while the operation is pending."""

    issuer_id: str
    card_id: str
    operation_id: str
    requested_at: int
    stage: ProductionStatus
    ended_at: int | None
    final: bool
    hold: str | None
    reason: str | None
    error_code: str | None
    error: str | None
    due_date: str | None
    production_site: str | None
    input_file_name: str | None
    issuer_request_id: str | None
    distribution_channel: str | None
    shipment: Shipment | None
    timeline: tuple[Step, ...]
    anomalies: tuple[Anomaly, ...]
    site_events: int
    carrier_events: int


class Projection(msgspec.Struct, frozen=True):
    """The orders of a card, newest first; `home` tells which operation took an event; the rest waits."""

    orders: tuple[Order, ...]
    home: dict[tuple[str, str], str]
    waiting: tuple[Event, ...]


def instant_of(event: Event) -> int:
    """Return when the event counts as having happened: never after it was recorded."""
    return min(event.occurred_at, event.recorded_at)


def project(events: Iterable[Event], sealed: frozenset[str] = frozenset()) -> Projection:
    """Fold the events of one card into its orders. Operations in `sealed` take no step any more."""
    known: dict[EventKey, Event] = {(event.source, event.event_id): event for event in events}
    facts, refused = _standing(known)
    requests = _requests(facts)
    if not requests:
        return Projection((), {}, tuple(known.values()))
    homes = _attribute(facts, requests, sealed)
    tracks = {operation_id: _Track(operation_id, request) for operation_id, request in requests.items()}
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


def _retracted(
    known: dict[EventKey, Event], retractions: list[Retraction]
) -> tuple[set[EventKey], list[Retraction]]:
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


def _requests(facts: Sequence[Dated]) -> dict[str, ProductionEvent]:
    """Return operation id -> its first `requested` event, oldest order first."""
    found: dict[str, ProductionEvent] = {}
    for entry in facts:
        fact = entry[4]
        if fact.kind is ProductionKind.REQUESTED:
            found.setdefault(operation_id_of(fact), fact)
    return found


# ── attribution ──────────────────────────────────────────────────────────────────────────────────────────────


def _attribute(
    facts: Sequence[Dated], requests: dict[str, ProductionEvent], sealed: frozenset[str]
) -> dict[EventKey, str]:
    """Return event key -> operation id. Sites first, in time order; then carriers, by the parcels sites named."""
    walkers = [_Track(operation_id, request) for operation_id, request in requests.items()]
    homes: dict[EventKey, str] = {}
    parcels: dict[ParcelKey, list[tuple[int, str]]] = {}
    by_parcel: list[Dated] = []
    for entry in facts:
        at, _, source, event_id, fact = entry
        if fact.card_id is None and fact.operation_id is None:
            by_parcel.append(entry)
            continue
        walker = _home(fact, at, walkers, sealed)
        if walker is None:
            continue
        homes[source, event_id] = walker.operation_id
        if len(walkers) > 1:
            walker.move(fact, at)
        if fact.tracking_number is not None:
            parcels.setdefault((fact.carrier, fact.tracking_number), []).append((at, walker.operation_id))
    for at, _, source, event_id, fact in by_parcel:
        named_by = _parcel_home(at, parcels.get((fact.carrier, fact.tracking_number), ()))
        if named_by is not None:
            homes[source, event_id] = named_by
    return homes


def _home(fact: Fact, at: int, walkers: list["_Track"], sealed: frozenset[str]) -> "_Track | None":
    """Return the order of an event that names a card or an operation; None while it waits."""
    named = operation_id_of(fact) if fact.kind is ProductionKind.REQUESTED else fact.operation_id
    if named is not None:
        return next((walker for walker in walkers if walker.operation_id == named), None)
    if len(walkers) == 1:
        return walkers[0] if walkers[0].requested_at <= at + SKEW else None
    rivals = _rivals(at, walkers)
    if len(rivals) <= 1:
        return rivals[0] if rivals else None
    return max(rivals, key=lambda walker: 0 if walker.operation_id in sealed else _FIT[walker.verdict(fact)])


def _rivals(at: int, walkers: list["_Track"]) -> list["_Track"]:
    """Return the newest order requested at or before an instant, then the neighbours that clocks could mean."""
    index = next((i for i in range(len(walkers) - 1, -1, -1) if walkers[i].requested_at <= at), -1)
    rivals = walkers[index : index + 1] if index >= 0 else []
    if index + 1 < len(walkers) and walkers[index + 1].requested_at <= at + SKEW:
        rivals.append(walkers[index + 1])
    if index >= 1 and walkers[index].requested_at > at - SKEW:
        rivals.append(walkers[index - 1])
    return rivals


_FIT = {Move.ANOMALY: 0, Move.SKIP: 1, Move.SAME: 2, Move.STEP: 3}
"""How well an order fits an event when clocks leave it open which one is meant."""


def _parcel_home(at: int, named: Iterable[tuple[int, str]]) -> str | None:
    """Return the operation that named the parcel last before an instant, or else first after it."""
    inside = [entry for entry in named if entry[0] - PARCEL_BEFORE <= at <= entry[0] + PARCEL_AFTER]
    before = [entry for entry in inside if entry[0] <= at + SKEW]
    if before:
        return max(before)[1]
    return min(inside)[1] if inside else None


# ── one order ────────────────────────────────────────────────────────────────────────────────────────────────


class _Parcel:
    """What carriers told of one parcel."""

    __slots__ = ("checkpoints", "estimated", "message", "status", "url")

    def __init__(self) -> None:
        self.status: ShipmentStatus | None = None
        self.message: str | None = None
        self.url: str | None = None
        self.estimated: str | None = None
        self.checkpoints: list[Checkpoint] = []


class _Track:
    """An order while it is being folded; takes events in sorted order."""

    def __init__(self, operation_id: str, request: ProductionEvent) -> None:
        self.operation_id = operation_id
        self.request = request
        self.requested_at = instant_of(request)
        self.stage = ProductionStatus.REQUESTED
        self.final = False
        self.hold: str | None = None
        self.ended_at: int | None = None
        self.told: ProductionEvent | None = None
        self.due_date: str | None = None
        self.site: str | None = None
        self.channel: str | None = None
        self.parcels: dict[ParcelKey, _Parcel] = {}
        self.parcel: ParcelKey | None = None
        self.timeline: list[Step] = []
        self.anomalies: list[Anomaly] = []
        self.site_events = 0
        self.carrier_events = 0

    @property
    def delivered(self) -> bool:
        parcel = self.parcels.get(self.parcel) if self.parcel is not None else None
        return parcel is not None and parcel.status is ShipmentStatus.DELIVERED

    def verdict(self, fact: Fact) -> Move:
        """Return what the table says about this fact, were it about this order."""
        if isinstance(fact, CarrierEvent):
            return self._carrier_verdict(fact)
        stage = STAGE_OF.get(fact.kind)
        if stage is None:
            return self._hold_verdict(fact)
        if self.final or self.delivered:
            return Move.SAME if stage is self.stage and self.final else Move.ANOMALY
        return TRANSITIONS[self.stage][stage]

    def _hold_verdict(self, fact: ProductionEvent) -> Move:
        if self.final or self.stage not in OPEN:
            return Move.ANOMALY
        if fact.kind is ProductionKind.HELD:
            return Move.STEP if self.hold is None else Move.SAME
        return Move.STEP if self.hold is not None else Move.ANOMALY

    def _carrier_verdict(self, event: CarrierEvent) -> Move:
        if self.final or self.stage in _ABSORBED:
            return Move.ANOMALY
        if event.kind is CarrierKind.RETURNED:
            return Move.ANOMALY if self.delivered else TRANSITIONS[self.stage][ProductionStatus.RETURNED]
        if event.shipment_status in MOVING:
            return TRANSITIONS[self.stage][ProductionStatus.SHIPPED]
        return Move.SAME

    def move(self, fact: Fact, at: int) -> Move:
        """Take the step of a fact, without its details; used alone while events still look for their order."""
        move = self.verdict(fact)
        if move is Move.ANOMALY:
            return move
        if isinstance(fact, CarrierEvent):
            self._carrier_move(fact, at, move)
        elif fact.kind is ProductionKind.HELD:
            self.hold = fact.reason or self.hold or ""
        elif fact.kind is ProductionKind.RELEASED:
            self.hold = None
        else:
            self._site_move(fact, at, move)
        return move

    def _site_move(self, fact: ProductionEvent, at: int, move: Move) -> None:
        stage = STAGE_OF[fact.kind]
        if move is not Move.SAME:
            self._enter(stage, at, fact, Evidence.CLAIMED, move)
        elif stage is ProductionStatus.SHIPPED:
            self._claim_shipped(fact)
        if stage is ProductionStatus.EXCEPTION:
            self.final = self.final or fact.final
        if stage in _FAILURES or self.final or (stage is ProductionStatus.DONE and self.channel == "INSTANT"):
            self.ended_at = self.ended_at or at

    def _carrier_move(self, event: CarrierEvent, at: int, move: Move) -> None:
        if move is Move.SAME:
            return
        if self.stage is not ProductionStatus.SHIPPED:
            self._enter(ProductionStatus.SHIPPED, at, event, Evidence.INFERRED, move)
        if event.kind is CarrierKind.RETURNED:
            self._enter(ProductionStatus.RETURNED, at, event, Evidence.SCANNED, Move.STEP)

    def _enter(self, stage: ProductionStatus, at: int, fact: Fact, evidence: Evidence, move: Move) -> None:
        for between in skipped(self.stage, stage) if move is Move.SKIP else ():
            self.timeline.append(Step(between, at, Evidence.INFERRED, fact.source, fact.event_id))
        self.timeline.append(Step(stage, at, evidence, fact.source, fact.event_id))
        self.stage = stage
        if stage not in OPEN:
            self.hold = None
        if stage is ProductionStatus.SHIPPED:
            self.ended_at = self.ended_at or at

    def _claim_shipped(self, fact: ProductionEvent) -> None:
        """A site says "shipped" after a carrier's scan had proved it: the step is claimed, no longer inferred."""
        for index, step in enumerate(self.timeline):
            if step.status == ProductionStatus.SHIPPED and step.evidence is Evidence.INFERRED:
                self.timeline[index] = Step(step.status, step.at, Evidence.CLAIMED, fact.source, fact.event_id)

    def take(self, fact: Fact, at: int) -> None:
        """Fold one fact in: its step, then its details."""
        if fact.occurred_at > fact.recorded_at + SKEW:
            self.doubt("CLOCK_AHEAD", "the source's clock is ahead; counted as of when we heard of it", fact)
        if isinstance(fact, CarrierEvent):
            self.carrier_events += 1
            self._take_scan(fact, at)
        else:
            self.site_events += 1
            self._take_production(fact, at)

    def _take_production(self, fact: ProductionEvent, at: int) -> None:
        if fact is self.request:
            self.timeline.append(Step(self.stage, at, Evidence.CLAIMED, fact.source, fact.event_id))
        elif self.move(fact, at) is Move.ANOMALY:
            self.doubt("OUT_OF_TURN", f"{fact.kind} cannot follow {self._standing()}", fact)
            return
        if fact.kind in _TELLING:
            self.told = fact
        self.due_date = fact.due_date or self.due_date
        self.site = fact.production_site or self.site
        self.channel = self.channel or fact.distribution_channel
        if fact.carrier is not None:
            self.parcel = (fact.carrier, fact.tracking_number)
            parcel = self.parcels.setdefault(self.parcel, _Parcel())
            parcel.url = fact.tracking_url or parcel.url

    def _take_scan(self, event: CarrierEvent, at: int) -> None:
        if self.move(event, at) is Move.ANOMALY:
            self.doubt("OUT_OF_TURN", f"{_word(event)} cannot follow {self._standing()}", event)
            return
        parcel = self._parcel_of(event)
        status = event.shipment_status
        if event.kind is CarrierKind.RETURNED:
            parcel.status = ShipmentStatus.EXCEPTION
        elif parcel.status is ShipmentStatus.DELIVERED:
            if status is not ShipmentStatus.DELIVERED:
                self.doubt("OUT_OF_TURN", f"{_word(event)} cannot follow Delivered", event)
        elif status is not None:
            self._see(parcel, status, event, at)
        parcel.url = event.tracking_url or parcel.url
        parcel.estimated = event.estimated_delivery or parcel.estimated
        parcel.checkpoints.append(Checkpoint(at, status, event.code or event.status, event.message, event.location))

    def _see(self, parcel: _Parcel, status: ShipmentStatus, event: CarrierEvent, at: int) -> None:
        if status is not parcel.status:
            self.timeline.append(Step(status, at, Evidence.SCANNED, event.source, event.event_id))
        parcel.status = status
        parcel.message = event.message

    def _parcel_of(self, event: CarrierEvent) -> _Parcel:
        """Return the parcel an event is about: the one it names, else the one the card travels in."""
        named = (event.carrier, event.tracking_number)
        if named == (None, None) and self.parcel is not None:
            named = self.parcel
        if self.parcel is None:
            self.parcel = named
        return self.parcels.setdefault(named, _Parcel())

    def doubt(self, code: str, text: str, event: Event) -> None:
        """Keep an anomaly."""
        self.anomalies.append(Anomaly(code, text, event.occurred_at, event.source, event.event_id))

    def _standing(self) -> str:
        return "Delivered" if self.delivered else f"{self.stage}{' (final)' if self.final else ''}"

    def order(self) -> Order:
        """Return what was folded."""
        told = self.told if self.stage in _EXCEPTIONS else None
        return Order(
            issuer_id=self.request.issuer_id or "", card_id=self.request.card_id or "",
            operation_id=self.operation_id, requested_at=self.requested_at,
            stage=self.stage, ended_at=self.ended_at, final=self.final, hold=self.hold,
            reason=told.reason if told else None,
            error_code=told.error_code if told else None, error=told.error if told else None,
            due_date=self.due_date, production_site=self.site,
            input_file_name=self.request.input_file_name, issuer_request_id=self.request.issuer_request_id,
            distribution_channel=self.channel, shipment=self._shipment(),
            timeline=tuple(self.timeline), anomalies=tuple(self.anomalies),
            site_events=self.site_events, carrier_events=self.carrier_events,
        )  # fmt: skip

    def _shipment(self) -> Shipment | None:
        if self.parcel is None:
            return None
        parcel = self.parcels[self.parcel]
        return Shipment(
            *self.parcel, parcel.url, parcel.status, parcel.message, parcel.estimated, tuple(parcel.checkpoints)
        )


_FAILURES = frozenset({ProductionStatus.DATA_EXCEPTION, ProductionStatus.CANCELED})
_ABSORBED = _FAILURES | {ProductionStatus.RETURNED}
_EXCEPTIONS = _FAILURES | {ProductionStatus.EXCEPTION}
_TELLING = frozenset({ProductionKind.DATA_FAILED, ProductionKind.FAILED, ProductionKind.CANCELED})


def _word(event: CarrierEvent) -> str:
    return event.kind if event.kind is CarrierKind.RETURNED else (event.status or event.code or "a scan")
