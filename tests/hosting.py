"""Applications on a real uvicorn, in the process of a test, and a client that can be slow, rude or wrong."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn

from cardtrail.server import DeafServer

PATIENCE = 30.0
"""Longest wait for a server or an answer, seconds; only a broken test ever waits so long."""
BARE: dict[str, Any] = {"lifespan": "off", "log_config": None, "access_log": False, "proxy_headers": False}


@asynccontextmanager
async def hosting(app: Any, listening: socket.socket | None = None, **config: Any) -> AsyncIterator[int]:
    """Serve an application on a free port, or where `listening` does, until the block ends; yield the port."""
    listening = listening or socket.create_server(("127.0.0.1", 0))
    server = DeafServer(uvicorn.Config(app, timeout_graceful_shutdown=2, **BARE | config))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        async with asyncio.timeout(PATIENCE):
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listening.close()


class Answer(NamedTuple):
    """What came back: status, headers in lower case, body, and whether the connection was closed behind it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    closed: bool


class Line:
    """One connection, on which bytes go out as a test wants them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """Read one answer."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers: dict[str, str] = {}
            for name, value in (
                (name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
            ):
                is_cookie = name == "set-cookie" and name in headers  # each of which has a header of its own
                headers[name] = f"{headers[name]}\n{value}" if is_cookie else value
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            closed = headers.get("connection") == "close" and await self.reader.read() == b""
        return Answer(int(first.split(" ")[1]), headers, body, closed)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Line]:
    """Open a connection, and close it at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def head_of(method: str, path: str, headers: Mapping[str, str], length: int | None) -> bytes:
    """Return the head of a request."""
    counted = {} if length is None else {"content-length": str(length)}
    lines = [f"{name}: {value}" for name, value in {"host": "x", **headers, **counted}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


async def call(port: int, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST") -> Answer:
    """Make one call on a connection of its own."""
    async with connected(port) as line:
        await line.send(head_of(method, path, headers, len(body)) + body)
        return await line.answer()
