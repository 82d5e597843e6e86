"""How one order stands in the mirror, and what an observation of it changes. Law 3.

An observation is an operation and how we came by it: a notification, or an answer that we asked for. `taken` compares
it with what is known and keeps the newer; the rules are those of `core.operation.judge`. Two observations with one
`operationId` are a repetition only where they also say the same.

Asking and observing are ordered by *tickets*, readings of the mirror's own count of changes, so no clock that jumps and
no two machines whose clocks differ can make an old answer win. Wall clocks only tell people when something was learned.
"""

from enum import StrEnum
from hashlib import blake2b
from typing import Literal

import msgspec

from cardtrail.core.operation import Newer, Observation, Rule, Verdict, judge, judged_by_content
from cardtrail.core.place import OTHER, PLACES
from cardtrail.core.status import MAIN_LINE, TRANSITIONS, Move, OperationStatus, ProductionStatus, skipped
from cardtrail.protocol.reading import Operation

MAX_TIMELINE = 200
"""Most steps of an order that are kept; the oldest go first."""
DAY = 86_400_000_000
FOLDED = frozenset({"PRODUCE", "STANDALONE_TRACKING"})
"""Kinds of operation that say where a card is; the others are kept, and tell nothing of that."""

ON_HOLD = "ON_HOLD"
"""What the reason of an order on hold begins with."""

_PUBLISHED = frozenset(PLACES)

Source = Literal["notification", "answer"]


class Observed(msgspec.Struct, frozen=True):
    """An operation and how we came by it. `learned_at` is wall-clock µs.

    `asked_at` is the mirror's ticket from before the question; None for a notification.
    """

    operation: Operation
    source: Source
    learned_at: int
    asked_at: int | None = None


class Told(StrEnum):
    """How a step of the timeline was learned."""

    NOTIFIED = "notified"
    ANSWERED = "answered"
    INFERRED = "inferred"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stage or shipment status that the order reached.

    `happened_at` is None where no picture told it; `notified_at` is when its notification came at last.
    """

    word: str
    kind: Literal["stage", "shipment"]
    told: Told
    learned_at: int
    happened_at: int | None = None
    notified_at: int | None = None


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the mirror has of one order, but for the picture itself. `number` is the mirror's count when it was taken.

    `why` is the rule by which this picture won over the one before; `doubtful` means that it may not be the newest.
    `held` is an order on hold, `tracked` one whose parcel can be followed. `parcel` is carrier and tracking number, as
    far as they are named; `request_id` is the issuer's own id of its request. `look_from` is the lowest ticket of a
    question that is a look at what it says, if answered. Since `forgotten_at` nothing is kept of its parcel.
    """

    card_id: str
    operation_id: str
    operation: str
    operation_status: str
    stage: str
    shipment_status: str | None
    start_time: int | None
    sequence: int | None
    number: int
    source: Source
    asked_at: int | None
    learned_at: int
    doubtful: bool
    why: str
    content: bytes
    held: bool = False
    tracked: bool = False
    due_date: str | None = None
    timeline: tuple[Step, ...] = ()
    parcel: tuple[str | None, str | None] = (None, None)
    look_from: int
    request_id: str | None = None
    forgotten_at: int | None = None


class _Outcome(msgspec.Struct, frozen=True):
    """What became of an observation: its operation, the rule that decided, and what was known before."""

    operation: Operation
    why: str
    before: Known | None


class Applied(_Outcome, frozen=True):
    """It is newer, and is what the mirror says now."""


class Duplicate(_Outcome, frozen=True):
    """It says what the mirror said already."""


class Stale(_Outcome, frozen=True):
    """The mirror has a newer one."""


class Doubtful(_Outcome, frozen=True):
    """It differs, and nothing tells which is newer: the mirror says what was observed later, and will ask."""


class Regressed(_Outcome, frozen=True):
    """An answer that was asked for later says less than the mirror had: the platform was restored. It is believed."""


Outcome = Applied | Duplicate | Stale | Doubtful | Regressed
CHANGING = Applied | Doubtful | Regressed
"""Outcomes that change what the mirror says."""


class Tally(msgspec.Struct, frozen=True, gc=False):
    """One more of something to count: on the day that the step was learned, which word, and how it was told."""

    day: int
    word: str
    told: str


