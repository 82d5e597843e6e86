"""Many operations in one call, some of them bad. Contract section 7."""

import asyncio
from typing import Any

from cardtrail.sandbox.examine.answer import SPLIT, taken, taken_or_set_aside
from cardtrail.sandbox.examine.case import Failed, Need, Theme, Weight
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.picture import SHIPPED, body_of, picture

BULK = Theme("bulk", "many operations in one call are each taken by itself")
FEW, MANY = 20, 1_000
"""Operations of a small bulk, and of the largest that can be agreed on."""
RUSH = 50
"""Calls at once in a rush."""
BAD: dict[str, Any] = {"operationId": "bad id!", "operation": "PRODUCE", "cardId": None}
"""An element that is no operation."""
BUSY = frozenset({429, 503})
"""Answers of a receiver that has too much to do, which are right: the platform comes again."""


@BULK.case(
    "bulk", f"all of {FEW} operations in one call are stored", Need.STATE,
    why="A 2xx says that all of them were taken; whoever reads only the first loses the others without a trace.",
    fix='Loop over "operations".',
)  # fmt: skip
async def _bulk(exam: Exam) -> None:
    cards = [exam.card() for _ in range(FEW)]
    taken(await exam.send(*map(picture, cards)))
    await exam.expect_all(cards, "CARD_PROD_READY")


@BULK.case(
    "bulk-of-1000", f"{MANY:,} operations in one call are answered in time",
    why="After an outage they come as many at once as was agreed, up to 1,000; a time-out means all of them again.",
    fix="Store them in one transaction, or answer 413, after which the platform sends halves.",
)  # fmt: skip
async def _bulk_of_1000(exam: Exam) -> None:
    taken_or_set_aside(await exam.send(*(picture(exam.card()) for _ in range(MANY))))


@BULK.case(
    "bulk-of-1000-is-kept", f"of {MANY:,} operations in one call none is lost", Need.STATE,
    why="A receiver that takes a part and answers 2xx loses the rest without a trace.",
    fix="Take all in one transaction, or none and answer 413.",
)  # fmt: skip
async def _bulk_of_1000_is_kept(exam: Exam) -> None:
    cards = [exam.card() for _ in range(MANY)]
    await _send_by_halves(exam, [picture(card) for card in cards])
    await exam.expect_all(cards[:: MANY // 10] + cards[-1:], "CARD_PROD_READY")


@BULK.case(
    "steps-in-one-call", "of an order's steps in one call the newest stays, whatever their order", Need.STATE,
    why="A platform that sends every step may put several of one order into a call.",
    fix="Compare each with what is stored, also with what the same call has just stored.",
)  # fmt: skip
async def _steps_in_one_call(exam: Exam) -> None:
    card = exam.card()
    steps = (("CARD_PROD_REQUESTED", 1), (SHIPPED, 6), ("CARD_PROD_READY", 3))
    operations = [picture(card, stage, sequence=number) for stage, number in steps]
    await _send_by_halves(exam, operations)
    await exam.expect(card, SHIPPED)


@BULK.case(
    "twice-in-one-call", "the same operation twice in one call is taken",
    why="A unique key that is broken by the second one costs the whole call, each time it is sent again.",
    fix="Insert, on conflict do nothing.",
)  # fmt: skip
async def _twice_in_one_call(exam: Exam) -> None:
    operation = picture(exam.card())
    taken_or_set_aside(await exam.send(operation, operation))


@BULK.case(
    "mixed-bulk", "one bad element among good ones is answered 2xx or 400",
    why="Anything else is sent again as it is, for days, and the good ones with it.",
    fix="Take the good ones, keep the bad one for a person, answer 204; or take none and answer 400.",
)  # fmt: skip
async def _mixed_bulk(exam: Exam) -> None:
    taken_or_set_aside(await exam.send(picture(exam.card()), BAD, picture(exam.card())))


@BULK.case(
    "mixed-bulk-neighbours", "the good neighbours of a bad element are not lost", Need.STATE,
    why="After a 2xx they never come again; after a 400 they come in halves, which must then be taken.",
    fix="Judge each element by itself.",
)  # fmt: skip
async def _mixed_bulk_neighbours(exam: Exam) -> None:
    cards = [exam.card() for _ in range(4)]
    good = [picture(card) for card in cards]
    await _send_by_halves(exam, [good[0], BAD, *good[1:]])
    await exam.expect_all(cards, "CARD_PROD_READY")


@BULK.case(
    "rush", f"{RUSH} calls at once are answered",
    why="After an outage the platform sends as fast as it was told it may.",
    fix="Bound what you do at once, and answer 503 or 429 with Retry-After above that.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _rush(exam: Exam) -> None:
    for answer in await asyncio.gather(*(exam.send(picture(exam.card())) for _ in range(RUSH))):
        if answer.status not in BUSY:
            taken(answer, "one of the calls")


async def _send_by_halves(exam: Exam, operations: list[dict[str, Any]]) -> None:
    """Send operations as the platform does: what is refused by 400 or 413 in halves, until one alone is refused."""
    answer = await exam.post(body_of(*operations))
    if answer.is_taken:
        return
    if answer.status not in SPLIT:
        raise Failed(f"{len(operations)} operations are answered {answer}; 204, 400 or 413 expected")
    if len(operations) > 1:
        middle = len(operations) // 2
        await _send_by_halves(exam, operations[:middle])
        await _send_by_halves(exam, operations[middle:])
