"""The wire for notifications, in front of a receiver: the pretend bank's in this process, or one that is elsewhere."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection

from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.sandbox.wire import content, sign
from cardtrail.sandbox.wire.call import NO_CONTENT, Answer, Call, ask, give, hang_up, read_call
from cardtrail.sandbox.wire.faults import Fault, Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.later import Later
from cardtrail.sandbox.wire.record import Recorder
from cardtrail.sandbox.wire.refuse import refusal_of

MAX_HELD = 1_000
"""Most notifications that wait for the next one of their card."""
_HOP = Hop.NOTIFICATIONS
_CARDS = re.compile(r".*/notifications/d1/v2/issuers/[^/]+/cards/?", re.IGNORECASE | re.ASCII | re.DOTALL)
_CHANGED = content.NEW | sign.TIMED

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
        self._receiver = receiver
        self._faults = faults
        self._recorder = recorder
        self._secrets = secrets
        self._rotate = rotate
        self._held: dict[str, asyncio.Event] = {}

    async def close(self) -> None:
        """End what waits: it is lost."""
        await self.later.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call."""
        if scope["type"] != "http" or (self._recorder is None and not self._faults.is_any):
            await self._receiver(scope, receive, send)
            return
        call = await read_call(scope, receive)
        if call is None:
            return
        if not call.whole or not _CARDS.fullmatch(scope["path"]):
            await self._reply(call, send, await self._hand_over(call, ()), {})
            return
        document = content.document_of(call.body)
        cards = content.cards_of(document)
        struck = self._faults.strike(_HOP, cards, _KINDS, lambda fault: self._applies(fault, call, document, cards))
        await self._carry(call, send, struck, document, cards)

    def _applies(self, fault: Fault, call: Call, document: content.Document | None, cards: Collection[str]) -> bool:
        if fault.kind in content.NEW:
            return content.can_say(fault, document)
        if fault.kind in sign.TIMED or fault.kind is Kind.CORRUPT_SIGNATURE:
            return sign.is_signed(call)
        if fault.kind is Kind.REORDER:
            return bool(cards) and self._held.keys().isdisjoint(cards) and len(self._held) < MAX_HELD
        return fault.kind not in _LATER or not self.later.is_full

    # ── a notification's way ──

    async def _carry(
        self, call: Call, send: Send, struck: dict[Kind, Fault], document: content.Document | None,
        cards: Collection[str],
    ) -> None:  # fmt: skip
        if Kind.KEY_ROTATION in struck:
            await self._rotate(struck[Kind.KEY_ROTATION].seconds)
        instead = self._instead(struck, document)
        if instead is not None:
            self._note(call, instead, time.perf_counter(), struck, arrived=False)
            await give(send, instead)
            return
        call = await self._changed(call, struck, document)
        waiting = self._waiting(struck, cards)
        if waiting is not None:
            self._note(call, NO_CONTENT, time.perf_counter(), struck, arrived=False)
            self.later.begin(self._late(waiting, call, struck))
            await give(send, NO_CONTENT)
            return
        if Kind.TRUNCATED in struck:
            await self._break(call, struck)
            return
        await self._reply(call, send, await self._hand_over(call, struck), struck)
        self._release(cards)

    def _instead(self, struck: dict[Kind, Fault], document: content.Document | None) -> Answer | None:
        """Return the answer to a call that does not reach the receiver; None for one that does."""
        if Kind.DROP in struck:
            self.thrown += content.count_of(document)
            return NO_CONTENT
        return refusal_of(struck)

    async def _changed(self, call: Call, struck: dict[Kind, Fault], document: content.Document | None) -> Call:
        """Return the call as it arrives."""
        if _CHANGED & struck.keys():
            body = call.body
            if document is not None and content.NEW & struck.keys():
                body = content.say(struck, document)
            call = await sign.signed(call, body, struck, self._secrets)
        return sign.corrupted(call) if Kind.CORRUPT_SIGNATURE in struck else call

    def _waiting(self, struck: dict[Kind, Fault], cards: Collection[str]) -> "Awaitable[object] | None":
        """Return what a call waits for that is handed over later; None for one that is handed over now."""
        if Kind.REORDER in struck:
            return self._next(cards, struck[Kind.REORDER].seconds)
        return asyncio.sleep(struck[Kind.DELAY].seconds) if Kind.DELAY in struck else None

    def _next(self, cards: Collection[str], seconds: float) -> Awaitable[object]:
        """Hold these cards: return the wait until one of them has passed, or so long."""
        passed = asyncio.Event()
        self._held.update(dict.fromkeys(cards, passed))

        async def wait() -> None:
            try:
                async with asyncio.timeout(seconds):
                    await passed.wait()
            except TimeoutError:
                pass
            finally:
                for card in [card for card, event in self._held.items() if event is passed]:
                    del self._held[card]

        return wait()

    def _release(self, cards: Collection[str]) -> None:
        """Let those go that have waited for one of these cards."""
        for card in cards:
            held = self._held.get(card)
            if held is not None:
                held.set()

    async def _late(self, waiting: Awaitable[object], call: Call, struck: Collection[Kind]) -> None:
        await waiting
        await self._hand_over(call, struck, alone=True)
        if Kind.DUPLICATE in struck:
            await self._hand_over(call, [Kind.DUPLICATE], alone=True)

    async def _hand_over(self, call: Call, struck: Collection[Kind], *, alone: bool = False) -> Answer | None:
        began = time.perf_counter()
        answer = await ask(self._receiver, call, alone=alone)
        self._note(call, answer, began, struck, arrived=True)
        return answer

    async def _reply(self, call: Call, send: Send, answer: Answer | None, struck: dict[Kind, Fault]) -> None:
        """Answer the platform; a receiver that gave no answer leaves it without one, too."""
        if Kind.DUPLICATE in struck:
            self.later.begin(self._again(call))
        if Kind.SLOW in struck:
            await asyncio.sleep(struck[Kind.SLOW].seconds)
        if Kind.RESET in struck or answer is None:
            await hang_up(call.scope, call.receive)
        else:
            await give(send, answer)

    async def _again(self, call: Call) -> None:
        await self._hand_over(call, [Kind.DUPLICATE], alone=True)

    async def _break(self, call: Call, struck: Collection[Kind]) -> None:
        """Hand half of a call over, then end the connections on both sides."""
        began = time.perf_counter()
        answer = await ask(self._receiver, call, half=True)
        self._note(call, answer, began, struck, arrived=False)
        await hang_up(call.scope, call.receive)

    def _note(
        self, call: Call, answer: Answer | None, began: float, struck: Collection[Kind], *, arrived: bool
    ) -> None:
        if self._recorder is not None:
            self._recorder.note(_HOP, call, answer, began, arrived=arrived, faults=struck)


_LATER = frozenset({Kind.DELAY, Kind.REORDER, Kind.DUPLICATE})
_KINDS = frozenset(Kind)
