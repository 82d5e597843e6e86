"""Signatures by Standard Webhooks: what is not signed, or not now, or not so, is refused. Contract section 7."""

from collections.abc import Mapping
from secrets import token_bytes

import msgspec

from cardtrail.protocol.signature import ID, SIGNATURE, TIMESTAMP, Signer, new_secret
from cardtrail.sandbox.examine.answer import refused, taken
from cardtrail.sandbox.examine.case import Need, Theme
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.picture import SHIPPED, body_of, picture

SIGNING = Theme("signing", "only what is signed is believed")
STALE = 600
"""How old or how far ahead a signature is that must not be good any more, seconds."""
SKEW = 60
"""How far clocks may be apart, seconds."""

_ANYBODY = "Otherwise anybody who knows the URL can write to your copy."
_VERIFY = "Verify the signature by a library of Standard Webhooks before you parse anything; answer 401."
_STRANGER = new_secret(token_bytes(32))
"""A secret that is nobody's."""


async def _is_refused(exam: Exam, headers: Mapping[str, str], body: bytes, card_id: str, what: str = "") -> None:
    refused(await exam.post(body, headers), what, best=401)
    await exam.expect_nothing(card_id)


@SIGNING.case("unsigned", "a call without a signature is refused", Need.SECRET, why=_ANYBODY, fix=_VERIFY)
async def _unsigned(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    headers = {name: value for name, value in exam.headers(body).items() if not name.startswith("webhook-")}
    await _is_refused(exam, headers, body, card)


@SIGNING.case(
    "partly-signed", "a call that lacks one of the three headers is refused", Need.SECRET,
    why="Without its id or its time a signature proves nothing, and can be repeated for ever.",
    fix="Answer 401 where webhook-id, webhook-timestamp or webhook-signature is missing.",
)  # fmt: skip
async def _partly_signed(exam: Exam) -> None:
    for name in (ID, TIMESTAMP, SIGNATURE):
        card = exam.card()
        body = body_of(picture(card))
        headers = exam.headers(body)
        del headers[name]
        await _is_refused(exam, headers, body, card, f"without {name}")


@SIGNING.case("wrong-secret", "a signature by another secret is refused", Need.SECRET, why=_ANYBODY, fix=_VERIFY)
async def _wrong_secret(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    await _is_refused(exam, exam.headers(body, signer=Signer([_STRANGER])), body, card)


@SIGNING.case(
    "changed-body", "a body that was changed after signing is refused", Need.SECRET,
    why="Otherwise whoever stands between can tell you anything.",
    fix="Sign the bytes of the body as they came, and compare with all of them.",
)  # fmt: skip
async def _changed_body(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    await _is_refused(exam, exam.headers(body), body.replace(b"CARD_PROD_READY", SHIPPED.encode()), card)


@SIGNING.case(
    "other-id", "a signature of another webhook-id is refused", Need.SECRET,
    why="The id is part of what is signed; else one signature serves for any number of calls.",
    fix="Sign webhook-id, webhook-timestamp and body, joined by dots.",
)  # fmt: skip
async def _other_id(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    await _is_refused(exam, exam.headers(body) | {ID: f"other_{card}"}, body, card)


@SIGNING.case(
    "old", "a signature of ten minutes ago is refused", Need.SECRET,
    why="Whoever has seen a call once could repeat it for ever.",
    fix="Refuse a webhook-timestamp that is more than five minutes away from your clock; answer 401.",
)  # fmt: skip
async def _old(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    await _is_refused(exam, exam.headers(body, age=STALE), body, card)


@SIGNING.case(
    "ahead", "a signature of in ten minutes is refused", Need.SECRET,
    why="It could be repeated for as long as it is ahead; and a clock is wrong, which somebody should see.",
    fix="Refuse a webhook-timestamp that is more than five minutes away from your clock, in either direction.",
)  # fmt: skip
async def _ahead(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    await _is_refused(exam, exam.headers(body, age=-STALE), body, card)


@SIGNING.case(
    "skew", "a clock that is a minute off is forgiven", Need.SECRET,
    why="Clocks differ, and a call may wait in a proxy; what is refused comes late.",
    fix="Allow five minutes in either direction.",
)  # fmt: skip
async def _skew(exam: Exam) -> None:
    for age in (SKEW, -SKEW):
        body = body_of(picture(exam.card()))
        taken(await exam.post(body, exam.headers(body, age=age)), f"signed {age} s ago")


@SIGNING.case(
    "several-signatures", "one right signature among several is enough", Need.SECRET,
    why="While a secret is changed the platform signs with both, the new one and yours.",
    fix="Split webhook-signature at spaces, and take the call if any of them is right.",
)  # fmt: skip
async def _several_signatures(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    headers = exam.headers(body)
    stranger = Signer([_STRANGER]).sign(headers[ID], int(headers[TIMESTAMP]), body)
    for several in (f"{stranger} {headers[SIGNATURE]}", f"{headers[SIGNATURE]} {stranger}"):
        taken(await exam.post(body, headers | {SIGNATURE: several}))


@SIGNING.case(
    "unknown-scheme", "a signature of an unknown scheme beside a right one is passed over", Need.SECRET,
    why="New schemes are added beside the old ones.",
    fix="Pass over signatures whose prefix you do not know.",
)  # fmt: skip
async def _unknown_scheme(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    headers = exam.headers(body)
    taken(await exam.post(body, headers | {SIGNATURE: f"v9,ZXhhbWluYXRpb24= {headers[SIGNATURE]}"}))


@SIGNING.case(
    "garbled", "headers of a signature that make no sense are refused, and break nothing", Need.SECRET,
    why="An error that nobody caught is answered 500, and rings your alarm for a stranger's call.",
    fix="Treat whatever cannot be read as a wrong signature; answer 401.",
    damaging=True,
)  # fmt: skip
async def _garbled(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    for changed in (
        {SIGNATURE: "v1,%%%"}, {SIGNATURE: "v1"}, {SIGNATURE: "," * 500}, {TIMESTAMP: "yesterday"},
        {TIMESTAMP: "-1"}, {TIMESTAMP: "9" * 30}, {TIMESTAMP: "1e9"},
    ):  # fmt: skip
        [(name, value)] = changed.items()
        refused(await exam.post(body, exam.headers(body) | changed), f"{name}: {value[:20]}", best=401)
    await exam.expect_nothing(card)


@SIGNING.case(
    "raw-bytes", "the signature is verified over the bytes as they came", Need.SECRET,
    why="Whoever parses the body and writes it anew verifies other bytes: one more space, and all is refused.",
    fix="Keep the raw body for verifying, before any framework has parsed it.",
)  # fmt: skip
async def _raw_bytes(exam: Exam) -> None:
    body = msgspec.json.format(body_of(picture(exam.card())), indent=3).replace(b"PRODUCE", b"PR\\u004fDUCE") + b" \r\n"
    taken(await exam.post(body))


@SIGNING.case(
    "second-secret", "a call signed by the second secret alone is taken", Need.SECRET, Need.SECOND,
    why="While a secret is changed both are good; after it only the new one is used.",
    fix="Verify with each secret that you have, the old one and the new one.",
)  # fmt: skip
async def _second_secret(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    taken(await exam.post(body, exam.headers(body, signer=Signer([exam.candidate.second_secret]))))


@SIGNING.case(
    "both-secrets", "a call signed by both secrets is taken", Need.SECRET, Need.SECOND,
    why="So the platform signs while a secret is changed.",
    fix="Take the call if any of its signatures is right by any of your secrets.",
)  # fmt: skip
async def _both_secrets(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    secrets = [exam.candidate.second_secret, exam.candidate.secret]
    for each in (secrets, secrets[::-1]):
        taken(await exam.post(body, exam.headers(body, signer=Signer(each))))


@SIGNING.case(
    "second-secret-changed-body", "the second secret, too, signs one body only", Need.SECRET, Need.SECOND,
    why="A second way in that is not checked is no lock at all.",
    fix=_VERIFY,
)  # fmt: skip
async def _second_secret_changed_body(exam: Exam) -> None:
    card = exam.card()
    body = body_of(picture(card))
    headers = exam.headers(body, signer=Signer([exam.candidate.second_secret]))
    await _is_refused(exam, headers, body + b" ", card)
