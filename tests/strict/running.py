"""The strict server on a real socket: on a thread of the test's process, or in a process of its own."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from joserfc.jwk import ECKey
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.strict.app import TRANSPORT
from tests.strict.plots import Json
from tests.strict.server import Options, Strict

T = TypeVar("T")
HOUSE = Path(__file__).parents[2]
PATIENCE = 300.0
"""Longest wait for anything that the server does, seconds; only a broken test ever waits so long."""
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Protocol(HttpToolsProtocol):
    """uvicorn's connection, which an answer can break."""

    def on_headers_complete(self) -> None:
        """Put the connection where the application finds it."""
        scope: Any = self.scope
        scope[TRANSPORT] = self.transport
        super().on_headers_complete()


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(strict: Strict, port: int = 0) -> AsyncIterator[str]:
    """Answer on 127.0.0.1 until the block ends; give the origin."""
    place = socket.create_server(("127.0.0.1", port), backlog=1_024)
    config = uvicorn.Config(
        strict.app, interface="asgi3", http=Protocol, loop="none", lifespan="off", ws="none", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    serving = asyncio.create_task(server.serve([place]))
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        await strict.stop()
        server.should_exit = True
        await serving
        place.close()


# ── on a thread ──────────────────────────────────────────────────────────────────────────────────────────────


class OnThread:
    """A strict server beside the test; what it knows is asked and told directly."""

    def __init__(self, strict: Strict, origin: str, loop: asyncio.AbstractEventLoop) -> None:
        self.strict = strict
        self.origin = origin
        self._loop = loop

    @property
    def issuer_id(self) -> str:
        """The one issuer that it knows."""
        return self.strict.options.issuer_id

    @property
    def kid(self) -> str:
        """The name of the issuer's key."""
        return self.strict.options.kid

    @property
    def private_pem(self) -> str:
        """The issuer's key."""
        return self.strict.key.as_pem(private=True).decode()

    def advance(self, steps: int, *, tell: bool = True) -> int:
        """Let steps happen and notify of them; return how many there were."""
        return self._run(self.strict.advance(steps, tell=tell))

    def flush(self) -> None:
        """Wait until each notification was lost, taken or given up."""
        self._run(self.strict.flush())

    def troubles(self, **members: Any) -> None:
        """Change what goes wrong with answers from now on."""
        self._run(_soon(lambda: self.strict.set_troubles(members)))

    def counts(self) -> dict[str, dict[str, int]]:
        """What was counted so far."""
        return self._run(_soon(self.strict.counts))

    def truth(self) -> dict[str, Json | None]:
        """Each card and its latest order."""
        told: list[tuple[str, bytes | None]] = self._run(_soon(lambda: list(self.strict.world.truth())))
        return {card_id: None if newest is None else json.loads(newest) for card_id, newest in told}

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


async def _soon(work: Callable[[], T]) -> T:
    return work()


@contextmanager
def strict_on_thread(options: Options, key: ECKey | None = None) -> Iterator[OnThread]:
    """Run a strict server on a thread of its own until the block ends."""
    strict, loop = Strict(options, key), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)

    place = listening(strict)
    try:
        origin = run(place.__aenter__())
        try:
            yield OnThread(strict, origin, loop)
        finally:
            run(place.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


# ── in a process ─────────────────────────────────────────────────────────────────────────────────────────────


class InProcess:
    """A strict server in a process of its own; what it knows is asked over HTTP."""

    def __init__(self, process: "subprocess.Popen[str]", said: Json) -> None:
        self.process = process
        self.origin: str = said["origin"]
        self.issuer_id: str = said["issuerId"]
        self.kid: str = said["kid"]
        self.key_file: str = said["keyFile"]

    def advance(self, steps: int, *, tell: bool = True) -> int:
        """Let steps happen and notify of them; return how many there were."""
        return int(self._post("advance", {"steps": steps, "tell": tell})["steps"])

    def flush(self) -> None:
        """Wait until each notification was lost, taken or given up."""
        self._post("flush", {})

    def troubles(self, **members: Any) -> None:
        """Change what goes wrong with answers from now on."""
        self._post("troubles", members)

    def counts(self) -> dict[str, dict[str, int]]:
        """What was counted so far."""
        with _opener.open(f"{self.origin}/admin/counts", timeout=PATIENCE) as answer:
            counted: dict[str, dict[str, int]] = json.load(answer)
            return counted

    def truth(self) -> Iterator[tuple[str, Json | None]]:
        """Each card and its latest order, a line at a time."""
        with _opener.open(f"{self.origin}/admin/truth", timeout=PATIENCE) as lines:
            for line in lines:
                said = json.loads(line)
                yield said["cardId"], said["operation"]

    def write_cards(self, path: Path) -> None:
        """Write the ids of all cards, as JSON Lines."""
        with _opener.open(f"{self.origin}/admin/cards", timeout=PATIENCE) as lines, path.open("wb") as file:
            file.writelines(lines)

    def _post(self, name: str, members: Json) -> Json:
        request = urllib.request.Request(f"{self.origin}/admin/{name}", json.dumps(members).encode(), method="POST")  # noqa: S310 - our own
        with _opener.open(request, timeout=PATIENCE) as answer:
            said: Json = json.load(answer)
            return said


@contextmanager
def strict_in_process(key_file: Path, *options: str) -> Iterator[InProcess]:
    """Run `python -m tests.strict` until the block ends; it makes the issuer's key if the file is missing."""
    command = [sys.executable, "-m", "tests.strict", "--key-file", str(key_file), *options]
    process = subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the strict server has not started"
        yield InProcess(process, json.loads(line))
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
