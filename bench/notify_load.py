"""Load on a receiver of notifications: signed bodies made ahead, plain sockets, one thread; a process of its own.

Cards walk the main line, each step a notification of its own. A notification counts when its call was answered 204. A
run ends after its seconds, or when nothing that was made ahead is left. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

import msgspec
import uvloop

from bench.child import LOAD_CORE, VoidError, output_of, pinned
from cardtrail.core.status import MAIN_LINE
from cardtrail.protocol.envelope import body_of
from cardtrail.protocol.signature import Signer, headers_of

ISSUER_ID = "BENCHBANK1"
PATH = f"/notifications/d1/v2/issuers/{ISSUER_ID}/cards"
CARDS = 20_000
"""Cards whose stories run side by side."""
_SHIPMENT = {
    "carrier": "dhl", "trackingNumber": "00340434161094042557", "status": "InTransit",
    "trackingUrl": "https://track.example/00340434161094042557",
}  # fmt: skip


@dataclass(frozen=True)
class Notified:
    """One run: notifications that were answered 204, and how long it took in seconds."""

    taken: int
    seconds: float
    trouble: str

    @property
    def rate(self) -> float:
        """Notifications a second."""
        return self.taken / self.seconds


def notify(port: int, batch: int, *, calls: int, seconds: float, secret: str, tag: str) -> Notified:  # noqa: PLR0913 -- each is an option of the process
    """Send up to so many calls of `batch` notifications, from the load's core. Raises VoidError."""
    options = [f"--{name}={value}" for name, value in (
        ("port", port), ("batch", batch), ("calls", calls), ("seconds", seconds), ("secret", secret), ("tag", tag),
    )]  # fmt: skip
    command = pinned([sys.executable, "-m", "bench.notify_load", *options], LOAD_CORE)
    notified = Notified(**json.loads(output_of(command, {}, seconds + 60).splitlines()[-1]))
    if notified.trouble or not notified.taken:
        raise VoidError(f"run void, {notified.trouble or 'nothing was taken'}")
    return notified


def _pictures(tag: str) -> Iterator[bytes]:
    number = 0
    while True:
        step, card = divmod(number, CARDS)
        turn, stage = divmod(step, len(MAIN_LINE))
        details = {"status": MAIN_LINE[stage], "dueDate": "2026-03-01", "productionSite": "site north"}
        shipped = {"shipment": _SHIPMENT} if stage == len(MAIN_LINE) - 1 else {}
        yield msgspec.json.encode({
            "operationId": f"op-{tag}-{turn}-{card}", "operation": "PRODUCE", "status": "PENDING",
            "startTime": "2026-01-05T08:00:00.000Z", "cardId": f"card-{tag}-{turn}-{card}",
            "details": details | shipped, "cardtrail": {"sequence": stage + 1},
        })  # fmt: skip
        number += 1


def _calls(batch: int, count: int, secret: str, tag: str) -> list[bytes]:
    signer, pictures, now = Signer([secret]), _pictures(tag), int(time.time())
    calls = []
    for number in range(count):
        body = body_of([next(pictures) for _ in range(batch)], "x" * 36)
        headers = {
            "host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body)),
            "x-cardtrail-cursor": "x" * 36, **headers_of(signer, f"msg-{number}", now, body),
        }  # fmt: skip
        lines = "\r\n".join([f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())])
        calls.append(lines.encode() + b"\r\n\r\n" + body)
    return calls[::-1]


class _Run:
    """The calls that are left, and what was answered."""

    def __init__(self, calls: list[bytes], seconds: float) -> None:
        self.calls = calls
        self.end = time.monotonic() + seconds
        self.taken = 0
        self.trouble = ""
        self.open = 0

    def next(self) -> bytes | None:
        return self.calls.pop() if self.calls and not self.trouble and time.monotonic() < self.end else None


class _Line(asyncio.Protocol):
    """One connection: a call, its answer, the next call."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._run.open += 1
        self._send()

    def _send(self) -> None:
        call = self._run.next()
        if call is None:
            self._transport.close()
        else:
            self._transport.write(call)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 204 "):
            self._run.taken += 1
        else:
            self._run.trouble = data[:200].decode("latin-1")
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        self._run.open -= 1


async def _measure(given: argparse.Namespace) -> Notified:
    run = _Run(_calls(given.batch, given.calls, given.secret, given.tag), given.seconds)
    began = time.monotonic()
    for _ in range(given.connections):
        await asyncio.get_running_loop().create_connection(lambda: _Line(run), "127.0.0.1", given.port)
    async with asyncio.timeout(given.seconds + 30):
        while run.open:  # noqa: ASYNC110 -- the end is a count of connections
            await asyncio.sleep(0.005)
    return Notified(run.taken * given.batch, time.monotonic() - began, run.trouble)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.notify_load", description=__doc__)
    _parser.add_argument("--port", type=int, required=True)
    _parser.add_argument("--secret", required=True)
    _parser.add_argument("--batch", type=int, default=1, help="notifications in a call")
    _parser.add_argument("--calls", type=int, default=10_000, help="calls made ahead")
    _parser.add_argument("--seconds", type=float, default=5)
    _parser.add_argument("--connections", type=int, default=64)
    _parser.add_argument("--tag", default="x", help="tells the cards of one run from those of another")
    print(json.dumps(asdict(uvloop.run(_measure(_parser.parse_args())))))
