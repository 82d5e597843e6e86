"""One order: what it is, and how it takes its events one after the other.

A `Track` is an order while it is being folded. It is given the order's events sorted by time; each is a step or an
anomaly by the transition table, then adds its details. `Track.order()` returns what was folded.
"""

import msgspec

from cardtrail.core.event import (
    STAGE_OF,
    CarrierEvent,
    CarrierKind,
    Event,
    ProductionEvent,
    ProductionKind,
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

ParcelKey = tuple[str | None, str | None]
"""Carrier and tracking number."""
Fact = ProductionEvent | CarrierEvent


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
    held_at: int | None
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


class _Parcel:
    """What carriers told of one parcel."""

    __slots__ = ("checkpoints", "estimated", "message", "status", "url")

    def __init__(self) -> None:
        self.status: ShipmentStatus | None = None
        self.message: str | None = None
        self.url: str | None = None
        self.estimated: str | None = None
        self.checkpoints: list[Checkpoint] = []


class Track:
    """An order while it is being folded; takes events in sorted order, each with the instant it counts as of."""

    __slots__ = (
        "anomalies", "carrier_events", "channel", "delivered", "due_date", "ended_at", "final", "held_at", "hold",
        "operation_id", "parcel", "parcels", "request", "requested_at", "site", "site_events", "stage", "timeline",
        "told", "unclaimed",
    )  # fmt: skip

    def __init__(self, operation_id: str, request: ProductionEvent, requested_at: int) -> None:
        self.operation_id = operation_id
        self.request = request
        self.requested_at = requested_at
        self.stage = ProductionStatus.REQUESTED
        self.final = False
        self.delivered = False
        self.hold: str | None = None
        self.held_at: int | None = None
        self.ended_at: int | None = None
        self.told: ProductionEvent | None = None
        self.due_date: str | None = None
        self.site: str | None = None
        self.channel = request.distribution_channel
        self.parcels: dict[ParcelKey, _Parcel] = {}
        self.parcel: ParcelKey | None = None
        self.timeline = [Step(self.stage, requested_at, Evidence.CLAIMED, request.source, request.event_id)]
        self.unclaimed: int | None = None  # place of "shipped" in the timeline while only a scan has proved it
        self.anomalies: list[Anomaly] = []
        self.site_events = 0
        self.carrier_events = 0

    # ── steps ──

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
        if event.kind is CarrierKind.RETURNED:
            absorbed = self.final or self.delivered
            return Move.ANOMALY if absorbed else TRANSITIONS[self.stage][ProductionStatus.RETURNED]
        if self.final or self.stage in _ABSORBED:
            return Move.ANOMALY
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
            self.held_at = self.held_at if move is Move.SAME else at
            self.hold = fact.reason or self.hold or ""
        elif fact.kind is ProductionKind.RELEASED:
            self.hold = None
        else:
            self._site_move(fact, at, move)
        return move

    def _site_move(self, fact: ProductionEvent, at: int, move: Move) -> None:
        stage = STAGE_OF[fact.kind]
        self.channel = self.channel or fact.distribution_channel
        if move is not Move.SAME:
            self._enter(stage, at, fact, Evidence.CLAIMED, move)
        elif stage is ProductionStatus.SHIPPED:
            self._claim_shipped(fact)
        if stage is ProductionStatus.EXCEPTION and fact.final:
            self.final, self.hold = True, None
        if stage in _FAILURES and move is not Move.SAME:
            self.ended_at = at  # also of an instant card, which had ended before
        elif self.final or (stage is ProductionStatus.DONE and self.channel == "INSTANT"):
            self.ended_at = self.ended_at or at

    def _carrier_move(self, event: CarrierEvent, at: int, move: Move) -> None:
        if move is Move.SAME:
            return
        if self.stage is not ProductionStatus.SHIPPED:
            self._enter(ProductionStatus.SHIPPED, at, event, Evidence.INFERRED, move)
        if event.kind is CarrierKind.RETURNED:
            self._enter(ProductionStatus.RETURNED, at, event, Evidence.SCANNED, Move.STEP)

    def _enter(self, stage: ProductionStatus, at: int, fact: Fact, evidence: Evidence, move: Move) -> None:
        if move is Move.SKIP:
            for between in skipped(self.stage, stage):
                self.timeline.append(Step(between, at, Evidence.INFERRED, fact.source, fact.event_id))
        if stage is ProductionStatus.SHIPPED and evidence is Evidence.INFERRED:
            self.unclaimed = len(self.timeline)
        self.timeline.append(Step(stage, at, evidence, fact.source, fact.event_id))
        self.stage = stage
        if stage not in OPEN:
            self.hold = None
            if stage is ProductionStatus.SHIPPED:
                self.ended_at = self.ended_at or at

    def _claim_shipped(self, fact: ProductionEvent) -> None:
        """A site says "shipped" after a carrier's scan had proved it: the step is claimed, no longer inferred."""
        if self.unclaimed is not None:
            at = self.timeline[self.unclaimed].at
            self.timeline[self.unclaimed] = Step(self.stage, at, Evidence.CLAIMED, fact.source, fact.event_id)
            self.unclaimed = None

    # ── details ──

    def take(self, fact: Fact, at: int) -> None:
        """Fold one fact in: its step, then its details."""
        at = max(at, self.requested_at)
        if fact.occurred_at > fact.recorded_at + SKEW:
            self.doubt("CLOCK_AHEAD", "the source's clock is ahead; counted as of when we heard of it", fact)
        if isinstance(fact, CarrierEvent):
            self.carrier_events += 1
            self._take_scan(fact, at)
        else:
            self.site_events += 1
            self._take_production(fact, at)

    def _take_production(self, fact: ProductionEvent, at: int) -> None:
        if fact is not self.request and self.move(fact, at) is Move.ANOMALY:
            self.doubt("OUT_OF_TURN", f"{fact.kind} cannot follow {self._standing()}", fact)
            return
        if fact.kind in _TELLING:
            self.told = fact
        self.due_date = fact.due_date or self.due_date
        self.site = fact.production_site or self.site
        if fact.carrier is not None:
            self._take_parcel(fact.carrier, fact.tracking_number, fact.tracking_url)

    def _take_parcel(self, carrier: str, number: str | None, url: str | None) -> None:
        """A site names the parcel that the card travels in; without a number, the carrier's last one still."""
        key: ParcelKey = (carrier, number)
        if number is None and self.parcel is not None and self.parcel[0] == carrier:
            key = self.parcel
        parcel = self.parcels.setdefault(key, _Parcel())
        parcel.url = url or parcel.url
        self.parcel = key
        self.delivered = parcel.status is ShipmentStatus.DELIVERED

    def _take_scan(self, event: CarrierEvent, at: int) -> None:
        if self.move(event, at) is Move.ANOMALY:
            self.doubt("OUT_OF_TURN", f"{_word(event)} cannot follow {self._standing()}", event)
            return
        parcel = self._parcel_of(event)
        status = event.shipment_status
        if event.kind is CarrierKind.RETURNED:
            parcel.status = ShipmentStatus.EXCEPTION
        elif parcel.status is ShipmentStatus.DELIVERED and status not in {None, ShipmentStatus.DELIVERED}:
            self.doubt("OUT_OF_TURN", f"{_word(event)} cannot follow Delivered", event)
            return
        elif parcel.status is not ShipmentStatus.DELIVERED and status is not None:
            self._see(parcel, status, event, at)
        parcel.url = event.tracking_url or parcel.url
        parcel.estimated = event.estimated_delivery or parcel.estimated
        parcel.checkpoints.append(Checkpoint(at, status, event.code or event.status, event.message, event.location))

    def _see(self, parcel: _Parcel, status: ShipmentStatus, event: CarrierEvent, at: int) -> None:
        if status is not parcel.status:
            self.timeline.append(Step(status, at, Evidence.SCANNED, event.source, event.event_id))
        parcel.status = status
        parcel.message = event.message
        if status is ShipmentStatus.DELIVERED and parcel is self.parcels.get(self.parcel or (None, None)):
            self.delivered = True

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
            held_at=self.held_at if self.hold is not None else None,
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
