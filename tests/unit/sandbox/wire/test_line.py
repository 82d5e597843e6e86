"""Connections are cut as they are meant to be: at once with a reset, or in order behind what was sent."""

import asyncio
import socket

import pytest

from cardtrail.issuer.asgi import Receive, Scope, Send
from cardtrail.sandbox.wire.call import Answer, give_half, hang_up
from cardtrail.sandbox.wire.line import LineProtocol
from tests.hosting import Line, connected, hosting

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
ANSWER = Answer(200, [(b"content-type", b"text/plain")], b"0123456789")


async def resetting(scope: Scope, receive: Receive, send: Send) -> None:
    del send
    await receive()
    await hang_up(scope, receive)
    await hang_up(scope, receive)  # twice is once


async def halving(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await give_half(scope, receive, send, ANSWER)


async def met(line: Line) -> bytes:
    await line.send(GET)
    async with asyncio.timeout(20):
        return await line.reader.read()


@pytest.mark.parametrize("loop", ["none", "uvloop"])
def test_a_reset_is_a_reset_and_half_an_answer_ends_in_order(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def play() -> None:
        async with hosting(resetting, http=LineProtocol) as port, connected(port) as line:
            with pytest.raises(ConnectionResetError):
                await met(line)
        async with hosting(halving, http=LineProtocol) as port, connected(port) as line:
            head, _, body = (await met(line)).partition(b"\r\n\r\n")
            assert b"content-length: 10" in head.lower()
            assert body == b"01234"

    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 - only here

        uvloop.run(play())
    else:
        asyncio.run(play())
    assert capsys.readouterr() == ("", "")


def test_a_connection_goes_on_to_serve_where_nothing_is_cut() -> None:
    async def app(scope: Scope, _: Receive, send: Send) -> None:
        raw = scope["extensions"]["cardtrail.line"]["transport"].get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def play() -> None:
        async with hosting(app, http=LineProtocol) as port, connected(port) as line:
            for _ in range(3):
                await line.send(GET)
                assert (await line.answer()).status == 200

    asyncio.run(play())
