"""The wire in front of the platform: what issuers ask and order, tokens, and the calls with events.

A call under none of its paths (health, documents, operators) is left alone.
"""

import asyncio
import re
import time
from collections.abc import Collection

import structlog

from cardtrail.errors import CardtrailError
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.platform.app import Platform
from cardtrail.protocol.codec import etag_of
from cardtrail.sandbox.wire import content, refuse
from cardtrail.sandbox.wire.call import Answer, Call, ask, give, give_half, gone, hang_up, read_call
from cardtrail.sandbox.wire.faults import Applies, Fault, Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.levers import Stalls, rotate_token_key
from cardtrail.sandbox.wire.record import Recorder

_EVENTS = "/ingest/"
_ANSWERS = ("/banking/", "/authz/", "/.well-known/")
_CARD = re.compile(r".*/physicalcards/([A-Za-z0-9_-]{1,48})/[^/]*", re.IGNORECASE | re.ASCII)
_BEFORE = {
    Hop.ANSWERS: frozenset({
        Kind.KEY_ROTATION, Kind.DATABASE_STALL, Kind.TOKEN_EXPIRY, Kind.DROP, Kind.SERVER_ERROR, Kind.TOO_MANY,
        Kind.CLOCK_SKEW, Kind.DUPLICATE,
    }),
    Hop.EVENTS: frozenset({
        Kind.DATABASE_STALL, Kind.TOKEN_EXPIRY, Kind.SERVER_ERROR, Kind.TOO_MANY, Kind.TRUNCATED,
    }),
}  # fmt: skip
"""What strikes a call before the platform gets it. The other faults of events strike each event: see `events`."""
_BEHIND = {
    Hop.ANSWERS: content.NEW | {Kind.SLOW, Kind.TRUNCATED, Kind.RESET},
    Hop.EVENTS: frozenset({Kind.SLOW, Kind.RESET}),
}
"""What strikes the answer."""
_OK = range(200, 300)
_log = structlog.get_logger()


