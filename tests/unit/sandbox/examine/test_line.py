"""A line reads what servers of all sorts answer, and is never kept waiting by one."""

import asyncio

import pytest

from cardtrail.sandbox.examine.answer import Answer
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.case import Failed, Silent
from cardtrail.sandbox.examine.catalogue import chosen
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.line import MAX_INTERIM, connected, head_of
from tests.serving import ISSUER, free_port
from tests.unit.sandbox.examine.serving import serving_bytes


def answered(data: bytes, seconds: float = 10.0, *, closing: bool = True) -> Answer:
    """Return what a line makes of these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        if not closing:
            await asyncio.Event().wait()

    async def run() -> Answer:
        async with serving_bytes(serve) as port:
            candidate = _candidate(port)
            async with connected(candidate) as line:
                assert await line.send(head_of(candidate, {"content-length": "0"}))
                return await line.answer(seconds)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 413\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n", 413, b"abc"),
        (b"HTTP/1.0 400 Bad\r\n\r\nuntil the end", 400, b"until the end"),
    ],
)  # fmt: skip
def test_answers_of_each_form_are_read(data: bytes, status: int, body: bytes) -> None:
    answer = answered(data)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nConnection: TE, Close\r\n\r\n", True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True),
        (b"HTTP/1.0 204 No Content\r\nConnection: Keep-Alive\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", True),
    ],
)  # fmt: skip
def test_it_is_known_whether_the_connection_ends_behind_an_answer(data: bytes, ends: bool) -> None:  # noqa: FBT001 -- a case
    """Every receiver that speaks HTTP/1.0 failed the case of the connections that are kept."""
    assert answered(data).ends is ends


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 ok\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"x" * 200_000,
    ],
)  # fmt: skip
def test_what_is_no_http_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(Failed, match="the answer is not HTTP"):
        answered(data, closing=False)


def test_a_server_that_says_go_on_for_ever_never_answers() -> None:
    with pytest.raises(Failed, match="10 times to go on"):
        answered(b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM)


def test_a_final_answer_before_the_body_is_not_waited_for_again() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"expect" not in (await reader.readuntil(b"\r\n\r\n")):
            await reader.readuntil(b"}")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.write(b"HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async def run() -> str:
        async with serving_bytes(refuse) as port, Exam(_candidate(port), "run") as exam:
            [case] = chosen(["expect"])
            with pytest.raises(Failed) as failed:
                await case.act(exam)
            return str(failed.value)

    assert asyncio.run(run()) == "answered HTTP 417; 204 expected"


def _candidate(port: int) -> Candidate:
    return Candidate(url=f"http://127.0.0.1:{port}", issuer_id=ISSUER)


def test_silence_and_hanging_up_are_told_apart() -> None:
    with pytest.raises(Silent, match="closed without an answer") as closed:
        answered(b"HTTP/1.1 204 No")
    with pytest.raises(Silent, match="no answer within 0 seconds") as silent:
        answered(b"", 0.05, closing=False)
    assert (closed.value.is_closed, silent.value.is_closed) == (True, False)


def test_where_nobody_listens_there_is_no_line() -> None:
    async def run() -> None:
        async with connected(_candidate(free_port())):
            pass

    with pytest.raises(Silent, match="no connection"):
        asyncio.run(run())
