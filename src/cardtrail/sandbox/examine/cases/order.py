"""Duplicates and disorder: at least once, in any order. Contract sections 2, 3 and 7.

Each begins with a first picture and ends with one that must not win, so that nobody passes who ignores all but the
first, or believes whatever came last.
"""

import asyncio

from cardtrail.core.status import MAIN_LINE
from cardtrail.sandbox.examine.answer import taken
from cardtrail.sandbox.examine.case import Failed, Need, Theme, Weight
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.picture import DELIVERED, LATER, SHIPPED, body_of, operation_id_of, picture

ORDER = Theme("order", "duplicates and disorder do no harm")
AT_ONCE = 10
"""Calls that are made at the same time."""

_BY_SEQUENCE = "Keep the highest cardtrail.sequence of an operationId; a lower one is old, whatever it says."
_BY_STAGE = (
    "Where there is no sequence, compare the stages: a picture that is further behind never replaces one that is "
    "further on, and an operation that has ended does not become pending again."
)


@ORDER.case(
    "duplicate", "the same call twice is taken twice",
    why="Delivery is at least once: a call whose answer was lost comes again, with the same webhook-id.",
    fix="Answer a repetition 204; an error makes it come again for days.",
)  # fmt: skip
async def _duplicate(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    headers = exam.headers(body)
    for which in ("first call", "the same again"):
        taken(await exam.post(body, headers), which)


@ORDER.case(
    "signed-anew", "a repetition that is signed anew is taken",
    why="A retry keeps its webhook-id and has a fresh time and signature.",
    fix="Do not refuse a webhook-id because you have seen it.",
)  # fmt: skip
async def _signed_anew(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    for age in (60, 0):
        taken(await exam.post(body, exam.headers(body, webhook_id=f"retry_{card}", age=age)), f"signed {age} s ago")


@ORDER.case(
    "duplicate-kept-once", "a repetition under another webhook-id makes no second order", Need.STATE,
    why="After a regrouping or a replay the same operation comes under another webhook-id.",
    fix="Make cardId and operationId the key of your table, not the id of the message.",
)  # fmt: skip
async def _duplicate_kept_once(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(*[picture(card)] * 3)
    await exam.expect(card, "CARD_PROD_READY")
    await _check_single(exam, card)


@ORDER.case(
    "same-id-other-content", "a webhook-id seen before does not hide what is new", Need.STATE,
    why="Receivers must de-duplicate each operation by what it says, never by the webhook-id alone.",
    fix="Compare the operation with what you have of it; leave webhook-id to the logs.",
    weight=Weight.SHOULD,
)  # fmt: skip
async def _same_id_other_content(exam: Exam) -> None:
    card = exam.card()
    for number, stage in enumerate(("CARD_PROD_READY", SHIPPED), 1):
        body = body_of(picture(card, stage, sequence=number))
        taken(await exam.post(body, exam.headers(body, webhook_id=f"again_{card}")))
    await exam.expect(card, SHIPPED)


@ORDER.case(
    "swapped-with-sequence", "with a sequence, the older of two swapped pictures does not win", Need.STATE,
    why="Notifications overtake each other; believing the last one shows the customer an old state for ever.",
    fix=_BY_SEQUENCE,
)  # fmt: skip
async def _swapped_with_sequence(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        picture(card, "CARD_PROD_REQUESTED", sequence=1),
        picture(card, SHIPPED, sequence=6), picture(card, "CARD_PROD_DONE", sequence=5),
    )  # fmt: skip
    await exam.expect(card, SHIPPED)


@ORDER.case(
    "swapped-shipment-with-sequence", "with a sequence, the order of two scans is that of their sequence", Need.STATE,
    why="Attempts at the door are a circle: the status alone cannot say which scan is newer.",
    fix=_BY_SEQUENCE,
)  # fmt: skip
async def _swapped_shipment_with_sequence(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(*(
        picture(card, SHIPPED, shipment=step, sequence=number)
        for step, number in (("InTransit", 8), ("OutForDelivery", 10), ("AttemptFail", 9))
    ))  # fmt: skip
    await exam.expect(card, SHIPPED, "OutForDelivery")


@ORDER.case(
    "rework-with-sequence", "with a sequence, rework leads back to a stage that was passed", Need.STATE,
    why="A card that failed in personalization is made again: CARD_PROD_EXCEPTION, then CARD_PROD_ONGOING.",
    fix=_BY_SEQUENCE,
)  # fmt: skip
async def _rework_with_sequence(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        picture(card, "CARD_PROD_READY", sequence=3),
        picture(card, "CARD_PROD_ONGOING", sequence=4), picture(card, "CARD_PROD_EXCEPTION", sequence=5),
        picture(card, "CARD_PROD_ONGOING", sequence=6), picture(card, "CARD_PROD_EXCEPTION", sequence=5),
    )  # fmt: skip
    await exam.expect(card, "CARD_PROD_ONGOING")


@ORDER.case(
    "swapped-stages", "without a sequence, a stage that was passed does not come back", Need.STATE,
    why="Servers of the published contract have no sequence, and their notifications overtake each other, too.",
    fix=_BY_STAGE,
)  # fmt: skip
async def _swapped_stages(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(picture(card, "CARD_PROD_REQUESTED"), picture(card, SHIPPED), picture(card, "CARD_PROD_READY"))
    await exam.expect(card, SHIPPED)


@ORDER.case(
    "swapped-shipment", "without a sequence, a delivered card does not go back into the post", Need.STATE,
    why="Scans arrive late; a card that was delivered is shown as in transit, and the customer calls.",
    fix="Let no other shipment status replace Delivered.",
)  # fmt: skip
async def _swapped_shipment(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        picture(card, "CARD_PROD_DONE"), picture(card, SHIPPED, shipment=DELIVERED),
        picture(card, SHIPPED, shipment="InTransit"),
    )  # fmt: skip
    await exam.expect(card, SHIPPED, DELIVERED)


@ORDER.case(
    "late-after-cancel", "a late notification does not revive a cancelled order", Need.STATE,
    why="What was under way when the order was cancelled arrives after it.",
    fix=_BY_STAGE,
)  # fmt: skip
async def _late_after_cancel(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        picture(card, "CARD_PROD_REQUESTED"), picture(card, "CARD_PROD_CANCELED", errorCode="ORDER_CANCELED"),
        picture(card, "CARD_PROD_ONGOING"),
    )  # fmt: skip
    await exam.expect(card, "CARD_PROD_CANCELED")


@ORDER.case(
    "returned", "a card that comes back is shown as returned, whatever scan is late", Need.STATE,
    why="A returned card must be destroyed or sent again; a late scan must not hide it.",
    fix=_BY_STAGE,
)  # fmt: skip
async def _returned(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        picture(card, SHIPPED, shipment="InTransit"), picture(card, "CARD_RETURNED", shipment="Exception"),
        picture(card, SHIPPED, shipment="InTransit"),
    )  # fmt: skip
    await exam.expect(card, "CARD_RETURNED")


@ORDER.case(
    "re-order", "a card that is ordered again shows its new order", Need.STATE,
    why="A card lost in the post is made again under the same cardId and a new operationId.",
    fix="Keep orders apart by operationId; the newest is the one with the latest startTime.",
)  # fmt: skip
async def _re_order(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(picture(card, SHIPPED, shipment="Exception"), _again(card, "CARD_PROD_REQUESTED"))
    await exam.expect(card, "CARD_PROD_REQUESTED", newest=True)


@ORDER.case(
    "late-news-of-old-order", "late news of an old order does not take the place of the new one", Need.STATE,
    why="The old parcel still moves: its scans must not be shown as the new card's.",
    fix="Keep orders apart by operationId; the newest is the one with the latest startTime, not the one heard of last.",
)  # fmt: skip
async def _late_news_of_old_order(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(_again(card, "CARD_PROD_ONGOING"), picture(card, SHIPPED, shipment=DELIVERED))
    await exam.expect(card, "CARD_PROD_ONGOING", newest=True)


@ORDER.case(
    "concurrent-duplicates", f"{AT_ONCE} copies of a call at the same time are all taken",
    why="Two processes of a platform may send the same while one takes over from the other.",
    fix="Let the database decide (insert, on conflict do nothing), not a look before the insert.",
)  # fmt: skip
async def _concurrent_duplicates(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    headers = exam.headers(body)
    for answer in await asyncio.gather(*(exam.post(body, headers) for _ in range(AT_ONCE))):
        taken(answer, "one of the copies")
    if exam.candidate.state:
        await exam.settle()
        await _check_single(exam, card)


@ORDER.case(
    "concurrent-steps", "of an order's steps at the same time the newest stays", Need.STATE,
    why="Reading, comparing and writing by two calls at once loses the newer one.",
    fix="Compare in the statement that writes (… where sequence < excluded.sequence), or lock the row first.",
)  # fmt: skip
async def _concurrent_steps(exam: Exam) -> None:
    cards = [exam.card() for _ in range(3)]
    calls = [
        exam.send(picture(card, stage, sequence=number))
        for card in cards for number, stage in sorted(enumerate(MAIN_LINE, 1), key=lambda each: each[0] % 3)
    ]  # fmt: skip
    for answer in await asyncio.gather(*calls):
        taken(answer, "one of the steps")
    await exam.expect_all(cards, MAIN_LINE[-1])


def _again(card_id: str, stage: str) -> dict[str, object]:
    """Return an operation of the card's later order."""
    return picture(card_id, stage, operationId=f"{operation_id_of(card_id)}-again", startTime=LATER)


async def _check_single(exam: Exam, card_id: str) -> None:
    found = len(await exam.orders(card_id))
    if found != 1:
        raise Failed(f"it shows {found} orders of the card; 1 expected")