class Taken(msgspec.Struct, frozen=True):
    """What an observation makes of an order. `known` is None where nothing has to be written."""

    outcome: Outcome
    known: Known | None
    tallies: tuple[Tally, ...] = ()


def content_of(operation: Operation) -> bytes:
    """Return the hash of what an operation says, without our extension."""
    return blake2b(operation.content, digest_size=16).digest()


def taken(before: Known | None, observed: Observed, number: int) -> Taken:
    """Return what becomes of an observation; `number` is the mirror's count that a change of it would get."""
    content = content_of(observed.operation)
    if before is None:
        return _replaced(Applied, None, observed, content, number, "the first that was heard of it")
    now, then = _observation(observed, content, number), _observation_of(before)
    if content == before.content and (now.sequence == then.sequence or None in (now.sequence, then.sequence)):
        return _repeated(before, observed, number)
    verdict = judge(now, then)
    if verdict.newer is Newer.NO:
        return _late(Stale, before, observed, verdict.rule)
    if verdict.newer is Newer.UNSURE:
        return _replaced(Doubtful, before, observed, content, number, verdict.rule)
    kind = Regressed if _goes_back(verdict, now, then) else Applied
    return _replaced(kind, before, observed, content, number, verdict.rule)


def _observation(observed: Observed, content: bytes, number: int) -> Observation:
    operation = observed.operation
    return Observation(
        operation.operation_id, observed.source, number, operation.stage, content,
        operation.status != OperationStatus.PENDING, operation.shipment_status, operation.sequence, observed.asked_at,
        _parcel_of(operation),
    )  # fmt: skip


def _observation_of(known: Known) -> Observation:
    return Observation(
        known.operation_id, known.source, known.number, known.stage, known.content,
        known.operation_status != OperationStatus.PENDING, known.shipment_status, known.sequence, known.asked_at,
        known.parcel,
    )  # fmt: skip


def _parcel_of(operation: Operation) -> tuple[str | None, str | None]:
    shipment = operation.shipment
    return (None, None) if shipment is None else (shipment.carrier, shipment.tracking_number)


def _goes_back(verdict: Verdict, now: Observation, then: Observation) -> bool:
    return verdict.rule is Rule.ASKED_LATER and judged_by_content(now, then).newer is Newer.NO


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────


def _repeated(before: Known, observed: Observed, number: int) -> Taken:
    """Return the same again. An answer confirms it as of when it was asked for; a notification only that it came."""
    if observed.asked_at is None or observed.asked_at <= before.number:
        late = _late(Duplicate, before, observed, Rule.CONTENT)
        if observed.operation.sequence is not None and before.sequence is not None:
            return late
        # Orders go in rounds: this may be a later round, so an answer that was asked for before is no later than it.
        return Taken(late.outcome, msgspec.structs.replace(late.known or before, number=number), late.tallies)
    sequence = observed.operation.sequence or before.sequence
    confirmed = msgspec.structs.replace(
        before, number=number, asked_at=observed.asked_at, doubtful=False, sequence=sequence
    )
    return Taken(Duplicate(observed.operation, Rule.CONTENT, before), confirmed)


