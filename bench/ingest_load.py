"""Load on `POST /ingest/v1/events`: bodies made ahead, plain sockets, one thread; a process of its own.

An event counts when it was answered `accepted`. Each connection tells the stories of its own cards, so that
the events of one card stay in order. Prints one line of JSON. The token comes from BENCH_TOKEN.
"""

import argparse
import json
import os
import re
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from statistics import quantiles

from bench.child import LOAD_CORE, VoidError, output_of, pinned
from bench.story import STEPS, bodies

PATH = "/ingest/v1/events"
ANSWER_WAIT = 15.0
"""Longest wait for an answer, seconds."""
STORIES = 512
"""Cards whose stories run side by side, over all connections."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What to send: `rate` events a second, or as many as are taken when 0."""

    port: int
    batch: int
    connections: int
    seconds: float
    rate: float = 0
    ahead: int = 40_000
    """Events made ahead for each second at full speed."""
    tag: str = "x"


@dataclass(frozen=True)
class Ingested:
    """One run: events a second that were accepted, latencies of a request in milliseconds."""

    accepted: int
    seconds: float
    p50: float
    p99: float
    refused: int
    trouble: str

    @property
    def rate(self) -> float:
        """Accepted events a second."""
        return self.accepted / self.seconds


@dataclass
class _Tally:
    accepted: int = 0
    refused: int = 0
    trouble: str = ""
    waits: list[float] = field(default_factory=list)


class _Line:
    """One connection with its own stories: at most one request is out."""

    def __init__(self, plan: Plan, number: int, token: str) -> None:
        self._head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        self._requests = self._made(plan, number)
        self.socket = socket.create_connection(("127.0.0.1", plan.port), ANSWER_WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = b""
        self._sent = 0.0

    def _made(self, plan: Plan, number: int) -> Iterator[bytes]:
        """Yield requests made ahead; at a steady rate lines take turns, but not exactly."""
        wanted = (plan.rate * 1.5 or plan.ahead) * plan.seconds / plan.connections
        window = max(8, STORIES // plan.connections, plan.batch)
        cards = int(wanted) // STEPS + window
        stories = bodies(f"{plan.tag}-{number}", range(cards), plan.batch, window, number)
        return iter([self._head % len(body) + body for body in stories])

    def send(self) -> None:
        """Send the next request. Raises VoidError when there is none left."""
        request = next(self._requests, None)
        if request is None:
            raise VoidError("the events ran out: raise --ahead")
        self._sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self, tally: _Tally) -> bool:
        """Take what has come; True when that was a whole answer, which is then counted."""
        data = self.socket.recv(262_144)
        if not data:
            raise VoidError(f"the server hung up after {self._answer[:200]!r}")
        self._answer += data
        if not _is_whole(self._answer):
            return False
        tally.waits.append(time.perf_counter() - self._sent)
        _count(self._answer, tally)
        self._answer = b""
        return True


def _is_whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(answer, 0, end + 2)
    if length is None:
        raise VoidError(f"an answer without a length: {answer[:200]!r}")
    return len(answer) >= end + 4 + int(length[1])


def _count(answer: bytes, tally: _Tally) -> None:
    """Count what was accepted; everything else is a refusal, whose first text is kept."""
    accepted = answer.count(b'"accepted"') if answer.startswith(b"HTTP/1.1 200") else 0
    tally.accepted += accepted
    if accepted == 0 or accepted < answer.count(b'"eventId"'):
        tally.refused += 1
        tally.trouble = tally.trouble or answer[:600].decode(errors="replace")


def run(plan: Plan, token: str) -> Ingested:
    """Send until the time is over and return what was accepted. Raises VoidError."""
    lines = [_Line(plan, number, token) for number in range(plan.connections)]
    try:
        tally, seconds = _Pump(plan, lines).run()
    finally:
        for line in lines:
            line.socket.close()
    cuts = quantiles(tally.waits, n=100) if len(tally.waits) > 1 else [0.0] * 99
    return Ingested(tally.accepted, seconds, cuts[49] * 1e3, cuts[98] * 1e3, tally.refused, tally.trouble)


class _Pump:
    """Keeps the lines busy as far as the rate allows."""

    def __init__(self, plan: Plan, lines: list[_Line]) -> None:
        self._plan = plan
        self._idle = deque(lines)
        self._lines = len(lines)
        self._sent = 0
        self._tally = _Tally()
        self._selector = selectors.DefaultSelector()
        for line in lines:
            self._selector.register(line.socket, selectors.EVENT_READ, line)

    def run(self) -> tuple[_Tally, float]:
        """Return the tally and the seconds until the last answer."""
        begun = time.perf_counter()
        passed = 0.0
        while passed < self._plan.seconds or len(self._idle) < self._lines:
            if passed < self._plan.seconds:
                self._send(passed)
            elif passed > self._plan.seconds + ANSWER_WAIT:
                raise VoidError(f"{self._lines - len(self._idle)} requests were not answered")
            self._receive(passed)
            passed = time.perf_counter() - begun
        self._selector.close()
        return self._tally, passed

    def _send(self, passed: float) -> None:
        while self._idle and self._due() <= passed:
            self._idle.popleft().send()
            self._sent += 1

    def _due(self) -> float:
        """Return when the next request is due, seconds after the start."""
        return self._sent * self._plan.batch / self._plan.rate if self._plan.rate else 0.0

    def _receive(self, passed: float) -> None:
        waiting = self._idle and passed < self._plan.seconds
        pause = min(max(self._due() - passed, 0.0), 1.0) if waiting else 1.0
        for key, _ in self._selector.select(pause):
            line: _Line = key.data
            if line.receive(self._tally):
                self._idle.append(line)


# ── as a process of its own ──


def command_of(plan: Plan) -> list[str]:
    """Return the command line that runs a plan on the load generator's core."""
    options = [text for name, value in asdict(plan).items() for text in (f"--{name}", str(value))]
    return pinned([sys.executable, "-m", "bench.ingest_load", *options], LOAD_CORE)


def ingest(plan: Plan, token: str) -> Ingested:
    """Run a plan in a process of its own. Raises VoidError when an event was not accepted."""
    printed = output_of(command_of(plan), {"BENCH_TOKEN": token}, plan.seconds * 4 + 60)
    return ingested_of(printed)


def ingested_of(printed: str) -> Ingested:
    """Return the result in what the process printed. Raises VoidError."""
    result = Ingested(**json.loads(printed.splitlines()[-1]))
    if result.refused or not result.accepted:
        raise VoidError(f"run void, {result.refused} requests with refusals, the first: {result.trouble}")
    return result


def _plan_of(arguments: list[str]) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest_load", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=100, help="events in a request")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=0, help="events a second; 0 is as many as are taken")
    parser.add_argument("--ahead", type=int, default=40_000, help="events made ahead for each second")
    parser.add_argument("--tag", default=f"t{time.time_ns() // 1_000_000:x}", help="makes ids unique")
    return Plan(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(run(_plan_of(sys.argv[1:]), os.environ.get("BENCH_TOKEN", "none")))))
    except (VoidError, OSError) as reason:
        sys.exit(str(reason))
