"""The pretend bank's receiver: a small real server that verifies notifications and keeps each order's newest picture.

Newest is what has the highest `sequence`, so that it matters neither how often nor in which order they come.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import uvicorn

from cardtrail.errors import Unauthorized
from cardtrail.platform.endpoint import PATH
from cardtrail.platform.status import Receive, Scope, Send
from cardtrail.protocol.signature import Verifier

HOST = "127.0.0.1"
MAX_BODY = 2_097_152
"""Largest body that is read, bytes; the platform sends half as much at most."""
MAX_KNOWN = 10_000
"""Most orders that are remembered; then the one that was heard of first is forgotten."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than the platform keeps it."""
STOP_SECONDS = 2
"""How long calls that are under way may take once it stops."""


class Known(msgspec.Struct, frozen=True, rename="camel"):
    """What the bank knows of an order: as it was last notified."""

    card_id: str
    sequence: int
    stage: str
    shipment: str = ""


Heard = Callable[[Known], None]
"""Told of each picture that was newer."""


class _Shipment(msgspec.Struct, frozen=True):
    status: str = ""


class _Details(msgspec.Struct, frozen=True):
    status: str = ""
    shipment: _Shipment = _Shipment()


class _Extension(msgspec.Struct, frozen=True):
    sequence: int


class _Operation(msgspec.Struct, frozen=True, rename="camel"):
    """As much of an operation as this bank reads."""

    operation_id: str
    card_id: str
    details: _Details
    cardtrail: _Extension


class _Mark(msgspec.Struct, frozen=True):
    cursor: str = ""


class _Call(msgspec.Struct, frozen=True):
    operations: list[_Operation]
    cardtrail: _Mark = _Mark()


_decode = msgspec.json.Decoder(_Call).decode


class Inbox:
    """What came in, and what is known from it; it outlives a stop, as a bank's database would."""

    def __init__(self, secret: str, heard: Heard) -> None:
        self.newest: dict[str, Known] = {}
        """The newest picture of each order, by its operation's id."""
        self.calls = 0
        self.notifications = 0
        """Pictures that came in calls which were signed."""
        self.duplicates = 0
        """Those of them that were not newer than what was known."""
        self.bad_signatures = 0
        self.cursor = ""
        """The high-water mark of the last call."""
        self._verifier = Verifier([secret])
        self._heard = heard

    def take(self, headers: Mapping[str, str], body: bytes, now_seconds: int) -> int:
        """Take a call in and return the status of the answer: 204, 401 if it is not signed, 400 if not readable."""
        self.calls += 1
        try:
            self._verifier.verify(headers, body, now_seconds)
        except Unauthorized:
            self.bad_signatures += 1
            return 401
        try:
            call = _decode(body)
        except msgspec.DecodeError:
            return 400
        self.cursor = call.cardtrail.cursor
        for operation in call.operations:
            self._apply(operation)
        return 204

    def _apply(self, operation: _Operation) -> None:
        self.notifications += 1
        before = self.newest.get(operation.operation_id)
        if before is not None and operation.cardtrail.sequence <= before.sequence:
            self.duplicates += 1
            return
        details = operation.details
        known = Known(operation.card_id, operation.cardtrail.sequence, details.status, details.shipment.status)
        self.newest[operation.operation_id] = known
        if len(self.newest) > MAX_KNOWN:
            del self.newest[next(iter(self.newest))]
        self._heard(known)

    def told(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "calls": self.calls, "notifications": self.notifications, "duplicates": self.duplicates,
            "badSignatures": self.bad_signatures, "cursor": self.cursor, "operations": self.newest,
        }  # fmt: skip


class Receiver:
    """Serves an inbox on a free port of loopback, which stays its own while it is stopped; `close` it in the end."""

    def __init__(self, issuer_id: str) -> None:
        self._path = PATH.format(issuer_id=issuer_id)
        # Bound and never listening. Without it somebody else could take the port while the receiver is stopped, even
        # a call to it: where nobody listens, a socket can be given that very port for its own end, and meet itself.
        self._place = _bound(0)
        self._inbox: Inbox | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Its port, the same for as long as it lives."""
        return int(self._place.getsockname()[1])

    @property
    def url(self) -> str:
        """The base URL of its endpoint."""
        return f"http://{HOST}:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    async def start(self, inbox: Inbox) -> None:
        """Listen, and answer from this inbox."""
        self._inbox = inbox
        self._server = _Server(uvicorn.Config(
            self._answer, interface="asgi3", proxy_headers=False, lifespan="off", ws="none", log_config=None,
            access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        ))  # fmt: skip
        self._serving = asyncio.create_task(self._server.serve([_bound(self.port)]))
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.01)
        if self._serving.done():
            self._serving.result()

    async def stop(self) -> None:
        """Close the listening socket and every connection: calls are refused from now on."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None

    def close(self) -> None:
        """Give up the port."""
        self._place.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call; `GET /` shows what is known."""
        inbox = self._inbox
        if inbox is None:
            raise RuntimeError("nothing is answered before the start")
        route = scope["method"], scope["path"]
        if route == ("GET", "/"):
            await _send(send, 200, msgspec.json.encode(inbox.told()))
        elif route == ("POST", self._path):
            body = await _body(receive)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            await _send(send, 413 if body is None else inbox.take(headers, body, int(time.time())))
        else:
            await _send(send, 404)


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the sandbox."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bound(port: int) -> socket.socket:
    """Return a socket that has a port on loopback, and shares it with others of this user's."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a call, None if it is too long or its sender has gone."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            return None
    return body


async def _send(send: Send, status: int, body: bytes = b"") -> None:
    headers = [] if status == 204 else [(b"content-length", b"%d" % len(body))]  # noqa: PLR2004 -- has no body
    if body:
        headers.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
