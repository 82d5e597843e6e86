"""What may be new tomorrow is no error. Contract, first page: new headers, members, enum values, any member order."""

from typing import Any

import msgspec

from cardtrail.sandbox.examine.answer import taken, taken_or_set_aside
from cardtrail.sandbox.examine.case import Need, Theme, Weight
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.picture import SHIPPED, body_of, picture

TOLERANCE = Theme("tolerance", "what is new is no error")
NEW = "EXAMINATION_NEW"
"""A word that nobody has published."""

_OPEN = "Keep the word as a text, or as an enum with an unknown value beside it; never fail because of it."
_IGNORE = "Ignore members that you do not know; tell your JSON library not to fail on them."
_ADDED = "Values are added without notice; a receiver that refuses one goes blind for every card that has it."
_GROWS = "Members are added without notice; a receiver that refuses them goes blind at the next release."


@TOLERANCE.case("unknown-status", "an unknown production stage is taken", why=_ADDED, fix=_OPEN)
async def _unknown_status(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card(), NEW)))


@TOLERANCE.case(
    "unknown-status-is-kept", "an unknown production stage is shown as it came", Need.STATE,
    why="Turned into a known one, or left out, it tells a person what nobody said.",
    fix="Keep it as it came.",
    weight=Weight.SHOULD,
)  # fmt: skip
async def _unknown_status_is_kept(exam: Exam) -> None:
    card = exam.card()
    await exam.tell(picture(card, "CARD_PROD_READY", sequence=3), picture(card, NEW, sequence=4))
    await exam.expect(card, NEW)


@TOLERANCE.case("unknown-operation", "an unknown kind of operation is taken", why=_ADDED, fix=_OPEN)
async def _unknown_operation(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card(), operation=NEW)))


@TOLERANCE.case("unknown-operation-status", "an unknown state of the operation is taken", why=_ADDED, fix=_OPEN)
async def _unknown_operation_status(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card(), status=NEW)))


@TOLERANCE.case(
    "unknown-shipment-status", "an unknown shipment status is taken",
    why="The values of shipment.status are not published at all: it is an open text.", fix=_OPEN,
)  # fmt: skip
async def _unknown_shipment_status(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card(), SHIPPED, shipment="HeldByExamination")))


@TOLERANCE.case("unknown-carrier", "an unknown carrier is taken", why="Carriers come and go.", fix=_OPEN)
async def _unknown_carrier(exam: Exam) -> None:
    shipment = {"carrier": "examination-express", "status": "InTransit"}
    taken(await exam.send(picture(exam.card(), SHIPPED, shipment=shipment)))


@TOLERANCE.case("unknown-error-code", "an unknown errorCode is taken", why=_ADDED, fix=_OPEN)
async def _unknown_error_code(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card(), "DATA_EXCEPTION", errorCode=NEW, error="new")))


_MORE: dict[str, Any] = {"examinationText": "new", "examinationObject": {"list": [1, {"deep": None}], "flag": True}}


@TOLERANCE.case("unknown-member-of-body", "unknown members beside the operations are taken", why=_GROWS, fix=_IGNORE)
async def _unknown_member_of_body(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card()), cardtrail={"cursor": "examination-1"}, **_MORE))


@TOLERANCE.case("unknown-member-of-operation", "unknown members of an operation are taken", why=_GROWS, fix=_IGNORE)
async def _unknown_member_of_operation(exam: Exam) -> None:
    extension = {"sequence": 1, "estimatedDelivery": "2026-01-12", "checkpoints": []}
    taken(await exam.send(picture(exam.card(), cardtrail=extension, **_MORE)))


@TOLERANCE.case("unknown-member-of-details", "unknown members of details are taken", why=_GROWS, fix=_IGNORE)
async def _unknown_member_of_details(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card(), details=_MORE)))


@TOLERANCE.case("unknown-member-of-shipment", "unknown members of a shipment are taken", why=_GROWS, fix=_IGNORE)
async def _unknown_member_of_shipment(exam: Exam) -> None:
    taken(await exam.send(picture(exam.card(), SHIPPED, shipment={"status": "InTransit", **_MORE})))


