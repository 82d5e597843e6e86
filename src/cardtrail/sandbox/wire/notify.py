"""The wire for notifications, in front of a receiver: the pretend bank's in this process, or one that is elsewhere."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial

import structlog

from cardtrail.errors import CardtrailError
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.sandbox.wire import content, sign
from cardtrail.sandbox.wire.call import NO_CONTENT, Answer, Call, ask, give, hang_up, read_call
from cardtrail.sandbox.wire.faults import Fault, Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.later import Later
from cardtrail.sandbox.wire.record import Recorder
from cardtrail.sandbox.wire.refuse import refusal_of

MAX_HELD = 1_000
"""Most cards whose notifications wait for the next one."""
_HOP = Hop.NOTIFICATIONS
_CARDS = re.compile(r".*/notifications/d1/v2/issuers/[^/]+/cards/?", re.IGNORECASE | re.ASCII | re.DOTALL)
_KINDS = frozenset(Kind)
_LATER = frozenset({Kind.DELAY, Kind.REORDER, Kind.DUPLICATE})
_SIGNED_ANEW = content.NEW | sign.TIMED
_log = structlog.get_logger()

Wait = Callable[[], Awaitable[object]]
Rotate = Callable[[float], Awaitable[None]]
"""Gives the endpoint a new secret; the old one signs beside it for so many seconds."""


class NotificationWire:
    """An application in front of the receiver's.

    `secrets` gives what notifications are signed with, `rotate` makes a new one. Close it in the end.
    """

    def __init__(
        self, receiver: Asgi, faults: Faults, recorder: Recorder | None = None, *, secrets: sign.Secrets, rotate: Rotate
    ) -> None:
        self.thrown = 0
        """Notifications that were thrown away."""
        self.later = Later()
        self.receiver = receiver
        self.faults = faults
        self.recorder = recorder
        self.secrets = secrets
        self.rotate = rotate
        self._held: dict[str, asyncio.Event] = {}

    async def close(self) -> None:
        """End what waits: it is lost."""
        await self.later.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call."""
        if scope["type"] != "http" or (self.recorder is None and not self.faults.is_any):
            await self.receiver(scope, receive, send)
            return
        call = await read_call(scope, receive)
        if call is not None:
            await _Way(self, call, send).go()

    # ── reordering ──

    def can_hold(self, cards: Collection[str]) -> bool:
        """Tell whether a notification of these cards can wait for the next one; one that passes another does not."""
        return bool(cards) and self._held.keys().isdisjoint(cards) and len(self._held) < MAX_HELD

    def hold(self, cards: Collection[str], seconds: float) -> Wait:
        """Hold these cards; return the wait until one of them has passed, or so long."""
        passed = asyncio.Event()
        self._held.update(dict.fromkeys(cards, passed))

        async def wait() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # `wait_for` of Python 3.11 can lose a cancellation
                    await passed.wait()
            for card in cards:
                if self._held.get(card) is passed:
                    del self._held[card]

        return wait

    def release(self, cards: Collection[str]) -> None:
        """Let those go that have waited for one of these cards."""
        for card in cards:
            if card in self._held:
                self._held[card].set()


