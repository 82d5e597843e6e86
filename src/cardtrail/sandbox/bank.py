"""The pretend bank's side of notifications: its endpoint, its receiver, which can be stopped, and what waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import msgspec

from cardtrail.errors import Conflict
from cardtrail.platform.endpoint import Config, Endpoint, EndpointState, Secrets, Signing
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.ledger import MAX_LISTED, Ledger, Selection
from cardtrail.platform.outbox import NotificationState
from cardtrail.sandbox.admit import ACTOR, ISSUER_ID
from cardtrail.sandbox.receiver import Inbox, Known, Receiver

ENDPOINT_ID = "demo-bank"
STEPS = "0.05,0.5,1,2,5,10,10,10,10,10,10,10,10,10,10,10"
"""Waits after failures, seconds. The first decides how soon a receiver that is back is noticed: an open circuit tries
it after so long, then ever more seldom, in the end after sixty times as long and a fifth of chance: 3.6 s."""
TIMEOUT = 3
"""Longest call to the receiver, seconds; what a killed sandbox had begun is taken over after twice as long."""
NETWORK = "127.0.0.0/8"
"""Where the demo's platform may call."""


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands between platform and bank. `oldest` is how long it has waited, seconds."""

    url: str
    is_up: bool
    notifications: int
    pending: int
    oldest: float
    known: Mapping[str, Known]
    """What the bank knows, by the operation's id."""


async def subscribe(endpoints: Endpoints, url: str) -> str:
    """Have the demo's issuer notified at `url`; return what its receiver verifies with, another at every start."""
    endpoint = Endpoint(issuer_id=ISSUER_ID, endpoint_id=ENDPOINT_ID, config=Config(url=url))
    with suppress(Conflict):
        return (await endpoints.add(endpoint, Secrets(), ACTOR))[1]
    _, secret = await endpoints.rotate_secret(ISSUER_ID, ENDPOINT_ID, ACTOR, overlap=0, signing=Signing.V1)
    changed = await endpoints.update(endpoint, Secrets(), ACTOR)
    if changed.state is EndpointState.DISABLED:
        await endpoints.enable(ISSUER_ID, ENDPOINT_ID, ACTOR)
    return secret


class Bank:
    """The bank while the sandbox runs. `say` tells a person what becomes of its receiver."""

    def __init__(self, receiver: Receiver, inbox: Inbox, ledger: Ledger, say: Callable[[str], None]) -> None:
        self.receiver = receiver
        self._inbox = inbox
        self._ledger = ledger
        self._say = say
        self._is_open = True
        self._is_wanted = True
        self._toggled = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen for as long as the block lasts, but for what `toggle` asks for."""
        await self.receiver.start(self._inbox)
        toggling = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._is_open = False
            self._toggled.set()
            await toggling
            await self.receiver.stop()

    def toggle(self) -> None:
        """Stop the receiver soon, or start it again."""
        self._is_wanted = not self._is_wanted
        self._toggled.set()

    async def _run(self) -> None:
        while self._is_open:
            await self._toggled.wait()
            self._toggled.clear()
            if self._is_wanted and not self.receiver.is_up:
                await self.receiver.start(self._inbox)
                self._say("The bank's receiver is up again; what waited arrives.")
            elif self.receiver.is_up and not self._is_wanted:
                await self.receiver.stop()
                self._say("The bank's receiver has stopped; notifications wait.")

    async def look(self) -> Books:
        """Return how it stands. Raises StoreUnavailable."""
        waiting = await self._ledger.entries(
            ISSUER_ID, Selection(state=NotificationState.PENDING, endpoint_id=ENDPOINT_ID), most=MAX_LISTED
        )
        oldest = time.time() - waiting[0].created_at / 1_000_000 if waiting else 0.0
        inbox = self._inbox
        return Books(
            url=self.receiver.url, is_up=self.receiver.is_up, notifications=inbox.notifications,
            pending=len(waiting), oldest=max(0.0, oldest), known=inbox.newest,
        )  # fmt: skip