@TOLERANCE.case(
    "member-order", "members in another order are taken",
    why="JSON objects have no order, and no server promises one.",
    fix="Read JSON by a JSON library, never by searching in the text.",
)  # fmt: skip
async def _member_order(exam: Exam) -> None:
    operation = picture(exam.card(), SHIPPED, shipment="InTransit")
    turned = {name: dict(reversed(value.items())) if name == "details" else value for name, value in operation.items()}
    taken(await exam.send(dict(reversed(turned.items()))))


@TOLERANCE.case(
    "layout", "JSON with line breaks and escapes is taken",
    why="How JSON is laid out means nothing; \\u0044 is a D.",
    fix="Read JSON by a JSON library, never by searching in the text.",
)  # fmt: skip
async def _layout(exam: Exam) -> None:
    body = msgspec.json.format(body_of(picture(exam.card())), indent=4).replace(b'"PRODUCE"', b'"PRO\\u0044UCE"')
    taken(await exam.post(body))


@TOLERANCE.case(
    "null-members", "members that are null are taken like missing ones",
    why="Many servers write null for what they do not know.",
    fix="Treat null and missing alike where a member is optional.",
    weight=Weight.SHOULD,
)  # fmt: skip
async def _null_members(exam: Exam) -> None:
    shipment = {"status": None, "message": None, "trackingUrl": None}
    nothing: dict[str, Any] = dict.fromkeys(("endTime", "errorCode", "error", "inputFileName", "issuerRequestId"))
    details: dict[str, Any] = dict.fromkeys(("reason", "dueDate"))
    taken(await exam.send(picture(exam.card(), shipment=shipment, details=details, **nothing)))


@TOLERANCE.case(
    "least-members", "an operation with its required members alone is taken",
    why="Everything else is optional: a shipment without a tracking number, an exception without a reason.",
    fix="Ask for nothing but operationId, operation, status, startTime and cardId.",
)  # fmt: skip
async def _least_members(exam: Exam) -> None:
    operation = picture(exam.card(), SHIPPED)
    operation["details"] = {"status": SHIPPED, "shipment": {}}
    del operation["endTime"]
    taken(await exam.send(operation))


@TOLERANCE.case(
    "languages", "texts in any language are taken",
    why="Messages and places come from carriers all over the world.",
    fix="Use UTF-8 from the wire to the database.",
)  # fmt: skip
async def _languages(exam: Exam) -> None:
    shipment = {"status": "InTransit", "message": "Zustellung in Köln – 配達中 – تم التسليم – 📦"}
    taken(await exam.send(picture(exam.card(), SHIPPED, shipment=shipment)))


@TOLERANCE.case(
    "long-text", "a text of 10,000 characters does no harm",
    why="No length is published; a database column that is too short answers 500, again and again for days.",
    fix="Cut what is too long for you, or answer 400.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _long_text(exam: Exam) -> None:
    taken_or_set_aside(await exam.send(picture(exam.card(), details={"reason": "long " * 2_000})))


@TOLERANCE.case(
    "odd-characters", "NUL and half a character in a text do no harm",
    why="JSON allows \\u0000 and \\ud83d; many databases do not, and a 500 comes again for days.",
    fix="Replace what your database cannot keep, or answer 400.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _odd_characters(exam: Exam) -> None:
    for odd in (b"\\u0000", b"\\ud83d"):
        body = body_of(picture(exam.card(), details={"reason": "ODD"})).replace(b"ODD", odd)
        taken_or_set_aside(await exam.post(body), odd.decode())


@TOLERANCE.case(
    "unknown-headers", "headers that nobody announced are taken",
    why="Proxies and tracing add headers, and new ones may come with a release.",
    fix="Look at the headers that you need, and at no others.",
)  # fmt: skip
async def _unknown_headers(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    more = {
        "x-correlation-id": f"exam-{exam.run_id}", "x-cardtrail-cursor": "examination-1", "x-examination": "new",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "accept": "*/*",
    }  # fmt: skip
    taken(await exam.post(body, exam.headers(body) | more))


@TOLERANCE.case(
    "content-type-with-charset", "application/json; charset=utf-8 is taken",
    why="It is the same as application/json, and many senders write it so.",
    fix="Compare what stands before the semicolon, in any letter case.",
)  # fmt: skip
async def _content_type_with_charset(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    for kind in ("application/json; charset=utf-8", "Application/JSON;charset=UTF-8"):
        taken(await exam.post(body, exam.headers(body) | {"content-type": kind}), kind)
