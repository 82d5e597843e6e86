"""A receiver as an issuer might have it, on a real socket: it remembers what came, checks every signature, and fails
in whatever way it is told to.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from cardtrail.protocol.signature import verify

Reply = tuple[int, Mapping[str, str], bytes]
OK: Reply = (204, {}, b"")
PATIENCE = 60.0
"""Longest wait for a call, seconds; only a broken test ever waits so long."""


class Received(NamedTuple):
    """One call: when (monotonic seconds), path, headers in lower case, body, and what was answered."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def operations(self) -> list[dict[str, Any]]:
        """The operations it carried."""
        operations: list[dict[str, Any]] = json.loads(self.body)["operations"]
        return operations


class Receiver:
    """Answers POSTs on 127.0.0.1 as `reply(call)` says; a reply may also take time, or break the connection."""

    def __init__(self) -> None:
        self.calls: list[Received] = []
        self.newest: dict[str, int] = {}
        self.secret = ""
        self.bad_signatures = 0
        self.clock: Callable[[], float] = time.time
        self.arrived = 0
        self.under_way = 0
        self.most_under_way = 0
        self._stirred = asyncio.Event()
        self.reply: Callable[[Received], Reply | Awaitable[Reply]] = lambda _call: OK
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The base URL of its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> "Receiver":
        """Listen: on a free port, later always on the same."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close the port and every connection."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    @property
    def delivered(self) -> list[dict[str, Any]]:
        """Every operation that was answered with success, in order."""
        return [operation for call in self.calls if call.status < 300 for operation in call.operations]

    async def until(self, happened: Callable[["Receiver"], bool]) -> None:
        """Wait for something that calls bring about, such as a number that `arrived` or are `under_way`."""
        async with asyncio.timeout(PATIENCE):
            while not happened(self):
                self._stirred.clear()
                await self._stirred.wait()

    def _count(self, change: int) -> None:
        self.arrived += max(change, 0)
        self.under_way += change
        self.most_under_way = max(self.most_under_way, self.under_way)
        self._stirred.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (call := await _read(reader)) is not None:
                self._count(1)
                try:
                    reply = self.reply(call)
                    status, headers, body = await reply if isinstance(reply, Awaitable) else reply
                    self._note(call._replace(status=status or _status_in(body)))
                finally:
                    self._count(-1)
                if status == 0:  # what has no status breaks the connection, after whatever the body says
                    writer.write(body)
                    break
                writer.write(_head(status, {"content-length": str(len(body)), **headers}) + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _note(self, call: Received) -> None:
        self.calls.append(call)
        if not call.path.endswith("/cards"):
            return  # a token
        if self.secret:
            try:
                verify([self.secret], call.headers, call.body, round(self.clock()))
            except Exception:  # noqa: BLE001 - whatever is wrong with it, it is counted
                self.bad_signatures += 1
        if call.status < 300 and call.status:
            for operation in call.operations:
                sequence = operation.get("cardtrail", {}).get("sequence", 0)
                key = operation["operationId"]
                self.newest[key] = max(sequence, self.newest.get(key, 0))


def _status_in(raw: bytes) -> int:
    """Return the status that raw bytes say, 0 where they end before the head does: said is said, whatever follows."""
    found = re.match(rb"HTTP/1.1 (\d{3})(?: [^\r]*)?\r\n.*?\r\n\r\n", raw, re.DOTALL)
    return int(found[1]) if found else 0


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    if status == 204:
        lines = [line for line in lines if not line.startswith("content-length")]
    return "\r\n".join(lines).encode()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(":", 1) for line in lines if line]
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(time.monotonic(), first.split(" ")[1], headers, body, 0)