class _Way:
    """The way of one call through the wire."""

    def __init__(self, wire: NotificationWire, call: Call, send: Send) -> None:
        self._wire = wire
        self._call = call
        self._send = send
        self._document: content.Document | None = None
        self._cards: set[str] = set()
        self._struck: dict[Kind, Fault] = {}

    async def go(self) -> None:
        """Carry the call there and its answer back."""
        if self._call.whole and _CARDS.fullmatch(self._call.scope["path"]):
            self._document = content.document_of(self._call.body)
            self._cards = content.cards_of(self._document)
            self._struck = self._wire.faults.strike(_HOP, self._cards, _KINDS, self._applies)
        await self._rotate()
        instead = self._instead()
        if instead is not None:
            self._note(instead, time.perf_counter(), self._struck, arrived=False)
            await give(self._send, instead)
            return
        self._call = await self._changed()
        wait = self._wait()
        if wait is not None:
            await self._postpone(wait)
        elif Kind.TRUNCATED in self._struck:
            await self._break()
        else:
            await self._reply(await self._hand_over(self._struck))
            self._wire.release(self._cards)

    def _applies(self, fault: Fault) -> bool:
        if fault.kind in content.NEW:
            return content.can_say(fault, self._document)
        if fault.kind in sign.TIMED or fault.kind is Kind.CORRUPT_SIGNATURE:
            return sign.is_signed(self._call)
        if fault.kind is Kind.REORDER and not self._wire.can_hold(self._cards):
            return False
        return fault.kind not in _LATER or not self._wire.later.is_full

    async def _rotate(self) -> None:
        """Give the endpoint a new secret, if that is to be; where its store is away just then, it is not."""
        if Kind.KEY_ROTATION in self._struck:
            try:
                await self._wire.rotate(self._struck[Kind.KEY_ROTATION].seconds)
            except CardtrailError as error:
                _log.warning("fault_not_done", error=str(error))

    # ── there ──

    def _instead(self) -> Answer | None:
        """Return the answer to a call that does not reach the receiver; None for one that does."""
        if Kind.DROP in self._struck:
            self._wire.thrown += content.count_of(self._document)
            return NO_CONTENT
        return refusal_of(self._struck)

    async def _changed(self) -> Call:
        """Return the call as it arrives."""
        call, struck = self._call, self._struck
        if _SIGNED_ANEW & struck.keys():
            says_new = self._document is not None and content.NEW & struck.keys()
            body = content.say(struck, self._document or {}) if says_new else call.body
            call = await sign.signed(call, body, struck, self._wire.secrets)
        return sign.corrupted(call) if Kind.CORRUPT_SIGNATURE in struck else call

    def _wait(self) -> Wait | None:
        """Return what a call waits for that is handed over later; None for one that is handed over now."""
        if Kind.DELAY in self._struck:
            return partial(asyncio.sleep, self._struck[Kind.DELAY].seconds)
        if Kind.REORDER in self._struck:
            return self._wire.hold(self._cards, self._struck[Kind.REORDER].seconds)
        return None

    async def _postpone(self, wait: Wait) -> None:
        """Answer as if the call had arrived, and hand it over when the wait is over."""
        self._note(NO_CONTENT, time.perf_counter(), self._struck, arrived=False)
        self._wire.later.begin(self._late(wait))
        await give(self._send, NO_CONTENT)

    async def _late(self, wait: Wait) -> None:
        await wait()
        await self._hand_over(self._struck, alone=True)
        if Kind.DUPLICATE in self._struck:
            await self._again()

    async def _again(self) -> None:
        await self._hand_over([Kind.DUPLICATE], alone=True)

    async def _hand_over(self, struck: Collection[Kind], *, alone: bool = False) -> Answer | None:
        began = time.perf_counter()
        answer = await ask(self._wire.receiver, self._call, alone=alone)
        self._note(answer, began, struck, arrived=True)
        return answer

    async def _break(self) -> None:
        """Hand half of a call over, then end the connections on both sides."""
        began = time.perf_counter()
        answer = await ask(self._wire.receiver, self._call, half=True)
        self._note(answer, began, self._struck, arrived=False)
        if Kind.DUPLICATE in self._struck:
            self._wire.later.begin(self._again())
        await hang_up(self._call.scope, self._call.receive)

    # ── back ──

    async def _reply(self, answer: Answer | None) -> None:
        """Answer the platform; a receiver that gave no answer leaves it without one, too."""
        if Kind.DUPLICATE in self._struck:
            self._wire.later.begin(self._again())
        if Kind.SLOW in self._struck:
            await asyncio.sleep(self._struck[Kind.SLOW].seconds)
        if answer is None or Kind.RESET in self._struck:
            await hang_up(self._call.scope, self._call.receive)
        else:
            await give(self._send, answer)

    def _note(self, answer: Answer | None, began: float, struck: Collection[Kind], *, arrived: bool) -> None:
        if self._wire.recorder is not None:
            self._wire.recorder.note(_HOP, self._call, answer, began, arrived=arrived, faults=struck)
