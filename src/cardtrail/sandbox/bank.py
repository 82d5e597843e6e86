"""The pretend bank: a receiver that can be stopped, a wire that can fail on purpose, and the mirror behind both.

All of it but the wire is the issuer kit, as a real bank would use it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from cardtrail.errors import InputError
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send, asgi_app
from cardtrail.issuer.budget import Limits
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.keep import Keeper, Pace
from cardtrail.issuer.mirror import AsyncMirror, Change
from cardtrail.issuer.receive import AsyncReceiver
from cardtrail.issuer.trust import Trust
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.ledger import MAX_LISTED, Ledger, Selection
from cardtrail.platform.outbox import NotificationState
from cardtrail.protocol.signature import MAX_SECRETS
from cardtrail.sandbox.admit import ACTOR, ISSUER_ID
from cardtrail.sandbox.server import Server
from cardtrail.sandbox.subscribe import ENDPOINT_ID
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind, part_of
from cardtrail.sandbox.wire.notify import NotificationWire
from cardtrail.sandbox.wire.record import Recorder

ALL = 1.0
"""The share that is thrown away where none is named."""
PULL_SECONDS = 12
"""From one pull of the platform's changes to the next: slow enough for a person to see that the mirror is wrong."""
PACE = Pace(limits=Limits(per_second=20, per_day=200_000), pull_seconds=PULL_SECONDS, idle_factor=1)
SECOND = 1_000_000


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands between platform and bank. `oldest` is how long a notification has waited, seconds.

    `pulled` is how many seconds ago the reconciler has read the platform's changes to their end; None where never.
    """

    url: str
    is_up: bool
    taken: int = 0
    pending: int = 0
    oldest: float = 0.0
    share: float = 0.0
    thrown: int = 0
    pulled: float | None = None
    repaired: int = 0
    time: str = ""
    """What time it is in the pretend world, and how it runs."""


class Bank:
    """The bank while the sandbox runs. `say` tells a person what becomes of its switches.

    Notifications go through the wire, `recorder` writes it down, to the bank's own receiver, or in its place to a
    `receiver` that is elsewhere.
    """

    def __init__(  # noqa: PLR0913 -- the parts of a bank, what is between it and the platform, and who hears of it
        self, server: Server, mirror: AsyncMirror, secret: str, ledger: Ledger, *, endpoints: Endpoints,
        faults: Faults, say: Callable[[str], None], recorder: Recorder | None = None, receiver: Asgi | None = None,
    ) -> None:  # fmt: skip
        self.server = server
        self.mirror = mirror
        self.faults = faults
        self.recorder = recorder
        self.secrets = [secret]
        """What its receiver verifies with, the newest first."""
        self.repaired = 0
        """Changes of the mirror that no notification told."""
        self._receiver = self._opened()
        self._wire = NotificationWire(
            receiver or self._receive, faults, recorder, secrets=self.signing, rotate=self._rotate
        )
        self._endpoints = endpoints
        self._ledger = ledger
        self.time: Callable[[], str] = str
        """Tells the time of the pretend world."""
        self.say = say
        """Tells a person."""
        self._is_wanted = True
        self._switching = asyncio.Lock()
        self._switches = set[asyncio.Task[None]]()
        self._number = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen for as long as the block lasts, but for what the switches ask for."""
        self._number = await self.mirror.ticket(ISSUER_ID) - 1
        await self.server.start(self._wire)
        try:
            yield
        finally:
            await asyncio.gather(*self._switches)
            await self.server.stop()
            await self._wire.close()

    async def keep(self, client: AsyncClient) -> None:
        """Keep the mirror right, for ever."""
        await Keeper(ISSUER_ID, client, self.mirror, PACE).run()

    # ── the receiver ──

    def _opened(self) -> AsyncReceiver:
        return AsyncReceiver(self.mirror, {ISSUER_ID: Trust(secrets=self.secrets)})

    async def _receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asgi_app(self._receiver)(scope, receive, send)

    async def signing(self) -> tuple[str, ...]:
        """Return what the platform signs with now."""
        _, kept = await self._endpoints.find_with_secrets(ISSUER_ID, ENDPOINT_ID)
        return kept.valid(time.time_ns() // 1_000)

    async def _rotate(self, seconds: float) -> None:
        """Have the platform sign with a new secret, and take it over, as an issuer does within the overlap."""
        _, secret = await self._endpoints.rotate_secret(ISSUER_ID, ENDPOINT_ID, ACTOR, overlap=int(seconds))
        self.secrets = [secret, *self.secrets][:MAX_SECRETS]
        before, self._receiver = self._receiver, self._opened()
        self._receiver.answers.update(before.answers)

    # ── switches ──

    def toggle_receiver(self) -> None:
        """Stop the receiver soon, or start it again."""
        self._is_wanted = not self._is_wanted
        task = asyncio.create_task(self._obey())
        self._switches.add(task)
        task.add_done_callback(self._switches.discard)

    async def switch_receiver(self, *, up: bool) -> None:
        """Start the receiver or stop it, unless it is as it should be."""
        self._is_wanted = up
        await self._obey()

    async def _obey(self) -> None:
        async with self._switching:
            if self._is_wanted and not self.server.is_up:
                await self.server.start(self._wire)
                self.say("The bank's receiver is up again; what waited arrives.")
            elif self.server.is_up and not self._is_wanted:
                await self.server.stop()
                self.say("The bank's receiver has stopped; notifications wait.")

    def toggle_drop(self) -> None:
        """Throw all notifications away from now on, or none any more."""
        self.drop(0.0 if self._share else ALL)

    def drop(self, share: float) -> None:
        """Throw this share of the notifications away from now on. Raises InputError."""
        if not 0 <= share <= 1:
            raise InputError("share", "0 to 1", "FIELD_INVALID_VALUE")
        if share:
            self.faults.set(Kind.DROP, Hop.NOTIFICATIONS, rate=share)
            self.say(f"From now on {part_of(share)} notifications are lost; the platform believes that they arrived.")
        elif self.faults.clear(Kind.DROP, Hop.NOTIFICATIONS):
            self.say(f"Notifications arrive again; {self._wire.thrown} were lost.")

    @property
    def _share(self) -> float:
        fault = self.faults.find(Kind.DROP, Hop.NOTIFICATIONS)
        return fault.rate if fault is not None and not fault.is_spent else 0.0

    # ── what there is to see ──

    async def learned(self) -> list[Change]:
        """Return what the mirror has learned since the last time. Raises StoreUnavailable."""
        changes = await self.mirror.changes(ISSUER_ID, self._number)
        if changes:
            self._number = changes[-1].number
        self.repaired += sum(change.source == "answer" for change in changes)
        return changes

    async def look(self) -> Books:
        """Return how it stands. Raises StoreUnavailable."""
        waiting = await self._ledger.entries(
            ISSUER_ID, Selection(state=NotificationState.PENDING, endpoint_id=ENDPOINT_ID), most=MAX_LISTED
        )
        oldest = _ago(waiting[0].created_at) if waiting else 0.0
        row = await self.mirror.db.read(lambda tx: tx.one("find_issuer", issuer_id=ISSUER_ID))
        pulled_at = None if row is None else row[2]
        return Books(
            url=self.server.url, is_up=self.server.is_up, taken=self._receiver.answers[204],
            pending=len(waiting), oldest=oldest, share=self._share, thrown=self._wire.thrown,
            pulled=None if pulled_at is None else _ago(pulled_at), repaired=self.repaired,
            time=self.time(),
        )  # fmt: skip


def _ago(at: int) -> float:
    """Return how long ago an instant of the wall clock was, seconds."""
    return max(0.0, time.time() - at / SECOND)
