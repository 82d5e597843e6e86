"""Bytes that come slowly, too many, too few, in pieces: HTTP as it is in the field. RFC 9112."""

import asyncio
from collections.abc import Iterator

from cardtrail.sandbox.examine.answer import Answer, refused, taken
from cardtrail.sandbox.examine.case import Failed, Need, Silent, Theme, Weight
from cardtrail.sandbox.examine.exam import CALL_SECONDS, Exam
from cardtrail.sandbox.examine.line import Line, head_of
from cardtrail.sandbox.examine.picture import body_of, padded, picture

WIRE = Theme("wire", "slow, large and broken calls harm nobody")
HUGE = 20 * 1_048_576
"""A body that is too large for anybody, bytes: twenty times what the platform sends."""
PIECE = 65_536
"""How much of it is sent at once, bytes."""
UPLOAD_SECONDS = 45.0
"""Longest time for it to be sent and answered."""
SLOW_SECONDS = 3
"""How long the slow sender sends a byte a second."""
OTHER_SECONDS = 2.0
"""How long another caller may have to wait meanwhile, seconds."""
GO_ON_SECONDS = 1.0
"""How long a sender that expects a 100 waits for it, before it sends all the same."""


def _head(exam: Exam, body: bytes, **more: str) -> bytes:
    """Return the head of a good call; `more` headers have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return head_of(exam.candidate, exam.headers(body) | named)


@WIRE.case(
    "in-pieces", "a call that arrives in small pieces is taken",
    why="Networks cut where they like: head and body come in any number of pieces.",
    fix="Read until Content-Length bytes are there.",
)  # fmt: skip
async def _in_pieces(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    data = _head(exam, body, content_length=str(len(body))) + body
    async with exam.line() as line:
        for start in range(0, len(data), 50):
            await line.send(data[start : start + 50])
            await asyncio.sleep(0.001)
        taken(await line.answer(CALL_SECONDS))


@WIRE.case(
    "chunked", "a chunked body is taken",
    why="HTTP/1.1 has two ways to send a body; proxies change the one into the other.",
    fix="Read Transfer-Encoding: chunked, too; most servers do when they are asked for the body, not for its length.",
)  # fmt: skip
async def _chunked(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    async with exam.line() as line:
        await line.send(_head(exam, body, transfer_encoding="chunked") + b"".join(_chunks(body)))
        taken(await line.answer(CALL_SECONDS))


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 33):
        part = body[start : start + 33]
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


@WIRE.case(
    "names-in-capitals", "names of headers are matched in any letter case",
    why="HTTP's header names have no letter case; proxies write them as they like.",
    fix="Look headers up without regard to letter case.",
)  # fmt: skip
async def _names_in_capitals(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    headers = {name.upper(): value for name, value in exam.headers(body).items()} | {"CONTENT-LENGTH": str(len(body))}
    async with exam.line() as line:
        await line.send(head_of(exam.candidate, headers) + body)
        taken(await line.answer(CALL_SECONDS))


@WIRE.case(
    "expect", "a sender that waits for 100 Continue is served",
    why="Some senders ask before they send a body; who never says yes makes each call a second slower, or fail.",
    fix="Let your server answer Expect: 100-continue; nearly every one does.",
    weight=Weight.SHOULD,
)  # fmt: skip
async def _expect(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    async with exam.line() as line:
        await line.send(_head(exam, body, content_length=str(len(body)), expect="100-continue"))
        early = await line.early_answer(GO_ON_SECONDS)
        if early is None:
            await line.send(body)
        taken(early or await line.answer(CALL_SECONDS))


@WIRE.case(
    "keep-alive", "a second call on the same connection is taken",
    why="The platform keeps connections; a 204 with a body, or a body that was not read, breaks the next call.",
    fix="Send no body with 204, and read each request to its end.",
)  # fmt: skip
async def _keep_alive(exam: Exam) -> None:
    async with exam.line() as line:
        for number in range(1, 4):
            body = body_of(picture(exam.card()))
            answer = await _called(exam, line, body)
            taken(answer, f"call {number} of a connection")
            if answer.ends:
                return


@WIRE.case(
    "keep-alive-after-refusal", "after a refusal the connection is closed or still in step",
    why="A refused body that nobody read passes for the next request, and that one is lost.",
    fix="Read the body to its end before you refuse it, or close the connection behind the answer.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _keep_alive_after_refusal(exam: Exam) -> None:
    other = "EXAMOTHER1" if exam.candidate.issuer_id != "EXAMOTHER1" else "EXAMOTHER2"
    async with exam.line() as line:
        body = body_of(picture(exam.card()))
        head = _head(exam, body, content_length=str(len(body))).replace(
            exam.candidate.path.encode(), exam.candidate.path_of(other).encode(), 1
        )
        await line.send(head + body)
        answer = await line.answer(CALL_SECONDS)
        if answer.ends:
            return
        try:
            taken(await _called(exam, line, body_of(picture(exam.card()))), "the next call on the connection")
        except Silent:
            return  # closed, too, if less politely: the platform sends it again


async def _called(exam: Exam, line: Line, body: bytes) -> Answer:
    await line.send(_head(exam, body, content_length=str(len(body))) + body)
    return await line.answer(CALL_SECONDS)


@WIRE.case(
    "huge-body", f"a body of {HUGE >> 20} MiB is refused",
    why="Whoever reads all that comes can be filled up by anybody, before any signature is looked at.",
    fix="Answer 413 above a limit, such as 2 MiB; nginx: client_max_body_size.",
    damaging=True,
)  # fmt: skip
async def _huge_body(exam: Exam) -> None:
    body = padded(body_of(picture(exam.card())), HUGE)
    async with exam.line() as line:
        await line.send(_head(exam, body, content_length=str(len(body))))
        await _is_too_much(line, (body[start : start + PIECE] for start in range(0, len(body), PIECE)))


@WIRE.case(
    "huge-body-in-chunks", f"a chunked body of {HUGE >> 20} MiB is refused",
    why="A limit that only looks at Content-Length does not see it.",
    fix="Count what you read, and stop above the limit.",
    damaging=True,
)  # fmt: skip
async def _huge_body_in_chunks(exam: Exam) -> None:
    body = padded(body_of(picture(exam.card())), HUGE)
    parts = (body[start : start + PIECE] for start in range(0, len(body), PIECE))
    async with exam.line() as line:
        await line.send(_head(exam, body, transfer_encoding="chunked"))
        await _is_too_much(line, (b"%x\r\n%b\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n")


async def _is_too_much(line: Line, parts: Iterator[bytes], end: bytes = b"") -> None:
    """Send parts until there is an answer. Raises Failed unless they are refused, be it by hanging up."""
    sending = asyncio.create_task(_pour(line, parts, end))
    try:
        refused(await line.answer(UPLOAD_SECONDS), best=413)
    except Silent as silent:
        if not silent.is_closed:
            raise
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _pour(line: Line, parts: Iterator[bytes], end: bytes) -> None:
    for part in parts:
        if not await line.send(part):
            return
    await line.send(end)


@WIRE.case(
    "slow-sender", "a slow sender does not block another",
    why="One client on a bad line, or one that means harm, must not stop all notifications.",
    fix="Put a server or proxy in front that reads bodies without holding a worker, or have more than one worker.",
    damaging=True,
)  # fmt: skip
async def _slow_sender(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    async with exam.line() as line:
        await line.send(_head(exam, body, content_length=str(len(body))))
        for start in range(SLOW_SECONDS):
            await line.send(body[start : start + 1])
            if start:
                await _check_other(exam)
            await asyncio.sleep(1)


async def _check_other(exam: Exam) -> None:
    try:
        async with asyncio.timeout(OTHER_SECONDS):
            taken(await exam.send(picture(exam.card())), "meanwhile another caller is")
    except TimeoutError:
        raise Failed(f"meanwhile another caller is not answered within {OTHER_SECONDS:.0f} seconds") from None


@WIRE.case(
    "half-body", "a call that breaks off stores nothing", Need.STATE,
    why="Half a call is no call: the platform sends it again, as a whole, or something else instead.",
    fix="Do not parse before Content-Length bytes are there.",
    damaging=True,
)  # fmt: skip
async def _half_body(exam: Exam) -> None:
    card = exam.card()
    half = body_of(picture(card))
    body = padded(half, 2 * len(half))  # the half that arrives is JSON by itself
    async with exam.line() as line:
        await line.send(_head(exam, body, content_length=str(len(body))) + half)
        await asyncio.sleep(0.2)
    await exam.expect_nothing(card)


@WIRE.case(
    "hang-ups", "twenty callers that hang up in the middle harm nobody",
    why="Load balancers look whether somebody listens, and scanners try what they like.",
    fix="Treat an end before the end as nothing: no answer, no error that rings, no worker that waits.",
    damaging=True,
)  # fmt: skip
async def _hang_ups(exam: Exam) -> None:
    body = body_of(picture(exam.card()))
    data = _head(exam, body, content_length=str(len(body))) + body
    for number in range(20):
        async with exam.line() as line:
            await line.send(data[: len(data) * number // 20])


@WIRE.case(
    "not-http", "bytes that are no HTTP are refused or cut off",
    why="Whatever is on the internet is sent anything.",
    fix="Use a server that is kept; put it behind a proxy.",
    weight=Weight.SHOULD, damaging=True,
)  # fmt: skip
async def _not_http(exam: Exam) -> None:
    for data in (b"\x16\x03\x01\x02\x00\x01\x00" * 40 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        async with exam.line() as line:
            await line.send(data)
            try:
                answer = await line.answer(CALL_SECONDS)
            except Silent as silent:
                if not silent.is_closed:
                    raise
                continue
            if answer.is_taken:
                raise Failed(f"answered {answer}; 400, or the end of the connection, expected")
