"""Platform and mirror beside each other: what differs, since when, and what is only on its way."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.standing import Observed, Source, Told
from cardtrail.protocol.reading import Operation, operation_of
from cardtrail.sandbox.compare import GRACE, WHOLE_WAY, Copy, Row, Sight, copy_of, row_of, sight_of

ISSUER = "DEMO-BANK1"
NOW = 1_795_600_000_000_000


def operation(sequence: int, stage: str, shipment: str = "", **details: Any) -> Operation:
    parcel = {"shipment": {"status": shipment, "message": "On its way"}} if shipment else {}
    return operation_of(msgspec.json.encode({
        "operationId": "op-1", "operation": "PRODUCE", "status": "PENDING", "cardId": "card-1",
        "startTime": "2026-11-25T05:00:00.000Z", "details": {"status": stage, **parcel, **details},
        "cardtrail": {"sequence": sequence},
    }))  # fmt: skip


def sight(sequence: int, order: str = "op-1") -> Sight:
    return Sight("card-1", order, sequence, "CARD_PROD_ONGOING")


def copy(sequence: int, order: str = "op-1") -> Copy:
    return Copy(sight(sequence, order), Told.NOTIFIED)


def learned(path: Path, *observed: tuple[Operation, Source]) -> Copy | None:
    """Return what the mirror says after these."""

    async def play() -> Copy | None:
        async with AsyncMirror.open(f"sqlite:///{path / 'mirror.db'}") as mirror:
            for at, (each, source) in enumerate(observed):
                asked_at = await mirror.ticket(ISSUER) if source == "answer" else None
                await mirror.apply(ISSUER, [Observed(each, source, NOW + at, asked_at)])
            return copy_of(await mirror.card(ISSUER, "card-1"))

    return asyncio.run(play())


# ── what is said ──


def test_an_operation_is_seen_with_its_parcel_and_what_there_is_to_remark() -> None:
    seen = sight_of(operation(7, "CARD_SHIPPED", "InTransit"))
    assert seen == Sight("card-1", "op-1", 7, "CARD_SHIPPED", "InTransit", "On its way")
    assert sight_of(operation(3, "CARD_PROD_EXCEPTION", reason="chip")).remark == "chip"


@pytest.mark.parametrize(
    ("stage", "shipment", "word"),
    [
        ("CARD_PROD_DONE", "", "CARD_PROD_DONE"), ("CARD_SHIPPED", "", "CARD_SHIPPED"),
        ("CARD_SHIPPED", "Delivered", "Delivered"), ("CARD_RETURNED", "Exception", "CARD_RETURNED"),
    ],
)  # fmt: skip
def test_one_word_says_where_a_card_is(stage: str, shipment: str, word: str) -> None:
    assert Sight("card-1", "op-1", 1, stage, shipment).word == word


def test_the_way_ends_at_the_letter_box_or_back_at_the_sender() -> None:
    assert Sight("card-1", "op-1", 1, "CARD_PROD_REQUESTED").steps == 0
    assert Sight("card-1", "op-1", 1, "CARD_SHIPPED", "Delivered").steps == WHOLE_WAY
    assert Sight("card-1", "op-1", 1, "CARD_RETURNED", "Exception").steps == WHOLE_WAY
    assert Sight("card-1", "op-1", 1, "SOMETHING_NEW", "Unheard").steps == 0


# ── what the mirror says ──


def test_a_card_that_the_mirror_has_not_heard_of_has_no_copy(tmp_path: Path) -> None:
    assert learned(tmp_path) is None


def test_the_copy_says_how_it_was_told_and_how_much_had_to_be_inferred(tmp_path: Path) -> None:
    story: list[tuple[Operation, Source]] = [
        (operation(1, "CARD_PROD_REQUESTED"), "notification"), (operation(5, "CARD_PROD_DONE"), "answer")
    ]  # fmt: skip
    assert learned(tmp_path, *story[:1]) == Copy(Sight("card-1", "op-1", 1, "CARD_PROD_REQUESTED"), Told.NOTIFIED)
    assert learned(tmp_path, *story) == Copy(Sight("card-1", "op-1", 5, "CARD_PROD_DONE"), Told.ANSWERED, 3)


def test_what_was_inferred_before_does_not_count_for_the_next_step(tmp_path: Path) -> None:
    last = learned(
        tmp_path, (operation(1, "CARD_PROD_REQUESTED"), "notification"), (operation(5, "CARD_PROD_DONE"), "answer"),
        (operation(6, "CARD_SHIPPED"), "notification"),
    )  # fmt: skip
    assert last == Copy(Sight("card-1", "op-1", 6, "CARD_SHIPPED"), Told.NOTIFIED)


# ── beside each other ──


def test_a_mirror_that_says_the_same_is_not_wrong() -> None:
    row = row_of(None, sight(3), copy(3), 100.0)
    assert (row.since, row.differs_since, row.wrong_for(200.0)) == (100.0, None, None)


def test_a_mirror_that_is_ahead_of_the_last_look_is_not_wrong() -> None:
    assert row_of(None, sight(3), copy(4), 100.0).differs_since is None


@pytest.mark.parametrize("behind", [None, copy(2), copy(9, "op-0")], ids=["unheard", "older", "an order before"])
def test_a_mirror_that_is_behind_is_wrong_once_a_notification_should_have_come(behind: Copy | None) -> None:
    row = row_of(None, sight(3), behind, 100.0)
    assert row.wrong_for(100.0 + GRACE / 2) is None
    assert row.wrong_for(107.0) == 7.0


def test_how_long_it_is_wrong_counts_from_the_first_step_that_was_missed() -> None:
    row = row_of(row_of(None, sight(3), copy(2), 100.0), sight(4), copy(2), 105.0)
    assert (row.since, row.wrong_for(110.0)) == (105.0, 10.0)
    healed = row_of(row, sight(4), copy(4), 111.0)
    assert healed == Row(sight(4), 105.0, copy(4))
    assert row_of(healed, sight(5), copy(4), 120.0).differs_since == 120.0