def _late(kind: type[Duplicate | Stale], before: Known, observed: Observed, rule: str) -> Taken:
    """Return what is not news. A notification of a step that an answer told first was late, not lost."""
    outcome = kind(observed.operation, rule, before)
    if observed.source == "answer":
        return Taken(outcome, None)
    words = {observed.operation.stage, observed.operation.shipment_status}
    late = [step for step in before.timeline if _is_missed(step) and step.word in words]
    if not late:
        return Taken(outcome, None)
    timeline = tuple(
        msgspec.structs.replace(step, notified_at=observed.learned_at) if step in late else step
        for step in before.timeline
    )
    answered = [step for step in late if step.told is Told.ANSWERED]
    tallies = tuple(Tally(step.learned_at // DAY, counted_as(step.word), "late") for step in answered)
    return Taken(outcome, msgspec.structs.replace(before, timeline=timeline), tallies)


def counted_as(word: str) -> str:
    """Return under which word a step is counted: a server that invents words all the time makes one more at most."""
    return word if is_published(word) else OTHER


def is_published(word: str) -> bool:
    """Tell whether a stage or shipment status is one that the contract names."""
    return word in _PUBLISHED


def _is_missed(step: Step) -> bool:
    return step.told is not Told.NOTIFIED and step.notified_at is None


def _replaced(  # noqa: PLR0913, PLR0917 -- all that decides what is kept
    kind: type[CHANGING], before: Known | None, observed: Observed, content: bytes, number: int, rule: str
) -> Taken:
    operation = observed.operation
    steps = _steps(before, observed)
    # An older doubt ends with an answer, or with a sequence, not with a picture that is only newer than one of the two.
    doubtful = kind is Doubtful or (
        before is not None and before.doubtful and rule not in {Rule.ASKED_LATER, Rule.SEQUENCE}
    )
    known = Known(
        card_id=operation.card_id, operation_id=operation.operation_id, operation=operation.operation,
        operation_status=operation.status, stage=operation.stage, shipment_status=operation.shipment_status,
        start_time=operation.start_time, sequence=operation.sequence, number=number,
        source=observed.source, asked_at=observed.asked_at, learned_at=observed.learned_at,
        doubtful=doubtful, why=rule, content=content, held=(operation.reason or "").startswith(ON_HOLD),
        tracked=_is_tracked(operation), due_date=operation.due_date,
        timeline=((before.timeline if before else ()) + steps)[-MAX_TIMELINE:], parcel=_parcel_of(operation),
        look_from=_look_from(before, observed, number), request_id=operation.issuer_request_id,
        forgotten_at=before.forgotten_at if before else None,
    )  # fmt: skip
    tallies = tuple([Tally(step.learned_at // DAY, counted_as(step.word), step.told) for step in steps])
    return Taken(kind(operation, rule, before), known, tallies)


def _look_from(before: Known | None, observed: Observed, number: int) -> int:
    """Return from which ticket on a question is a look at this: an answer's own, unless something came in between."""
    asked_at = observed.asked_at
    return number + 1 if asked_at is None or (before is not None and asked_at <= before.number) else asked_at


def _is_tracked(operation: Operation) -> bool:
    shipment = operation.shipment
    return shipment is not None and (shipment.status is not None or shipment.tracking_number is not None)


# ── the timeline ─────────────────────────────────────────────────────────────────────────────────────────────

_ENDING = frozenset({
    ProductionStatus.SHIPPED, ProductionStatus.CANCELED, ProductionStatus.DATA_EXCEPTION, ProductionStatus.EXCEPTION,
    ProductionStatus.DONE,
})  # fmt: skip
"""Stages at which an operation can end, so that `endTime` is theirs. A card that came back had ended before."""


def _steps(before: Known | None, observed: Observed) -> tuple[Step, ...]:
    """Return the steps that an observation tells of and the timeline does not have yet."""
    operation, at = observed.operation, observed.learned_at
    told = Told.NOTIFIED if observed.source == "notification" else Told.ANSWERED
    steps = []
    if operation.stage and (before is None or operation.stage != before.stage):
        steps += [
            Step(stage, "stage", Told.INFERRED, at, _happened(operation, stage))
            for stage in _between(before.stage if before else "", operation.stage)
        ]
        steps.append(Step(operation.stage, "stage", told, at, _happened(operation, operation.stage)))
    shipment = operation.shipment_status
    if shipment and (before is None or shipment != before.shipment_status):
        steps.append(Step(shipment, "shipment", told, at, _scanned(operation, shipment)))
    return tuple(steps)


def _between(now: str, then: str) -> tuple[str, ...]:
    """Return the stages that must have been passed and that nobody told us of."""
    if then not in TRANSITIONS or now not in {"", *TRANSITIONS}:
        return ()
    begin = () if now or then == MAIN_LINE[0] else (MAIN_LINE[0],)
    start, end = ProductionStatus(now or MAIN_LINE[0]), ProductionStatus(then)
    return begin + (skipped(start, end) if TRANSITIONS[start][end] is Move.SKIP else ())


def _happened(operation: Operation, stage: str) -> int | None:
    """Return when a stage was reached, as far as the picture tells: the first and the last of an operation."""
    if stage == MAIN_LINE[0]:
        return operation.start_time
    if stage in {operation.stage, ProductionStatus.SHIPPED}:
        return operation.end_time if stage in _ENDING else None
    return None


def _scanned(operation: Operation, shipment_status: str) -> int | None:
    return next((seen.at for seen in reversed(operation.checkpoints) if seen.status == shipment_status), None)
