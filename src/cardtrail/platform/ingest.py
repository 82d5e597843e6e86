"""Events in: decode, check what the sender may report, gather, record, answer after the commit.

Concurrent requests are gathered into one sorted, set-based transaction; each caller gets the outcomes of its own
events. Nothing is answered `accepted` before its commit.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cardtrail.core.event import CarrierEvent, Event, ProductionEvent
from cardtrail.db import Database, Lanes, Transaction
from cardtrail.errors import InputError, StoreUnavailable
from cardtrail.platform.cause import trace_of
from cardtrail.platform.held import Item, MayReach, Outcome, rejected
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.record import record, resume_fanout
from cardtrail.protocol.codec import decode_event, encode_event, event_of
from cardtrail.traces import Kind, Tracer

MAX_WORK = 1_000
"""Most events in one transaction; a request is never split."""
MAX_PENDING = 50_000
"""Most events that may wait to be recorded; the next request is told to come again."""
MAX_WAITING_CARDS = 200_000
"""Most cards, parcels and operations that may wait for their orders."""
LANES = 2
"""Transactions under way at once: while one commits, the next is folded."""
YIELD_EVERY = 50
"""Decoded events after which other requests get a turn."""
ALL = "*"
_REPORTING = ("site:", "carrier:")
"""Whose sources `*` stands for: orders of the API and operators report under their own."""


class Sender(msgspec.Struct, frozen=True):
    """What a producer may report; `*` is all. Contract section 12."""

    party_id: str
    sources: frozenset[str]
    kinds: frozenset[str]
    issuers: frozenset[str]

    def refusal(self, event: Event) -> Outcome | None:
        """Return why this sender may not report this event, or None."""
        if event.source not in self.sources and (ALL not in self.sources or not event.source.startswith(_REPORTING)):
            return rejected("FORBIDDEN", "source: not one of yours")
        kind = event.kind.value if isinstance(event, ProductionEvent | CarrierEvent) else "retracted"
        if not {ALL, kind} & self.kinds:
            return rejected("FORBIDDEN", "kind: not one of yours")
        if event.issuer_id is not None and not {ALL, event.issuer_id} & self.issuers:
            return rejected("FORBIDDEN", "issuerId: not one of yours")
        return None


class Result(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One element of the answer to an ingest request."""

    event_id: str | None
    source: str | None
    result: str
    error_code: str | None = None
    error: str | None = None


class _Key(msgspec.Struct, rename="camel"):
    event_id: Any = None
    source: Any = None


def item_of(sender: Sender, raw: bytes | msgspec.Raw, now: int, cause: str = "") -> Item | Outcome:
    """Decode one event of a call and check it against its sender; a bad one is its own rejection. `now` in µs."""
    try:
        event = event_of(decode_event(raw), now)
    except InputError as error:
        return rejected(error.code, str(error))
    return sender.refusal(event) or stored(sender.party_id, event, cause)


def result_of(source: str | None, event_id: str | None, outcome: Outcome) -> Result:
    """Return what is answered for one event."""
    return Result(event_id, source, outcome.result, outcome.code, outcome.text)


def _key_of(raw: bytes | msgspec.Raw) -> tuple[str | None, str | None]:
    """Return what can be read of the key of an event that was rejected, so that its sender finds it again."""
    try:
        key = msgspec.json.decode(bytes(raw), type=_Key)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None, None
    source, event_id = (text[:128] if isinstance(text, str) else None for text in (key.source, key.event_id))
    return source, event_id


def stored(sender: str, event: Event, cause: str = "") -> Item:
    """Return an event as it will be stored. The hash leaves out when we heard of it."""
    body = encode_event(event)
    content = body.replace(b'"recorded_at":%d,' % event.recorded_at, b"", 1)
    return Item(sender, event, body, hashlib.blake2b(content, digest_size=16).digest(), cause)


Group = list[tuple[Sequence[Item], "asyncio.Future[list[Outcome]]"]]
"""What callers handed in, each with where its outcomes go."""


