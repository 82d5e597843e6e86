"""Servers under test: how one is described, started on its core, asked whether it answers, and stopped."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import cards
from bench.child import SERVER_CORE, NotMeasuredError, free_port, pinned, running

START_UP = 60.0
"""Longest wait for a server's first answer, seconds."""
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Ground:
    """What all servers of a run share: the folder of their data, and how many orders they know.

    `values` are further placeholders, `stack` holds what a preparation started and must be ended after the run.
    """

    folder: Path
    orders: int
    stack: ExitStack
    values: dict[str, str] = field(default_factory=dict)

    def fill(self, text: str, port: int = 0) -> str:
        """Return a part of a command with its placeholders filled."""
        return text.format(folder=self.folder, orders=self.orders, port=port, **self.values)

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return our environment with a server's own settings."""
        return {**os.environ, **{name: self.fill(value) for name, value in env.items()}}


Token = Callable[[Ground, int], str]
"""(ground, port of the running server) -> bearer token."""


@dataclass(frozen=True)
class Target:
    """A server under test. `{port}`, `{folder}` and `{orders}` are filled in command and environment.

    `prepare` gets everything ready but the orders, returns the command that fills these in, empty for none, and
    may raise NotMeasuredError; `warm_up` is how many seconds of load come
    before the first measurement; `ingest_token` is None where events are not taken.
    """

    key: str
    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Ground], Sequence[str]] = lambda _ground: ()
    token: Token = lambda _ground, _port: "none"
    ingest_token: Token | None = None
    warm_up: int = 1


@dataclass(frozen=True)
class Server:
    """A target that runs."""

    target: Target
    ground: Ground
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def token(self) -> str:
        """A fresh token to read with."""
        return self.target.token(self.ground, self.port)

    @property
    def ingest_token(self) -> str:
        """A fresh token to ingest with."""
        make = self.target.ingest_token
        return make(self.ground, self.port) if make else ""

    def answer(self) -> bytes:
        """Return the body for one known card. Raises NotMeasuredError unless it has one operation."""
        code, body = _ask(self.port, self.token)
        if code != 200 or len(json.loads(body)["operations"]) != 1:
            raise NotMeasuredError(f"answered {code} {body[:200]!r} {self.last_words()}")
        return body

    def last_words(self) -> str:
        """Return the end of what the server printed."""
        return self.log.read_text(encoding="utf-8", errors="replace").strip()[-300:]

    def await_answer(self) -> None:
        """Wait until anything is answered. Raises NotMeasuredError when the process ends or is slow."""
        give_up = time.monotonic() + START_UP
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                raise NotMeasuredError(f"ended at once: {self.last_words()}")
            try:
                _ask(self.port, "none")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise NotMeasuredError(f"no answer within {START_UP:.0f} s: {self.last_words()}")


@contextmanager
def serving(target: Target, ground: Ground) -> Iterator[Server]:
    """Run a prepared target on the server's core while the block lasts. Raises NotMeasuredError."""
    port = free_port()
    log = ground.folder / "logs" / f"{target.key}.log"
    command = pinned([ground.fill(part, port) for part in target.command], SERVER_CORE)
    with running(command, log, ground.environment(target.env), ROOT) as process:
        server = Server(target, ground, port, process, log)
        server.await_answer()
        server.answer()
        yield server


def _ask(port: int, token: str) -> tuple[int, bytes]:
    """Return code and body of one known card's status. Raises OSError."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{cards.path(0)}",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
    )
    return send(request)


def send(request: urllib.request.Request) -> tuple[int, bytes]:
    """Return code and body of any call to loopback, past every proxy. Raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
