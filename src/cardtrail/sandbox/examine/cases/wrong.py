"""What can never be taken: it must be refused so that it is not sent again, and harm nobody. Contract section 7."""

import gzip
import secrets

from cardtrail.sandbox.examine.answer import refused, set_aside
from cardtrail.sandbox.examine.case import Need, Theme, Weight
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.picture import body_of, picture

WRONG = Theme("wrong", "what can never be taken is refused, and only that")

TOKEN_BYTES = 24
"""Random bytes in a token that is wrong."""

_AS_400 = "Answer 400; 422 and 500 are sent again for days, and count against your endpoint."
_AGAIN = "What is answered by anything but 400 or 413 comes again for days, and looks like an outage of yours."


@WRONG.case(
    "bad-element", "an element that is no operation is answered 400, or taken and kept aside",
    why=_AGAIN, fix=_AS_400, weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _bad_element(exam: Exam) -> None:
    for element in ({}, {"operationId": 7}, "text", None):
        answer = await exam.send(element)
        if not answer.is_taken:
            set_aside(answer, f"the element {element!r}")


@WRONG.case(
    "not-json", "a body that is no JSON is answered 400", why=_AGAIN, fix=_AS_400, weight=Weight.SHOULD, damaging=True
)
async def _not_json(exam: Exam) -> None:
    for body in (b'{"operations":[', b"operations", b""):
        set_aside(await exam.post(body), f"the body {body.decode()!r}")


@WRONG.case(
    "not-utf8", "a body that is not UTF-8 is answered 400, or its element is kept aside",
    why=_AGAIN, fix=_AS_400, weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _not_utf8(exam: Exam) -> None:
    answer = await exam.post(body_of(picture(exam.card(), details={"reason": "ODD"})).replace(b"ODD", b"\xff\xfe"))
    if not answer.is_taken:
        set_aside(answer)


@WRONG.case(
    "wrong-shape", "JSON that is no notification is answered 400",
    why="A 2xx would say that it was taken; all else but 400 comes again for days.",
    fix=_AS_400, weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _wrong_shape(exam: Exam) -> None:
    for body in (b"[]", b"null", b'"operations"', b'{"operations":{}}', b'{"operations":"none"}'):
        set_aside(await exam.post(body), f"the body {body.decode()}")


@WRONG.case(
    "deep-json", "JSON nested 50,000 deep is refused",
    why="It costs nothing to send, and brings a parser without a limit down.",
    fix="Use a JSON library with a limit, and answer its error 400.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _deep_json(exam: Exam) -> None:
    refused(await exam.post(b'{"operations":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), best=400)


@WRONG.case(
    "wrong-content-type", "another content type with another content is refused",
    why="What is not JSON was meant for somebody else; a 2xx would say that it was taken.",
    fix="Answer 415 or 400 to what is not application/json.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _wrong_content_type(exam: Exam) -> None:
    for kind, body in (("application/xml", b"<operations/>"), ("application/x-www-form-urlencoded", b"operations=1")):
        refused(await exam.post(body, exam.headers(body) | {"content-type": kind}), kind, best=415)


@WRONG.case(
    "compressed", "a compressed body is refused, or read",
    why="A 2xx for bytes that were not read loses what they said.",
    fix="Answer 415 to a Content-Encoding that you do not read.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _compressed(exam: Exam) -> None:
    card = exam.card()
    body = gzip.compress(body_of(picture(card)))
    answer = await exam.post(body, exam.headers(body) | {"content-encoding": "gzip"})
    if not answer.is_taken:
        refused(answer, best=415)
    elif exam.candidate.state:
        await exam.expect(card, "CARD_PROD_READY")


@WRONG.case(
    "wrong-issuer", "a call for another issuer is refused",
    why="A 2xx for cards that are not yours would mix two banks' cards, or lose the other's.",
    fix="Compare the issuerId of the path with yours, and answer 404.",
)  # fmt: skip
async def _wrong_issuer(exam: Exam) -> None:
    card = exam.card()
    other = "EXAMOTHER1" if exam.candidate.issuer_id != "EXAMOTHER1" else "EXAMOTHER2"
    refused(await exam.post(body_of(picture(card)), issuer_id=other), best=404)
    await exam.expect_nothing(card)


@WRONG.case(
    "other-methods", "GET, HEAD and PUT are refused",
    why="Scanners and browsers call what they find; nothing may happen, and nothing may break.",
    fix="Answer 405 with Allow: POST.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _other_methods(exam: Exam) -> None:
    for method in ("GET", "HEAD", "PUT"):
        refused(await exam.post(b"", method=method), method, best=405)


@WRONG.case(
    "path-in-capitals", "the path in other letters is taken or refused, and not redirected",
    why="The platform follows no redirect: to it a 301 is a failure.",
    fix="Match the words of the path in any letter case, or answer 404.",
    weight=Weight.SHOULD,
)  # fmt: skip
async def _path_in_capitals(exam: Exam) -> None:
    path = exam.candidate.path.replace("/notifications/d1/v2/issuers/", "/Notifications/D1/V2/Issuers/")
    answer = await exam.post(body_of(picture(exam.card())), path=path)
    if not answer.is_taken:
        refused(answer, best=404)


@WRONG.case(
    "no-token", "a call without the bearer token is refused", Need.TOKEN,
    why="Otherwise anybody can write to your copy.",
    fix="Check Authorization before anything else, and answer 401.",
)  # fmt: skip
async def _no_token(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    headers = exam.headers(body)
    del headers["authorization"]
    refused(await exam.post(body, headers), best=401)
    await exam.expect_nothing(card)


@WRONG.case(
    "wrong-token", "a call with another bearer token is refused", Need.TOKEN,
    why="Otherwise anybody can write to your copy.",
    fix="Check the token itself, its issuer and its end, not only that there is one; answer 401.",
)  # fmt: skip
async def _wrong_token(exam: Exam) -> None:
    card, token = exam.card(), exam.candidate.token
    body = body_of(picture(card))
    other = secrets.token_urlsafe(TOKEN_BYTES)  # nothing of the right one is in it, where it is shown
    for wrong in (f"Bearer {other}", f"Basic {token}", "Bearer"):
        refused(await exam.post(body, exam.headers(body) | {"authorization": wrong}), best=401)
    await exam.expect_nothing(card)