class AnswerWire:
    """An application in front of the platform's. Close it in the end."""

    def __init__(self, app: Asgi, platform: Platform, faults: Faults, recorder: Recorder | None = None) -> None:
        self.app = app
        self.platform = platform
        self.faults = faults
        self.recorder = recorder
        self.stalls = Stalls(platform.settings.database)

    async def close(self) -> None:
        """Let go of the store."""
        await self.stalls.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call."""
        if scope["type"] != "http" or (self.recorder is None and not self.faults.is_any):
            await self.app(scope, receive, send)
            return
        hop = hop_of(scope["path"])
        if hop is None:
            await self.app(scope, receive, send)
            return
        call = await read_call(scope, receive)
        if call is not None:
            await _Way(self, hop, call, send).go()


class _Way:
    """The way of one call through the wire. What strikes it is found out twice: before the platform, and behind."""

    def __init__(self, wire: AnswerWire, hop: Hop, call: Call, send: Send) -> None:
        self._wire = wire
        self._hop = hop
        self._call = call
        self._send = send
        self._began = time.perf_counter()
        self._cards = cards_in(call) if wire.faults.names_cards(hop) else set()
        self._struck: dict[Kind, Fault] = {}

    async def go(self) -> None:
        """Carry the call there and its answer back."""
        if self._call.whole:
            self._strike(_BEFORE[self._hop], self._applies)
        await self._act()
        instead = self._instead()
        if instead is not None or Kind.DROP in self._struck:
            await self._refuse(instead)
        elif Kind.TRUNCATED in self._struck:
            await self._break()
        else:
            await self._reply(await self._asked())

    def _strike(self, among: Collection[Kind], applies: Applies) -> None:
        self._struck |= self._wire.faults.strike(self._hop, self._cards, among, applies)

    def _applies(self, fault: Fault) -> bool:
        token = "" if refuse.is_token_call(self._call) else refuse.token_of(self._call)  # which needs none
        return fault.kind is not Kind.TOKEN_EXPIRY or (bool(token) and not fault.spares(token))

    async def _act(self) -> None:
        """Do to the platform what is to be done to it; where its store is away just then, nothing is."""
        try:
            if Kind.KEY_ROTATION in self._struck:
                await rotate_token_key(self._wire.platform)
            if Kind.DATABASE_STALL in self._struck:
                await self._wire.stalls.hold(self._struck[Kind.DATABASE_STALL].seconds)
        except CardtrailError as error:
            _log.warning("fault_not_done", error=str(error))

    # ── there ──

    def _instead(self) -> Answer | None:
        """Return the answer to a call that does not reach the platform; None for one that does, or gets none."""
        if Kind.TOKEN_EXPIRY in self._struck:
            return refuse.expired()
        if Kind.CLOCK_SKEW in self._struck:
            skew = self._struck[Kind.CLOCK_SKEW].seconds
            refused = refuse.refused_at(self._call, self._wire.platform.registry, skew)
            if refused is not None:
                return refused
        return refuse.refusal_of(self._struck)

    async def _refuse(self, instead: Answer | None) -> None:
        self._note(instead, arrived=False)
        if instead is not None:
            await give(self._send, instead)
        elif not await gone(self._call.receive, self._struck[Kind.DROP].seconds):
            await hang_up(self._call.scope, self._call.receive)

    async def _break(self) -> None:
        """Let the platform have half a call, then end the connection."""
        self._note(await ask(self._wire.app, self._call, half=True), arrived=False)
        await hang_up(self._call.scope, self._call.receive)

    async def _asked(self) -> Answer | None:
        """Return the platform's answer; a token in it is one that was fetched since."""
        faults = self._wire.faults
        call = self._call
        if any(faults.find(kind, self._hop) for kind in content.NEW):
            call = call.without(b"if-none-match")  # a 304 could say nothing new
        answer = await ask(self._wire.app, call)
        if answer is not None and refuse.is_token_call(call):
            for hop in (Hop.ANSWERS, Hop.EVENTS):
                fault = faults.find(Kind.TOKEN_EXPIRY, hop)
                if fault is not None:
                    fault.spare(refuse.given_token(answer))
        return answer

    # ── back ──

    async def _reply(self, answer: Answer | None) -> None:
        if answer is None:  # the caller has hung up
            self._note(None, arrived=True)
            return
        answer = self._changed(answer) if self._call.whole else answer
        if Kind.SLOW in self._struck:
            await asyncio.sleep(self._struck[Kind.SLOW].seconds)
        self._note(answer, arrived=True)
        if Kind.DUPLICATE in self._struck:
            await self._again()
        await self._return(answer)

    def _changed(self, answer: Answer) -> Answer:
        """Return the answer as it arrives; what else strikes it is then known, too."""
        faults = self._wire.faults
        needed = faults.names_cards(self._hop) or any(faults.find(kind, self._hop) for kind in content.NEW)
        document = content.document_of(answer.body) if needed and answer.status in _OK else None
        self._cards |= content.cards_of(document)
        self._strike(_BEHIND[self._hop], lambda fault: _applies_to(fault, document, self._call, answer))
        if document is not None and content.NEW & self._struck.keys():
            body = content.say(self._struck, document)
            tagged = [(b"etag", etag_of(body).encode())] if answer.header(b"etag") else []
            answer = answer.changed(body, tagged)
        if Kind.CLOCK_SKEW in self._struck:
            answer = refuse.dated(answer, self._struck[Kind.CLOCK_SKEW].seconds)
        return answer

    async def _again(self) -> None:
        """Let the platform have the call once more; nobody sees what it answers."""
        self._began = time.perf_counter()
        self._note(await ask(self._wire.app, self._call, alone=True), arrived=True)

    async def _return(self, answer: Answer) -> None:
        if Kind.TRUNCATED in self._struck:
            await give_half(self._call.scope, self._call.receive, self._send, answer)
        elif Kind.RESET in self._struck:
            await hang_up(self._call.scope, self._call.receive)
        else:
            await give(self._send, answer)

    def _note(self, answer: Answer | None, *, arrived: bool) -> None:
        if self._wire.recorder is not None:
            self._wire.recorder.note(self._hop, self._call, answer, self._began, arrived=arrived, faults=self._struck)


def _applies_to(fault: Fault, document: content.Document | None, call: Call, answer: Answer) -> bool:
    if fault.kind in content.NEW:
        return content.can_say(fault, document)
    return fault.kind is not Kind.TRUNCATED or (bool(answer.body) and call.scope["method"] != "HEAD")


def hop_of(path: str) -> Hop | None:
    """Return the hop that a path of the platform is on; None for one that is on none."""
    lower = path.lower()
    if lower.startswith(_EVENTS):
        return Hop.EVENTS
    return Hop.ANSWERS if lower.startswith(_ANSWERS) else None


def cards_in(call: Call) -> set[str]:
    """Return the cards that a call names, in its path or its body."""
    found = _CARD.fullmatch(call.scope["path"])
    return ({found[1]} if found is not None else set()) | content.cards_of(content.document_of(call.body))
