"""What the tests of the sandbox's wire share: a register of effects, and both ends of the wire on real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.line import LineProtocol
from cardtrail.sandbox.wire.notify import NotificationWire
from cardtrail.sandbox.wire.record import Recorder
from tests.hosting import PATIENCE, Answer, call, hosting
from tests.signed import PATH, SECRET, body_of, operation, signed

Effect = Callable[[Path], Coroutine[Any, Any, None]]
EFFECTS: dict[tuple[Kind, Hop], Effect] = {}
"""What is to be seen of each kind on each of its hops."""


def effect(kind: Kind, hop: Hop) -> Callable[[Effect], Effect]:
    """Register a check that a fault is seen on the wire; it is given an empty folder."""

    def register(check: Effect) -> Effect:
        assert (kind, hop) not in EFFECTS
        EFFECTS[kind, hop] = check
        return check

    return register


class Arrival(NamedTuple):
    """A call that a receiver got: headers in lower case, the body as far as it came, whether that is all of it."""

    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def operations(self) -> list[Any]:
        """The operations of a notification."""
        operations: list[Any] = msgspec.json.decode(self.body)["operations"]
        return operations

    @property
    def stages(self) -> list[str]:
        """The stages of its operations."""
        return [each["details"]["status"] for each in self.operations]

    @property
    def age(self) -> float:
        """How old its signature says that it is, seconds."""
        return time.time() - int(self.headers["webhook-timestamp"])


class Arrived:
    """A receiver that keeps what arrives, and answers 202 so that its answers are known."""

    def __init__(self) -> None:
        self.calls: list[Arrival] = []
        self.paths: list[str] = []
        self._came = asyncio.Condition()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more, whole = b"", True, True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more, whole = message.get("more_body", False), message["type"] == "http.request"
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        async with self._came:
            self.paths.append(scope["path"])
            self.calls.append(Arrival(headers, body, whole))
            self._came.notify_all()
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def many(self, count: int) -> list[Arrival]:
        """Wait until so many calls have arrived; return all."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: len(self.calls) >= count)
        return self.calls


class Notifying:
    """A wire for notifications that is served, what arrives behind it, and a platform that calls."""

    def __init__(self, wire: NotificationWire, faults: Faults, arrived: Arrived, port: int) -> None:
        self.wire = wire
        self.faults = faults
        self.arrived = arrived
        self.port = port
        self.secrets = [SECRET]
        self.rotations: list[float] = []

    async def send(self, *operations: object, body: bytes | None = None) -> Answer:
        """Notify as the platform does."""
        sent = body_of(*operations) if body is None else body
        return await call(self.port, PATH, sent, signed(sent, time.time(), *self.secrets))

    async def lost(self, *operations: object) -> str:
        """Notify, and return how the connection ended without a whole answer."""
        try:
            await self.send(*operations)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            return type(error).__name__
        return "answered"


@asynccontextmanager
async def notifying(
    folder: Path, seed: int = 1, receiver: Asgi | None = None, recorder: Recorder | None = None
) -> AsyncIterator[Notifying]:
    """Serve a wire until the block ends; a recorder writes to the folder."""
    arrived, faults = Arrived(), Faults(seed)
    recorder = recorder or Recorder(folder)

    async def secrets() -> Sequence[str]:
        return opened.secrets

    async def rotate(seconds: float) -> None:
        opened.rotations.append(seconds)

    wire = NotificationWire(receiver or arrived, faults, recorder, secrets=secrets, rotate=rotate)
    async with hosting(wire, http=LineProtocol) as port:
        opened = Notifying(wire, faults, arrived, port)
        try:
            yield opened
        finally:
            await wire.close()
            recorder.close()


READY, ONGOING = operation(stage="CARD_PROD_READY", sequence=3), operation(stage="CARD_PROD_ONGOING", sequence=4)
SHIPPED = operation(
    stage="CARD_SHIPPED", sequence=6, details={"status": "CARD_SHIPPED", "shipment": {"carrier": "dhl"}}
)
OTHER = operation("card-2", sequence=1)
