"""A receiver that must be far faster than what it measures: it reads a POST's length, counts, and answers 204.

`python -m bench.sink --port N`, a process of its own. `--remember` notes when each card's notification came, `--delay`
answers so many seconds late. `GET /` answers what was counted, as JSON, and `DELETE /` also counts anew from then on.
It checks no signature: tests do.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from bench.child import LOAD_CORE, NotMeasuredError, VoidError, free_port, pinned, running
from bench.servers import ROOT, send

START_UP = 20.0
"""Longest wait for the receiver's first answer, and for the first call there, seconds."""
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_CARD = re.compile(rb'"cardId":"([^"]+)"')


@dataclass
class Tally:
    """What came: calls, when the first of them was there (monotonic, s), and when each card's first notification."""

    calls: int = 0
    first: float = 0.0
    arrivals: dict[str, float] = field(default_factory=dict)


class Receiving(asyncio.Protocol):
    """One connection; every call is answered 204, and `GET /` with the tally."""

    def __init__(self, board: list[Tally], delay: float, *, remember: bool) -> None:
        self._board = board
        self._delay = delay
        self._remember = remember
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every call that is there as a whole."""
        if self._rest:
            data = self._rest + data
        at, calls, tally = 0, 0, self._board[0]
        while (end := data.find(b"\r\n\r\n", at) + 4) > 3:
            length = data.find(b"ength: ", at, end)
            whole = end + int(data[length + 7 : data.index(b"\r", length)]) if length >= 0 else end
            if whole > len(data):
                break
            if data.startswith((b"GET", b"DEL"), at):
                self._tell(anew=data.startswith(b"D", at))
            else:
                calls += 1
                if self._remember:
                    self._note(data[end:whole])
            at = whole
        self._rest = data[at:] if at < len(data) else b""
        if calls:
            tally.first = tally.first or time.monotonic()
            tally.calls += calls
            self._answer(_ANSWER * calls)

    def _answer(self, data: bytes) -> None:
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, data)
        else:
            self._transport.write(data)

    def _note(self, body: bytes) -> None:
        now = time.monotonic()
        for card in _CARD.findall(body):
            self._board[0].arrivals.setdefault(card.decode(), now)

    def _tell(self, *, anew: bool) -> None:
        told = json.dumps(self._board[0].__dict__).encode()
        if anew:
            self._board[0] = Tally()
        self._transport.write(_HEAD % (len(told), told))


async def receive(port: int, delay: float, *, remember: bool) -> None:
    """Receive until the process is ended."""
    board = [Tally()]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Receiving(board, delay, remember=remember), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


# ── as a process of its own ──


@dataclass(frozen=True)
class Sink:
    """A receiver that runs."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The base URL of an endpoint that ends here."""
        return f"http://127.0.0.1:{self.port}"

    def tally(self, *, anew: bool = False) -> Tally:
        """Return what came since it was last counted `anew`. Raises NotMeasuredError."""
        request = urllib.request.Request(self.url, method="DELETE" if anew else "GET")  # noqa: S310 - our own receiver
        try:
            _, body = send(request)
        except OSError as error:
            raise NotMeasuredError(f"the receiver does not answer: {error}") from None
        return Tally(**json.loads(body))

    def await_first(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for the first call of a process; return when it was there, monotonic s. Raises VoidError."""
        give_up = time.monotonic() + START_UP
        while not (first := self.tally().first):
            if time.monotonic() > give_up or process.poll() is not None:
                raise VoidError("nothing was sent")
            time.sleep(0.02)
        return first


@contextmanager
def sink(log: Path, *options: str) -> Iterator[Sink]:
    """Run a receiver on the load generator's core while the block lasts. Raises NotMeasuredError."""
    port = free_port()
    command = pinned([sys.executable, "-m", "bench.sink", "--port", str(port), *options], LOAD_CORE)
    with running(command, log, cwd=ROOT) as process:
        made = Sink(port, process)
        _await_answer(made)
        yield made


def _await_answer(made: Sink) -> None:
    give_up = time.monotonic() + START_UP
    while True:
        try:
            made.tally()
        except NotMeasuredError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.sink", description=__doc__)
    _parser.add_argument("--port", type=int, required=True)
    _parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    _parser.add_argument("--remember", action="store_true", help="note when each card's notification came")
    _given = _parser.parse_args()
    uvloop.run(receive(_given.port, _given.delay, remember=_given.remember))
