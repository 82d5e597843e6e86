"""What happens to cards every day: whatever is published must be taken. Contract sections 2, 3, 4, 7, 9 and 10."""

from typing import Any

from cardtrail.core.status import MAIN_LINE, ProductionStatus
from cardtrail.sandbox.examine.answer import taken
from cardtrail.sandbox.examine.case import Need, Theme, Weight
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.picture import DELIVERED, SHIPPED, picture

STORIES = Theme("stories", "what is published is taken")
OTHER_KINDS = (
    "CREATE", "REGISTER", "ACTIVATE", "SUSPEND", "RESUME", "DELETE", "DIGITIZE", "RENEW", "REPLACE",
    "CLICK_TO_PAY_ENROLL",
)  # fmt: skip
"""Kinds of operation that come by the same callback and say nothing of where a card is."""


@STORIES.case(
    "plain", "a notification of one operation is taken",
    why="It is what comes all day.",
    fix="Answer 204 as soon as the operation is stored.",
)  # fmt: skip
async def _plain(exam: Exam) -> None:
    await exam.tell(picture(exam.card()))


@STORIES.case(
    "plain-is-kept", "what was answered 2xx is stored", Need.STATE,
    why="After a 2xx the platform never sends it again: what was not stored then is lost.",
    fix="Answer after the commit, or after the message is in a queue that survives a crash.",
)  # fmt: skip
async def _plain_is_kept(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(picture(card, "CARD_PROD_ONGOING"))
    await exam.expect(card, "CARD_PROD_ONGOING")


@STORIES.case(
    "heartbeat", "a notification without operations is taken",
    why="A heartbeat says that the way is open; refusing it looks like an outage, and the platform slows down.",
    fix='Loop over "operations", however many there are, and answer 204 for none.',
    weight=Weight.SHOULD,
)  # fmt: skip
async def _heartbeat(exam: Exam) -> None:
    taken(await exam.send(cardtrail={"cursor": "examination-1"}))


@STORIES.case(
    "every-stage", "each published production stage is taken",
    why="A stage that is refused is sent again for days, and what comes behind it waits.",
    fix="Keep details.status as a text; know the published ones, and refuse none.",
)  # fmt: skip
async def _every_stage(exam: Exam) -> None:
    for stage in ProductionStatus:
        taken(await exam.send(picture(exam.card(), stage)), stage)


@STORIES.case(
    "whole-life", "an order is followed from request to delivery", Need.STATE,
    why="One operationId goes through all stages: it names the order, not the message.",
    fix="Store by cardId and operationId, and let a newer picture replace the older one.",
)  # fmt: skip
async def _whole_life(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        *(picture(card, stage) for stage in MAIN_LINE),
        *(picture(card, SHIPPED, shipment=step) for step in ("InTransit", "OutForDelivery", DELIVERED)),
    )
    await exam.expect(card, SHIPPED, DELIVERED)


@STORIES.case(
    "skipped-stages", "an order that was heard of once is shown as shipped when that comes next", Need.STATE,
    why="The platform sends the newest picture only, so stages are left out whenever there was a backlog.",
    fix="Do not ask that a stage follows the one before it: take every forward step.",
)  # fmt: skip
async def _skipped_stages(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(picture(card, "CARD_PROD_REQUESTED"), picture(card, SHIPPED))
    await exam.expect(card, SHIPPED)


@STORIES.case(
    "shipped-again", "CARD_SHIPPED comes again with news of the parcel", Need.STATE,
    why="Shipment data changes while details.status stays CARD_SHIPPED; whoever compares only that stops at the post.",
    fix="Compare the whole picture, details.shipment included, before you call it a repetition.",
)  # fmt: skip
async def _shipped_again(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        picture(card, SHIPPED), picture(card, SHIPPED, shipment="InTransit"), picture(card, SHIPPED, shipment=DELIVERED)
    )
    await exam.expect(card, SHIPPED, DELIVERED)


@STORIES.case(
    "failed", "an order that failed is taken, with its errorCode", Need.STATE,
    why="A rejected order must be placed again by somebody, who has to learn of it.",
    fix="Take status FAILED with errorCode and error like any other picture.",
)  # fmt: skip
async def _failed(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(
        picture(card, "CARD_PROD_REQUESTED"),
        picture(card, "DATA_EXCEPTION", errorCode="DATA_EXCEPTION", error="embossing line too long"),
    )
    await exam.expect(card, "DATA_EXCEPTION")


@STORIES.case(
    "tracking-goes-on", "a tracked parcel that is SUCCESSFUL moves on", Need.STATE,
    why="STANDALONE_TRACKING is SUCCESSFUL again and again while shipment data changes, so that is no end.",
    fix="Do not stop at status SUCCESSFUL; take every later picture.",
)  # fmt: skip
async def _tracking_goes_on(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(*(
        picture(card, SHIPPED, shipment=step, operation="STANDALONE_TRACKING", status=status)
        for step, status in (("InfoReceived", "PENDING"), ("InTransit", "SUCCESSFUL"), (DELIVERED, "SUCCESSFUL"))
    ))  # fmt: skip
    await exam.expect(card, SHIPPED, DELIVERED)


@STORIES.case(
    "other-kinds", "other kinds of operation are taken",
    why="The same callback carries activations, renewals and more; what is refused is sent again for days.",
    fix="Answer 204 for kinds of operation that mean nothing to you; details may be missing there.",
)  # fmt: skip
async def _other_kinds(exam: Exam) -> None:
    for kind in OTHER_KINDS:
        card = exam.card()
        operation = picture(card, operation=kind, status="SUCCESSFUL", operationId=f"other-{card}")
        del operation["details"]
        taken(await exam.send(operation), kind)


@STORIES.case(
    "other-kinds-move-nothing", "another kind of operation does not move the card", Need.STATE,
    why="An address change that is refused, or an activation, says nothing of where the card is.",
    fix="Let only PRODUCE and STANDALONE_TRACKING move a card, each by its own operationId.",
)  # fmt: skip
async def _other_kinds_move_nothing(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(picture(card, "CARD_PROD_REQUESTED"), picture(card, SHIPPED, shipment="InTransit"))
    for kind, status in (("UPDATE_ORDER", "FAILED"), ("ACTIVATE", "SUCCESSFUL")):
        other = picture(card, operation=kind, status=status, operationId=f"{kind[:3]}-{card}", startTime=_LATER)
        del other["details"]
        await exam.tell(other)
    await exam.expect(card, SHIPPED, "InTransit")


_LATER = "2026-01-10T08:00:00.000Z"


@STORIES.case(
    "both-places", "inputFileName, issuerRequestId and consumerId are taken in each place",
    why="They are published beside details in one place and inside it in another; consumerId is deprecated, not gone.",
    fix="Read both places, and ignore what you do not need.",
)  # fmt: skip
async def _both_places(exam: Exam) -> None:
    members: dict[str, Any] = {"inputFileName": "batch-17.dat", "issuerRequestId": "request-1"}
    taken(await exam.send(picture(exam.card(), **members)), "beside details")
    taken(await exam.send(picture(exam.card(), details={**members, "consumerId": "consumer-1"})), "inside details")


@STORIES.case(
    "due-dates", "dueDate is taken as a date and as a date-time",
    why="Its format is not published.",
    fix="Read both, and keep what you cannot read as a text.",
)  # fmt: skip
async def _due_dates(exam: Exam) -> None:
    for due in ("2026-01-12", "2026-01-12T00:00:00.000Z"):
        taken(await exam.send(picture(exam.card(), details={"dueDate": due})), due)


@STORIES.case(
    "longest-ids", "ids of the longest form are taken",
    why="A cardId has up to 48 characters and an operationId up to 64; too short a column loses orders.",
    fix="Make room for 48 and 64 characters of A-Z, a-z, 0-9, - and _.",
)  # fmt: skip
async def _longest_ids(exam: Exam) -> None:
    card = exam.card() + "_"
    card += "X" * (48 - len(card))
    taken(await exam.send(picture(card, operationId=f"op_{card}".ljust(64, "Z"))))
