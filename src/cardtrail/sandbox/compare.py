"""What the platform says of a card, and what the mirror says of it: the same words beside each other."""

from collections.abc import Sequence

import msgspec

from cardtrail.core.status import MAIN_LINE, ProductionStatus, ShipmentStatus
from cardtrail.issuer.mirror import Held
from cardtrail.issuer.standing import Told
from cardtrail.protocol.reading import Operation

_WAY = (
    *MAIN_LINE,
    ShipmentStatus.INFO_RECEIVED, ShipmentStatus.IN_TRANSIT, ShipmentStatus.OUT_FOR_DELIVERY, ShipmentStatus.DELIVERED,
)  # fmt: skip
WHOLE_WAY = len(_WAY) - 1
"""Steps from the request to the letter box."""
_BESIDE = {
    ProductionStatus.EXCEPTION: ProductionStatus.ONGOING,
    ProductionStatus.RETURNED: ShipmentStatus.DELIVERED,
    ShipmentStatus.ATTEMPT_FAIL: ShipmentStatus.OUT_FOR_DELIVERY,
    ShipmentStatus.EXCEPTION: ShipmentStatus.OUT_FOR_DELIVERY,
}
_STEPS = {str(status): step for step, status in enumerate(_WAY)}
_STEPS |= {str(status): _STEPS[near] for status, near in _BESIDE.items()}
GRACE = 1.0
"""For how long the mirror may differ without being called wrong, seconds: a notification may be on its way."""


class Sight(msgspec.Struct, frozen=True):
    """A card's latest order as one side has it."""

    card_id: str
    operation_id: str
    sequence: int
    stage: str
    shipment: str = ""
    remark: str = ""

    @property
    def word(self) -> str:
        """Where the card is, in one word."""
        return self.shipment if self.shipment and self.stage == ProductionStatus.SHIPPED else self.stage

    @property
    def steps(self) -> int:
        """How far it is on its way, 0 to WHOLE_WAY."""
        return max(_STEPS.get(self.stage, 0), _STEPS.get(self.shipment, 0))


class Copy(msgspec.Struct, frozen=True):
    """What the mirror says, how it was told, and how many steps it had to infer that nobody told it."""

    sight: Sight
    told: Told
    inferred: int = 0


class Row(msgspec.Struct, frozen=True):
    """A card as both sides have it. `since` is when the platform said something new, a moment of `time.monotonic`.

    `differs_since` is when the mirror was first seen to say something else; None where it says the same.
    """

    truth: Sight
    since: float
    copy: Copy | None = None
    differs_since: float | None = None

    def wrong_for(self, now: float) -> float | None:
        """Return for how long the mirror has been wrong, seconds; None where it is not."""
        if self.differs_since is None or now - self.differs_since < GRACE:
            return None
        return now - self.differs_since


def sight_of(operation: Operation) -> Sight:
    """Return what an operation says."""
    shipment = operation.shipment
    return Sight(
        operation.card_id, operation.operation_id, operation.sequence or 0, operation.stage,
        operation.shipment_status or "", operation.reason or (shipment and shipment.message) or "",
    )  # fmt: skip


def copy_of(held: Sequence[Held]) -> Copy | None:
    """Return what the mirror says of a card, whose orders come newest first; None where it knows none."""
    if not held:
        return None
    known = held[0].known
    told = Told.NOTIFIED if known.source == "notification" else Told.ANSWERED
    inferred = [step for step in known.timeline if step.told is Told.INFERRED and step.learned_at == known.learned_at]
    return Copy(sight_of(held[0].operation), told, len(inferred))


def row_of(before: Row | None, truth: Sight, copy: Copy | None, now: float) -> Row:
    """Return a card as it is seen now, after what was seen of it before."""
    since = now if before is None or _place_of(before.truth) != _place_of(truth) else before.since
    if copy is not None and not _is_behind(copy.sight, truth):
        return Row(truth, since, copy)
    differed = before.differs_since if before is not None else None
    return Row(truth, since, copy, now if differed is None else differed)


def _place_of(sight: Sight) -> tuple[str, int]:
    return sight.operation_id, sight.sequence


def _is_behind(copy: Sight, truth: Sight) -> bool:
    """Tell whether the mirror is not where the platform is; it may be ahead, since it is looked at later."""
    return copy.operation_id != truth.operation_id or copy.sequence < truth.sequence
