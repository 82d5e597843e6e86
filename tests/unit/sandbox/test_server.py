"""A server that can be stopped: it is really gone then, and comes back on its own port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest
from pyreqwest.exceptions import RequestError

from cardtrail.issuer.asgi import Receive, Scope, Send
from cardtrail.sandbox.call import client
from cardtrail.sandbox.server import HOST, Server


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every call alike."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def listening() -> AsyncIterator[Server]:
    with closing(Server()) as server:
        await server.start(hello)
        try:
            yield server
        finally:
            await server.stop()


async def answer_of(server: Server) -> bytes:
    async with client() as http:
        response = await http.get(server.url + "/").build().send()
        return bytes(await response.bytes())


def test_stopped_it_drops_its_connections_and_refuses_new_ones_and_comes_back_on_its_port() -> None:
    async def play() -> None:
        async with listening() as server:
            url = server.url
            assert await answer_of(server) == b"hello"
            reader, writer = await asyncio.open_connection(HOST, server.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await server.stop()
            assert not server.is_up
            await asyncio.wait_for(reader.read(), 10)
            writer.close()
            with pytest.raises(RequestError):
                await answer_of(server)
            await server.start(hello)
            assert (server.is_up, server.url) == (True, url)
            assert await answer_of(server) == b"hello"

    asyncio.run(play())


def test_nobody_can_take_its_port_while_it_is_stopped() -> None:
    with closing(Server()) as server, closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind((HOST, server.port))


def test_a_stop_without_a_start_is_nothing() -> None:
    with closing(Server()) as server:
        asyncio.run(server.stop())
        assert not server.is_up
