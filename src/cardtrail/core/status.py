"""The stages of a card order, and the one table that says which may follow which.

Theory
------
An order walks a *main line*: requested, prepared, ready, ongoing, done, shipped. Two stages stand beside it
(data exception, personalization exception) and two behind it (cancelled, returned).

Notices get lost and overtake each other, so a *forward* jump is legal: what lies between must have happened,
nobody told us, and it is marked *inferred*. A step *back* is never believed, with one exception that the
field knows: rework leads from the personalization exception to ongoing again. What the table forbids
is an **anomaly**: it is kept on the order for people to see, moves nothing and is never an error.

Holding is not a stage: a held order keeps its stage, and only an open order can be held.

`TRANSITIONS[now][then]` is the whole rule:

====  ==========================================================================================
`>`   step: the next thing that can happen
`+`   skip: legal, the stages between are inferred
`=`   said again: no move, new details are taken
`.`   anomaly
====  ==========================================================================================

The rows come from the published meanings of the statuses; that skips are legal, that a cancellation is
possible until shipping and that a return needs a shipment are our rules.
"""

from enum import StrEnum


class OperationStatus(StrEnum):
    """State of the *operation*, not of the card."""

    PENDING = "PENDING"
    SUCCESSFUL = "SUCCESSFUL"
    FAILED = "FAILED"


class ProductionStatus(StrEnum):
    """`details.status` of a PRODUCE operation, as published."""

    REQUESTED = "CARD_PROD_REQUESTED"
    DATA_PREPARED = "DATA_PREPARED"
    DATA_EXCEPTION = "DATA_EXCEPTION"
    READY = "CARD_PROD_READY"
    ONGOING = "CARD_PROD_ONGOING"
    EXCEPTION = "CARD_PROD_EXCEPTION"
    DONE = "CARD_PROD_DONE"
    SHIPPED = "CARD_SHIPPED"
    CANCELED = "CARD_PROD_CANCELED"
    RETURNED = "CARD_RETURNED"


class ShipmentStatus(StrEnum):
    """`details.shipment.status` as we write it; on the wire an open string."""

    PENDING = "Pending"
    INFO_RECEIVED = "InfoReceived"
    IN_TRANSIT = "InTransit"
    OUT_FOR_DELIVERY = "OutForDelivery"
    ATTEMPT_FAIL = "AttemptFail"
    DELIVERED = "Delivered"
    AVAILABLE_FOR_PICKUP = "AvailableForPickup"
    EXCEPTION = "Exception"
    EXPIRED = "Expired"


CARRIERS = frozenset({
    "chronopost-france", "dhl", "dhl-global-mail", "deutsch-post", "estafeta", "fedex", "la-poste-colissimo", "nacex",
    "spanish-seur", "singapore-post", "spain-correos-es", "ups", "usps-iv-api",
})  # fmt: skip
"""Published carrier codes; contract, section 3."""


class Evidence(StrEnum):
    """How we know: a site claimed it, a carrier scanned it, or we inferred it."""

    CLAIMED = "claimed"
    SCANNED = "scanned"
    INFERRED = "inferred"


class Move(StrEnum):
    """What the table says about one stage following another."""

    STEP = ">"
    SKIP = "+"
    SAME = "="
    ANOMALY = "."


_TABLE = """
from \\ to      REQUESTED DATA_PREPARED DATA_EXCEPTION READY ONGOING EXCEPTION DONE SHIPPED CANCELED RETURNED
REQUESTED          =           >             >          +      +        +       +     +       >         +
DATA_PREPARED      .           =             >          >      +        +       +     +       >         +
DATA_EXCEPTION     .           .             =          .      .        .       .     .       .         .
READY              .           .             .          =      >        +       +     +       >         +
ONGOING            .           .             .          .      =        >       >     +       >         +
EXCEPTION          .           .             .          .      >        =       +     +       >         +
DONE               .           .             .          .      .        .       =     >       >         +
SHIPPED            .           .             .          .      .        .       .     =       .         >
CANCELED           .           .             .          .      .        .       .     .       =         .
RETURNED           .           .             .          .      .        .       .     .       .         =
"""


def _read(table: str) -> dict[ProductionStatus, dict[ProductionStatus, Move]]:
    head, *rows = table.strip().splitlines()
    targets = [ProductionStatus[name] for name in head.split()[3:]]
    return {
        ProductionStatus[name]: dict(zip(targets, map(Move, marks), strict=True))
        for name, *marks in (row.split() for row in rows)
    }


TRANSITIONS = _read(_TABLE)

MAIN_LINE = (
    ProductionStatus.REQUESTED,
    ProductionStatus.DATA_PREPARED,
    ProductionStatus.READY,
    ProductionStatus.ONGOING,
    ProductionStatus.DONE,
    ProductionStatus.SHIPPED,
)

RANK = {status: rank for rank, status in enumerate(ProductionStatus)}
"""Order of the stages for sorting what happened in the same instant, and for comparing pictures."""

SHIPMENT_RANK = {status: rank for rank, status in enumerate((
    ShipmentStatus.PENDING, ShipmentStatus.INFO_RECEIVED, ShipmentStatus.IN_TRANSIT,
    ShipmentStatus.OUT_FOR_DELIVERY, ShipmentStatus.ATTEMPT_FAIL, ShipmentStatus.AVAILABLE_FOR_PICKUP,
    ShipmentStatus.EXCEPTION, ShipmentStatus.EXPIRED, ShipmentStatus.DELIVERED,
))}  # fmt: skip

MOVING = frozenset({
    ShipmentStatus.IN_TRANSIT, ShipmentStatus.OUT_FOR_DELIVERY, ShipmentStatus.ATTEMPT_FAIL,
    ShipmentStatus.AVAILABLE_FOR_PICKUP, ShipmentStatus.DELIVERED,
})  # fmt: skip
"""Scans that only a parcel in the carrier's hands can have: they prove that the card was shipped."""

OPEN = frozenset(MAIN_LINE[:-1]) | {ProductionStatus.EXCEPTION}
"""Stages in which an order can be held and released."""


def skipped(now: ProductionStatus, then: ProductionStatus) -> tuple[ProductionStatus, ...]:
    """Return the main-line stages that a jump from `now` to `then` leaves out; an exception's rework is one."""
    low = RANK[ProductionStatus.READY] if now is ProductionStatus.EXCEPTION else RANK[now]
    high = RANK[ProductionStatus.SHIPPED] + 1 if then is ProductionStatus.RETURNED else RANK[then]
    return tuple(stage for stage in MAIN_LINE if low < RANK[stage] < high)


def diagram() -> str:
    """Return the table as a Mermaid state diagram: skips lead nearly everywhere and are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {ProductionStatus.REQUESTED}"]
    for now, row in TRANSITIONS.items():
        lines += [f"    {now} --> {then}" for then, move in row.items() if move is Move.STEP]
    ends = [now for now, row in TRANSITIONS.items() if not {Move.STEP, Move.SKIP} & set(row.values())]
    return "\n".join([*lines, *(f"    {end} --> [*]" for end in ends)]) + "\n"
