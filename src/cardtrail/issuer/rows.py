"""Rows of the mirror's tables to what they mean, and back."""

from collections.abc import Iterable

import msgspec

from cardtrail.db import Row
from cardtrail.issuer.standing import CHANGING, Applied, Doubtful, Known, Step, Taken

_steps = msgspec.json.Decoder(tuple[Step, ...])
_encode = msgspec.json.Encoder().encode


class Card(msgspec.Struct, kw_only=True):
    """What the mirror keeps of a card itself; the columns of its table tell what each means."""

    card_id: str
    state: str = "expected"
    priority: int = 0
    due_at: int = 0
    asked_no: int = 0
    seen_at: int = 0
    checked_at: int | None = None
    asks: int = 0
    known_at: int
    expected_at: int | None = None
    answer: str = ""
    digest: bytes | None = None
    knowledge: bytes = b""


def card_of(row: Row) -> Card:
    """Return the card of a row of `cards`."""
    return Card(
        card_id=row[0], state=row[1], priority=row[2], due_at=row[3], asked_no=row[4], seen_at=row[5],
        checked_at=row[6], asks=row[7], known_at=row[8], expected_at=row[9], answer=row[10], digest=row[11],
        knowledge=bytes(row[12]),
    )  # fmt: skip


def card_rows(issuer_id: str, cards: Iterable[Card]) -> list[Row]:
    """Return what `put_cards` takes."""
    return [
        (issuer_id, each.card_id, each.state, each.priority, each.due_at, each.asked_no, each.seen_at, each.checked_at,
         each.asks, each.known_at, each.expected_at, each.answer, each.digest, each.knowledge)
        for each in cards
    ]  # fmt: skip


def known_of(row: Row) -> Known:
    """Return what a row of `operations` or `pictures_of_card` says."""
    return Known(
        card_id=row[0], operation_id=row[1], operation=row[2], operation_status=row[3], stage=row[4],
        shipment_status=row[5], start_time=row[6], sequence=row[7], number=row[8], source=row[9], asked_at=row[10],
        learned_at=row[11], doubtful=bool(row[12]), why=row[13], content=bytes(row[14]), held=bool(row[15]),
        tracked=bool(row[16]), due_date=row[17], timeline=_steps.decode(row[18]),
        parcel=(row[19], row[20]), look_from=row[8] + 1 if row[21] is None else row[21], request_id=row[22],
        forgotten_at=row[23],
    )  # fmt: skip


def operation_row(issuer_id: str, known: Known, picture: bytes) -> Row:
    """Return what `put_operations` takes."""
    return (
        issuer_id, known.card_id, known.operation_id, known.operation, known.operation_status, known.stage,
        known.shipment_status, known.start_time, known.sequence, known.number, known.source, known.asked_at,
        known.learned_at, int(known.doubtful), known.why, known.content, int(known.held), int(known.tracked),
        known.due_date, _encode(known.timeline), picture, *known.parcel, known.look_from,
        known.request_id, known.forgotten_at,
    )  # fmt: skip


def confirmed_row(issuer_id: str, known: Known) -> Row:
    """Return what `confirm_operations` takes."""
    return (
        issuer_id, known.card_id, known.operation_id, known.number, known.asked_at, int(known.doubtful),
        known.sequence, _encode(known.timeline), known.look_from,
    )  # fmt: skip


def change_row(issuer_id: str, taken: Taken, wrong_since: int | None, dwelt: str | None) -> Row:
    """Return what `add_changes` takes; `dwelt` is where the order was until then.

    Raises ValueError for an outcome that changes nothing.
    """
    outcome, known = taken.outcome, taken.known
    if known is None or not isinstance(outcome, CHANGING):
        raise ValueError("nothing has changed")
    before = outcome.before
    name = "applied" if isinstance(outcome, Applied) else "doubtful" if isinstance(outcome, Doubtful) else "regressed"
    return (
        issuer_id, known.number, known.card_id, known.operation_id, name, known.source, known.why, known.learned_at,
        wrong_since, dwelt, before.learned_at if before else None,
        before.stage if before else None, before.shipment_status if before else None,
        known.stage, known.shipment_status, outcome.operation.raw,
    )  # fmt: skip
