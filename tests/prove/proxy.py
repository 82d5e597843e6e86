"""A proxy that spoils what passes through it: every call is forwarded, or not, in one of many ways, by its number.

What happens to the n-th call is decided by the seed; which call is the n-th is not.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple, Self

from tests.hosting import Answer, call

CALM = "pass"
ASKING: Mapping[str, int] = {
    CALM: 74, "lost": 4, "unheard": 5, "torn": 2, "late": 4, "double": 3, "failed": 3, "limited": 2, "slow": 1,
    "overtaken": 2,
}  # fmt: skip
"""How often what happens on the way to the platform, in shares."""
NOTIFYING: Mapping[str, int] = {
    CALM: 60, "lost": 5, "unheard": 6, "torn": 2, "late": 4, "double": 4, "again later": 4, "failed": 4, "limited": 2,
    "slow": 2, "overtaken": 4, "thrown away": 5,
}  # fmt: skip
"""The same on the way to the receiver: there, some are answered well and thrown away."""
LATEST = 1.5
"""Longest that something is late, seconds: longer than a delivery may take."""
FORWARDED = 10.0
"""Longest wait for what stands behind, seconds."""
BROKEN = (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError)


class Call(NamedTuple):
    """A call as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Proxy:
    """Listens on a port of 127.0.0.1 and forwards to one of others, by chance. `calm` ends all trouble."""

    def __init__(self, name: str, targets: Sequence[int], shares: Mapping[str, int]) -> None:
        self.calm = False
        self.faults = Counter[str]()
        self.sent: list[bytes] = []
        """The bodies of all POSTs that came, and of them those that went on."""
        self.carried: list[bytes] = []
        self.port = 0
        self._name, self._targets, self._shares = name, targets, shares
        self._number = 0
        self._passed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._later: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    async def quiet(self) -> None:
        """Wait until everything that was to come later has come."""
        self.calm = True
        waiting = [task for task in self._later if task.get_name() == "again"]
        if waiting:
            await asyncio.wait(waiting, timeout=FORWARDED)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._later.add(task)
        try:
            while (one := await _read(reader)) is not None:
                answer = await self._answer(one)
                if answer is None or (torn := answer.headers.get("x-torn")) is not None:
                    if answer is not None and torn:
                        writer.write(_bytes_of(answer)[: -len(answer.body) // 2 - 1])
                        await writer.drain()
                    writer.transport.abort()
                    return
                writer.write(_bytes_of(answer))
                await writer.drain()
        except BROKEN:
            pass
        finally:
            self._later.discard(task)
            writer.close()

    async def _answer(self, one: Call) -> Answer | None:
        """Return what is answered, None where the connection ends instead."""
        self._number += 1
        chance = Random(f"{self._name}|{self._number}")
        fault = CALM if self.calm else chance.choices(list(self._shares), list(self._shares.values()))[0]
        if fault != CALM:
            self.faults[fault] += 1
        if one.method == "POST":
            self.sent.append(one.body)
        if fault in {"lost", "failed", "limited", "thrown away"}:
            return _REFUSALS[fault]
        await self._wait(fault, chance)
        answer = await self._forward(one, chance)
        if fault == "double":
            answer = await self._forward(one, chance)
        if fault == "again later":
            again = asyncio.create_task(self._again(one, chance), name="again")
            self._later.add(again)
            again.add_done_callback(self._later.discard)
        if fault == "slow":
            await asyncio.sleep(LATEST)
        if fault == "torn" and answer is not None:
            return answer._replace(headers={**answer.headers, "x-torn": "yes"})
        return None if fault == "unheard" else answer

    async def _wait(self, fault: str, chance: Random) -> None:
        if fault == "late":
            await asyncio.sleep(chance.uniform(0.02, LATEST))
        async with self._passed:
            self._passed.notify_all()
            if fault == "overtaken":
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._passed.wait(), LATEST / 2)

    async def _again(self, one: Call, chance: Random) -> None:
        await asyncio.sleep(chance.uniform(0.5, 3.0))
        await self._forward(one, chance)

    async def _forward(self, one: Call, chance: Random) -> Answer | None:
        if one.method == "POST":
            self.carried.append(one.body)
        try:
            async with asyncio.timeout(FORWARDED):
                port = chance.choice(self._targets)
                headers = {name: value for name, value in one.headers.items() if name != "connection"}
                return await call(port, one.path, one.body, headers, one.method)
        except BROKEN:
            self.faults["nobody there"] += 1
            return None


_REFUSALS: dict[str, Answer | None] = {
    "lost": None,
    "failed": Answer(500, {}, b"<html>", closed=False),
    "limited": Answer(429, {"retry-after": "1"}, b"", closed=False),
    "thrown away": Answer(204, {}, b"", closed=False),
}


async def _read(reader: asyncio.StreamReader) -> Call | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, _ = first.split(" ")
    return Call(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _bytes_of(answer: Answer) -> bytes:
    length = {} if answer.status == 204 else {"content-length": str(len(answer.body))}
    kept = {name: value for name, value in answer.headers.items() if name not in {"x-torn", "connection"}}
    lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in (kept | length).items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + answer.body
