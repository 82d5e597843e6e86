"""Notifications on their way to a receiver elsewhere: a real uvicorn in a process of its own."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cardtrail.errors import InputError
from cardtrail.protocol.codec import MAX_BODY
from cardtrail.protocol.signature import verify
from cardtrail.sandbox.wire import forward as module
from cardtrail.sandbox.wire.content import STATUS
from cardtrail.sandbox.wire.forward import Forward
from tests.faults.wire import READY, Notifying, notifying
from tests.peer import Asked, Line, talking
from tests.serving import free_port
from tests.signed import PATH, SECRET

PATIENCE = 30.0
PROGRAM = """
import json

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body, more, whole = b"", True, True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more, whole = message.get("more_body", False), message["type"] == "http.request"
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    with open("arrived.jsonl", "a") as file:
        file.write(json.dumps([scope["path"], headers, body.decode(), whole]) + "\\n")
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-said", b"by the receiver")]})
    await send({"type": "http.response.body", "body": b"taken"})
"""


class Elsewhere:
    """A receiver in another process, and what arrived there."""

    def __init__(self, folder: Path, port: int) -> None:
        self._file = folder / "arrived.jsonl"
        self.url = f"http://127.0.0.1:{port}"

    @property
    def arrived(self) -> list[Any]:
        """Path, headers, body and whether it was whole, of each call."""
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    async def many(self, count: int) -> list[Any]:
        """Wait until so many calls have arrived."""
        async with asyncio.timeout(PATIENCE):
            while len(self.arrived) < count:  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0.01)
        return self.arrived


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """A receiver that runs for the tests of this file."""
    folder, port = tmp_path_factory.mktemp("elsewhere"), free_port()
    (folder / "receiver.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "uvicorn", "receiver:app", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen(command, cwd=folder) as running:
        try:
            _wait_for(port)
            yield Elsewhere(folder, port)
        finally:
            running.kill()


def _wait_for(port: int) -> None:
    import socket  # noqa: PLC0415 - only here

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("the receiver has not started")


@pytest.fixture
def elsewhere(process: Elsewhere) -> Elsewhere:
    """The receiver, with nothing arrived yet."""
    process._file.unlink(missing_ok=True)
    return process


@asynccontextmanager
async def forwarding(folder: Path, url: str, **options: Any) -> AsyncIterator[Notifying]:
    """A wire whose receiver is at a URL."""
    forward = Forward(url, **options)
    async with notifying(folder, receiver=forward) as wire:
        try:
            yield wire
        finally:
            await forward.close()


def test_a_notification_arrives_elsewhere_as_it_was_sent_and_its_answer_comes_back(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    async def play() -> None:
        async with forwarding(tmp_path, elsewhere.url + "/hooks/") as wire:
            answer = await wire.send(READY)
            assert (answer.status, answer.body, answer.headers["x-said"]) == (201, b"taken", "by the receiver")
            [[path, headers, body, whole]] = elsewhere.arrived
            assert (path, whole) == ("/hooks" + PATH, True)
            verify([SECRET], headers, body.encode(), int(time.time()))
            assert elsewhere.url.endswith(headers["host"])

    asyncio.run(play())


def test_faults_strike_on_the_way_there(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async def play() -> None:
        async with forwarding(tmp_path, elsewhere.url) as wire:
            wire.faults.set("unknown-status", count=1)
            wire.faults.set("duplicate", count=1)
            assert (await wire.send(READY)).status == 201
            one, other = await elsewhere.many(2)
            assert one == other
            assert STATUS in one[2]
            wire.faults.set("drop")
            assert (await wire.send(READY)).status == 204
            assert len(elsewhere.arrived) == 2

    asyncio.run(play())


def test_a_call_that_breaks_off_breaks_off_there_too(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async def play() -> None:
        async with forwarding(tmp_path, elsewhere.url) as wire:
            wire.faults.set("truncated")
            assert await wire.lost(READY) == "ConnectionResetError"
            [[_, headers, body, whole]] = await elsewhere.many(1)
            assert (whole, 0 < len(body) < int(headers["content-length"])) == (False, True)

    asyncio.run(play())


def test_a_receiver_that_is_not_there_is_a_502_that_says_so(tmp_path: Path) -> None:
    async def play() -> None:
        async with forwarding(tmp_path, f"http://127.0.0.1:{free_port()}") as wire:
            answer = await wire.send(READY)
            assert (answer.status, b"the receiver gave no answer: no connection" in answer.body) == (502, True)

    asyncio.run(play())


def test_a_receiver_that_does_not_answer_in_time_is_a_504(tmp_path: Path) -> None:
    async def play(url: str) -> None:
        async with forwarding(tmp_path, url, timeout=0.2) as wire:
            assert (await wire.send(READY)).status == 504

    with talking(lambda _asked, _line: None) as (_, url):
        asyncio.run(play(url))


def test_an_answer_larger_than_anybody_wants_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 1_000)

    def script(_: Asked, line: Line) -> None:
        line.say(200, b"x" * 100_000)

    async def play(url: str) -> None:
        async with forwarding(tmp_path, url) as wire:
            answer = await wire.send(READY)
            assert (answer.status, b"more than 1000 bytes" in answer.body) == (502, True)

    with talking(script) as (_, url):
        asyncio.run(play(url))


def test_a_body_that_nobody_takes_is_not_handed_on(tmp_path: Path, elsewhere: Elsewhere) -> None:
    async def play() -> None:
        async with forwarding(tmp_path, elsewhere.url) as wire:
            assert (await wire.send(body=b" " * (MAX_BODY + 1))).status == 413
            assert elsewhere.arrived == []

    asyncio.run(play())


def test_a_redirect_is_an_answer_and_is_not_followed(tmp_path: Path) -> None:
    def script(_: Asked, line: Line) -> None:
        line.say(302, b"", location="http://127.0.0.1:1/")

    async def play(url: str) -> None:
        async with forwarding(tmp_path, url) as wire:
            assert (await wire.send(READY)).status == 302

    with talking(script) as (peer, url):
        asyncio.run(play(url))
    assert peer is not None


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://a b", "http://user@host/", "http://127.0.0.1:0"])
def test_a_url_that_cannot_be_called_is_refused_by_name(url: str) -> None:
    with pytest.raises(InputError, match="url"):
        Forward(url)