class Ingest:
    """The one way in for events; every caller of a process shares it. `clock` gives domain time in µs."""

    def __init__(self, db: Database, clock: Callable[[], int], may_reach: MayReach, outbox: Outbox) -> None:
        self.clock = clock
        self._db = db
        self._may_reach = may_reach
        self._outbox = outbox
        self.on_commit: Callable[[], None] = lambda: None
        """Told after a commit that may have put something on its way."""
        self.on_read: Callable[[bytes | msgspec.Raw, Item | Outcome, int], None] = lambda _raw, _found, _now: None
        """Told of each event that was read: as it came, as what, and when, µs."""
        self.tracer: Tracer | None = None
        self._pending: Group = []
        self._size = 0
        self._lanes = Lanes(LANES, self._drain)
        self.room = True

    @property
    def in_hand(self) -> int:
        """How many events wait for the transaction that records them."""
        return self._size

    async def take(self, sender: Sender, raws: Sequence[bytes | msgspec.Raw], cause: str = "") -> list[Result]:
        """Decode and record the events of a call; return their results in order. Raises StoreUnavailable."""
        now = self.clock()
        found: list[Item | Outcome] = []
        for start in range(0, len(raws), YIELD_EVERY):
            for raw in raws[start : start + YIELD_EVERY]:
                found.append(item_of(sender, raw, now, cause))
                self.on_read(raw, found[-1], now)
            if start + YIELD_EVERY < len(raws):
                await asyncio.sleep(0)
        outcomes = iter(await self.submit([item for item in found if isinstance(item, Item)]))
        return [
            result_of(*item.event.key, next(outcomes)) if isinstance(item, Item) else result_of(*_key_of(raw), item)
            for raw, item in zip(raws, found, strict=True)
        ]

    async def submit(self, items: Sequence[Item]) -> list[Outcome]:
        """Record events, together with those of whoever else is waiting. Raises StoreUnavailable."""
        if not items:
            return []
        if self._size + len(items) > MAX_PENDING:
            raise StoreUnavailable(f"more than {MAX_PENDING} events are waiting to be recorded")
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._pending.append((items, future))
        self._size += len(items)
        self._lanes.wake()
        return await asyncio.shield(future)

    async def _drain(self) -> None:
        while self._pending:
            group = self._next_group()
            try:
                outcomes = await self._record([item for items, _ in group for item in items])
            except Exception as error:  # noqa: BLE001 -- each caller gets it as its own answer
                await self._fail(group, error)
                continue
            start = 0
            for items, future in group:
                future.set_result(outcomes[start : start + len(items)])
                start += len(items)

    def _next_group(self) -> "Group":
        size, count = 0, 0
        for items, _ in self._pending:
            if count and size + len(items) > MAX_WORK:
                break
            size, count = size + len(items), count + 1
        group, self._pending = self._pending[:count], self._pending[count:]
        self._size -= size
        return group

    async def _fail(self, group: "Group", error: Exception) -> None:
        """Answer a failed group; what is no fault of the store is tried alone, so that it fails only its sender."""
        alone = len(group) > 1 and not isinstance(error, StoreUnavailable)
        for items, future in group:
            outcomes = await self._tried(items) if alone else error
            if isinstance(outcomes, Exception):
                future.set_exception(outcomes)
                future.exception()  # read here once: a caller that hung up leaves no warning behind
            else:
                future.set_result(outcomes)

    async def _tried(self, items: Sequence[Item]) -> list[Outcome] | Exception:
        try:
            return await self._record(items)
        except Exception as error:  # noqa: BLE001 -- the caller's answer
            return error

    async def _record(self, items: Sequence[Item]) -> list[Outcome]:
        if self.tracer is None:
            return await self._committed(items)
        span = self.tracer.follow(Kind.INTERNAL, (trace_of(item.cause) for item in items))
        is_error = True
        try:
            outcomes = await self._committed(items)
            is_error = False
            return outcomes
        finally:
            if span is not None:
                span.end("ingest", {"cardtrail.events": len(items)}, is_error=is_error)

    async def _committed(self, items: Sequence[Item]) -> list[Outcome]:
        outcomes = await self._db.transact(lambda tx: self.record(tx, items))
        if self._outbox.is_used:  # where nobody has endpoints, ingest pays for no look
            self.on_commit()
        return outcomes

    def record(self, tx: Transaction, items: Sequence[Item]) -> list[Outcome]:
        """Record events inside a transaction of the caller's; return their outcomes in order."""
        return record(tx, items, self._may_reach, self._outbox, room=self.room)

    async def run_once(self) -> int:
        """Look whether there is room to wait; bring one large parcel's event further; return how many it reached."""
        row = await self._db.read(lambda tx: tx.one("count_waiting", most=MAX_WAITING_CARDS))
        self.room = row is None or row[0] < MAX_WAITING_CARDS
        return await self._db.transact(lambda tx: resume_fanout(tx, self._may_reach, self._outbox))

    async def drain(self) -> None:
        """Wait until everything that was submitted is answered."""
        await self._lanes.ended()
