"""Events: immutable facts from production sites and carriers, keyed `(source, event_id)`.

Instants are microseconds since 1970 UTC. `occurred_at` is what the source's clock said, `recorded_at` what ours
said when the event came in. A date (`due_date`, `estimated_delivery`) is not an instant and stays text.
"""

from enum import StrEnum

import msgspec

from cardtrail.core.status import RANK, SHIPMENT_RANK, ProductionStatus, ShipmentStatus


class ProductionKind(StrEnum):
    """What a production site (or the order itself) can report."""

    REQUESTED = "requested"
    PREPARED = "prepared"
    DATA_FAILED = "data_failed"
    READY = "ready"
    STARTED = "started"
    FAILED = "failed"
    DONE = "done"
    HELD = "held"
    RELEASED = "released"
    SHIPPED = "shipped"
    CANCELED = "canceled"


class CarrierKind(StrEnum):
    """What a carrier can report."""

    SCANNED = "scanned"
    RETURNED = "returned"


RETRACTED = "retracted"

STAGE_OF = {
    ProductionKind.REQUESTED: ProductionStatus.REQUESTED,
    ProductionKind.PREPARED: ProductionStatus.DATA_PREPARED,
    ProductionKind.DATA_FAILED: ProductionStatus.DATA_EXCEPTION,
    ProductionKind.READY: ProductionStatus.READY,
    ProductionKind.STARTED: ProductionStatus.ONGOING,
    ProductionKind.FAILED: ProductionStatus.EXCEPTION,
    ProductionKind.DONE: ProductionStatus.DONE,
    ProductionKind.SHIPPED: ProductionStatus.SHIPPED,
    ProductionKind.CANCELED: ProductionStatus.CANCELED,
}
"""The stage a kind leads to; `held` and `released` lead to none."""

_RANK_OF_KIND = {kind: RANK[STAGE_OF.get(kind, ProductionStatus.READY)] for kind in ProductionKind}
_SHIPMENT = {status.value: status for status in ShipmentStatus}


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every event has: its key, its two times, and the reference to what it is about."""

    source: str
    event_id: str
    occurred_at: int
    recorded_at: int = 0
    issuer_id: str | None = None
    card_id: str | None = None
    operation_id: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The event's identity."""
        return self.source, self.event_id


class ProductionEvent(Fact, frozen=True, tag="production", gc=False):
    """A fact about production. `final` says of `failed` that no rework is possible."""

    kind: ProductionKind
    reason: str | None = None
    final: bool = False
    error_code: str | None = None
    error: str | None = None
    due_date: str | None = None
    production_site: str | None = None
    input_file_name: str | None = None
    issuer_request_id: str | None = None
    tracking_url: str | None = None
    distribution_channel: str | None = None

    @property
    def rank(self) -> int:
        """Place among events of the same instant: earlier stages first."""
        return _RANK_OF_KIND[self.kind]


class CarrierEvent(Fact, frozen=True, tag="carrier", gc=False):
    """A fact about a parcel. `code` is the carrier's own word, `status` what it was mapped to, if known."""

    kind: CarrierKind
    code: str | None = None
    status: str | None = None
    message: str | None = None
    location: str | None = None
    estimated_delivery: str | None = None
    tracking_url: str | None = None

    @property
    def shipment_status(self) -> ShipmentStatus | None:
        """One of our nine, or None: an unknown word stays unknown."""
        return _SHIPMENT.get(self.status) if self.status else None

    @property
    def rank(self) -> int:
        """Place among events of the same instant: after production, by progress of the parcel."""
        if self.kind is CarrierKind.RETURNED:
            return 30
        status = self.shipment_status
        return 20 + (SHIPMENT_RANK[status] if status else 0)


class Retraction(Fact, frozen=True, tag="retraction", gc=False):
    """Takes the event `retracts` of `retracted_source` (by default the same source) out of the fold."""

    retracts: str
    retracted_source: str | None = None

    @property
    def target(self) -> tuple[str, str]:
        """Key of the event that is taken back."""
        return self.retracted_source or self.source, self.retracts


Event = ProductionEvent | CarrierEvent | Retraction
