"""A lane: all that goes to one endpoint, from the process that holds its lease.

`run_once` does the chores, then sends what is due: workers, as many as the endpoint shows it can take, each take a
batch, sign it, send it, judge the answer and hand the result to be settled.
"""

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum

import msgspec
import structlog

from cardtrail.core.bucket import Bucket
from cardtrail.core.schedule import next_due
from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import StoreUnavailable
from cardtrail.platform.answer import Answer, failed
from cardtrail.platform.call import NOT_SENT, Caller, Message, Verdict, verdict_of
from cardtrail.platform.cause import correlation_of, shared, trace_of
from cardtrail.platform.chore import do_chore
from cardtrail.platform.circuit import REFUSALS, Circuit
from cardtrail.platform.claims import Claims
from cardtrail.platform.egress import Egress
from cardtrail.platform.endpoint import Endpoint, EndpointState, Mode, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.lease import Lease
from cardtrail.platform.outbox import NotificationState, new_ids
from cardtrail.platform.settle import Settlement, Settler
from cardtrail.protocol.codec import timestamp
from cardtrail.protocol.envelope import halves
from cardtrail.protocol.failure import Failure
from cardtrail.traces import Kind, Tracer

SLICE = 1.0
"""Seconds after which a lane stops taking batches, so that a change of its endpoint is noticed."""
CLAIM_AHEAD = 8
"""How many calls' worth is claimed at once for each call that may be under way: a claim costs as much as many rows."""
MINUTE = 60_000_000
"""Microseconds in a minute."""
ACTOR = "platform"
SAMPLE = 1_000
"""One call of so many is logged although it was well; a line costs as much as several messages."""
SHOWN_IDS = 10
"""So many of a call's notifications are named in its line."""

_log = structlog.get_logger()


Fate = tuple[str, int | None, int, int]
"""State, settled at (µs or None), due at (µs), attempts that count."""


class Probe(Enum):
    """A message that tries an endpoint whose circuit is open; `LAST` where each that waits was refused already."""

    ONE = 1
    LAST = 2


class Pace(msgspec.Struct, frozen=True):
    """What is the same for all lanes of a process: waits after failures (µs), and the longest a call takes (s)."""

    steps: tuple[int, ...]
    timeout: float
    probe_after: Callable[[int], int]
    chance: Callable[[], float]


class Tools(msgspec.Struct, frozen=True):
    """What a lane works with. `wall` gives µs, `monotonic` seconds."""

    db: Database
    egress: Egress
    endpoints: Endpoints
    settler: Settler
    pace: Pace
    wall: Callable[[], int]
    monotonic: Callable[[], float]
    note: Callable[[Answer, int], None]
    tracer: Tracer | None = None


class Lane:
    """The lane of one lease; `load` it before use, and again when its endpoint's version has changed."""

    def __init__(self, lease: Lease, tools: Tools) -> None:
        self.lease = lease
        self._tools = tools
        self._claims = Claims(tools.db, lease.key, tools.wall, tools.monotonic)
        self._refused: dict[str, Message] = {}
        self._taken_back: list[Message] = []
        self._pacing = asyncio.Lock()
        self._workers = 0
        self._done = 0
        self._sent_at = 0
        self._calls = 0
        self._stop_at = 0.0
        self.endpoint: Endpoint
        self._secrets: Secrets
        self._caller: Caller
        self._circuit: Circuit
        self._bucket: Bucket
        self._is_loaded = False
        self._new_attempt_id: Callable[[], str]
        self._is_stopped = False
        self._has_recovered = False
        self._chore = False
        self._heartbeat_at: int | None = None

    # ── loading ──

    async def load(self) -> None:
        """Read the endpoint and how it goes there."""
        tools = self._tools
        row = await tools.db.read(lambda tx: tx.one("load_lane", **self._where))
        if row is None:
            raise LookupError(f"there is no lane {self.lease.key}")
        chore, failures, failing_since, probe_at, heartbeat_at, *stored = row
        self.endpoint, self._secrets = tools.endpoints.opened((*self.lease.key, *stored))
        config = self.endpoint.config
        self._caller = Caller(tools.egress, self.endpoint, self._secrets, tools.wall(), tools.monotonic)
        # What is recovering is not met with all that waits, although it was healed and is loaded for that.
        window = self._circuit.window if self._is_loaded else 1 if failures or chore else config.concurrency
        self._circuit = Circuit(
            failures, failing_since, probe_at, config.concurrency, tools.pace.probe_after, window=window
        )
        self._chore, self._heartbeat_at = bool(chore), heartbeat_at
        burst = max(1.0, config.rate / 20)
        if self._is_loaded:
            self._bucket.set_rate(config.rate, burst)
        else:
            self._bucket = Bucket(config.rate, burst)
            if self.lease.fence > 1:  # the holder before, who ended a moment ago, may just have spent the whole burst
                self._bucket.due = tools.monotonic() + self._bucket.room + self._bucket.interval
        self._is_loaded = True

    @property
    def _where(self) -> dict[str, str]:
        return {"issuer_id": self.lease.key[0], "endpoint_id": self.lease.key[1]}

    # ── one turn ──

    def stop(self) -> None:
        """Take no further batch, in this turn or another one."""
        self._is_stopped, self._stop_at = True, 0.0

    async def run_once(self) -> int:
        """Do what there is to do now, for a slice of time; return how many rows were moved or settled."""
        self._done = 0
        self._claims.begin()
        self._new_attempt_id = new_ids(self._tools.wall())
        self._stop_at = 0.0 if self._is_stopped else self._tools.monotonic() + SLICE
        try:
            await self._do_chore()
            if self.endpoint.state is EndpointState.ENABLED:
                await self._send_what_is_due()
            self._claims.let_go()
            await self._save()
        except StoreUnavailable as error:
            self._cut_short(error)
        finally:
            self._claims.let_go()
        return self._done

    async def _send_what_is_due(self) -> None:
        if self._circuit.is_open:
            await self._probe()
        if not self._circuit.is_open:
            await self._send_due()
        await self._beat()

    def _cut_short(self, error: StoreUnavailable) -> None:
        """End the turn, but not the calls that are under way: what came of them is settled when the store is back."""
        self._stop_at = 0.0
        _log.warning("turn_cut_short", error=str(error), **self._where)

    async def _do_chore(self) -> None:
        """Move rows so that they fit the endpoint's state, in small steps; what is left is for the next turn."""
        tools = self._tools
        while self._chore and tools.monotonic() < self._stop_at:
            moved = await tools.db.transact(lambda tx: do_chore(tx, *self.lease.key, tools.wall()))
            self._done += moved
            self._chore = moved > 0

    async def _send_due(self) -> None:
        """Let workers send until nothing is due or the slice is over."""
        if not await self._refill():
            return
        async with asyncio.TaskGroup() as group:
            self._hire(group)

    def _hire(self, group: asyncio.TaskGroup) -> None:
        """Have as many workers as the endpoint takes and the work needs."""
        size = self.endpoint.config.batch_size
        wanted = min(self._circuit.window, -(-len(self._claims.ready) // size) + self._workers)
        while self._workers < wanted:
            self._workers += 1
            group.create_task(self._work(group))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        try:
            while self._workers <= self._circuit.window and self._may_send() and await self._refill():
                batch = self._claims.next_batch(self.endpoint.config.batch_size)
                if self._bucket.take(self._tools.monotonic()) and not await self._wait_for_rate(self._may_send):
                    self._claims.put_back(batch)
                    return
                await self._send(batch)
                self._hire(group)
        except StoreUnavailable as error:
            self._cut_short(error)
        finally:
            self._workers -= 1

    async def _refill(self) -> bool:
        """Make sure that something is ready; return whether there is."""
        if self._claims.ready:
            return True
        return await self._claims.refill(CLAIM_AHEAD * self._circuit.window * self.endpoint.config.batch_size)

    def _may_send(self) -> bool:
        return self._tools.monotonic() < self._stop_at and self._may_finish()

    def _may_finish(self) -> bool:
        is_over = self._is_stopped or self.endpoint.state is EndpointState.DISABLED
        return not is_over and self._is_held() and not self._circuit.is_open

    async def _wait_for_rate(self, may_go_on: Callable[[], bool]) -> bool:
        """Wait for a turn; return whether it came while `may_go_on`."""
        tools = self._tools
        if not self._bucket.take(tools.monotonic()):
            return True
        async with self._pacing:
            while wait := self._bucket.take(tools.monotonic()):
                if not may_go_on():
                    return False
                await asyncio.sleep(min(wait, 0.1))
        return True

    # ── sending ──

    async def _send(self, batch: Sequence[Message], probe: Probe | None = None) -> None:
        """Send a batch and settle it; one that is refused is split, so that only what fails alone is refused."""
        tools = self._tools
        answer = await self._call(batch)
        if answer is NOT_SENT:  # the lease is over
            self._claims.forget(batch)
            return
        self._sent_at = tools.wall()
        tools.note(answer, len(batch))
        verdict = verdict_of(answer)
        if verdict is Verdict.DELIVERED:
            await self._delivered(batch, answer)
        elif verdict is Verdict.REFUSED and len(batch) > 1:
            await self._split(batch, answer)
        elif verdict is Verdict.REFUSED:
            await self._refuse(batch[0], answer, probe)
        elif verdict is Verdict.GONE:
            await self._settle(batch, answer, _uncounted)
            await self._disable("the endpoint answered 410 Gone")
        else:
            await self._failed(batch, answer, probe)

    async def _call(self, batch: Sequence[Message]) -> Answer:
        """Send a batch; in a span where a call is traced that made one of its changes."""
        cursor, seconds, tracer = self._claims.cursor, self._tools.wall() // 1_000_000, self._tools.tracer
        span = tracer.follow(Kind.CLIENT, (trace_of(each.cause) for each in batch)) if tracer is not None else None
        if span is None:
            return await self._caller.send(batch, cursor, seconds, self._is_held)
        answer = failed(Failure.CLOSED, "", 0.0)
        try:
            answer = await self._caller.send(batch, cursor, seconds, self._is_held, span.traceparent)
        finally:
            is_error = verdict_of(answer) is not Verdict.DELIVERED
            span.end("POST notifications", self._told(batch, answer), is_error=is_error)
        return answer

    def _told(self, batch: Sequence[Message], answer: Answer) -> dict[str, str | int]:
        """Return what the span of a call tells: where it went, what it carried, what came of it."""
        outcome: dict[str, str | int] = {"error.type": answer.failure} if answer.failure is not None else {}
        if answer.status is not None:
            outcome["http.response.status_code"] = answer.status
        where = {f"cardtrail.{name}": value for name, value in self._where.items()}
        return {"http.request.method": "POST", "cardtrail.carried": len(batch), **where, **outcome}

    async def _delivered(self, batch: Sequence[Message], answer: Answer) -> None:
        closed = self._circuit.succeed()
        self._refused.clear()
        await self._settle(batch, answer, None)
        if closed:
            self._has_recovered = True
            _log.info("circuit_closed", **self._where)

    async def _split(self, batch: Sequence[Message], answer: Answer) -> None:
        """Send a refused batch in halves: the first one whatever the time, so that each turn gets on, the second in it.

        What is left begins anew in the next turn, which knows of changes of the endpoint.
        """
        await self._settle(batch, answer, _uncounted, keep_claims=True)
        first, second = halves(batch)
        for half, may_send in ((first, self._may_finish), (second, self._may_send)):
            if may_send() and await self._wait_for_rate(may_send):
                await self._send(half)
            else:
                self._claims.forget(half)

    async def _refuse(self, message: Message, answer: Answer, probe: Probe | None) -> None:
        """Refuse one message; when only refusals come, the receiver is what is broken, and all is taken back."""
        now = self._tools.wall()
        refused = (NotificationState.REFUSED.value, now, message.due_at, message.attempts + 1)
        if self._circuit.is_open:  # it may be the message or still the receiver: another one will tell
            await self._settle([message], answer, (lambda _: refused) if probe is Probe.LAST else _put_back(now))
            if probe is not None:
                self._refused[message.operation_id] = message
                await self._fail_probe(now, answer)
            return
        await self._settle([message], answer, lambda _: refused)
        self._refused[message.operation_id] = message
        if len(self._refused) >= REFUSALS:
            self._taken_back += self._refused.values()
            self._refused = {}
            self._circuit.open(now, _asked(answer))
            _log.warning("circuit_opened", why=f"{REFUSALS} orders refused in a row", **self._where)

    async def _failed(self, batch: Sequence[Message], answer: Answer, probe: Probe | None) -> None:
        """Plan the next try. While the circuit is open nothing grows older."""
        now, pace = self._tools.wall(), self._tools.pace
        if self._circuit.is_open:
            await self._settle(batch, answer, _put_back(now))
            if probe is not None:  # or the circuit opened while this call was under way, and knows enough
                await self._fail_probe(now, answer)
            return

        seed = pace.chance()  # one for all, so that they are tried again as the same set

        def row(message: Message) -> Fate:
            due = next_due(message.attempts + 1, now, seed, answer.retry_after, pace.steps)
            if due is None:
                return NotificationState.DEAD.value, now, message.due_at, message.attempts + 1
            return NotificationState.PENDING.value, None, due, message.attempts + 1

        if self._circuit.fail(now, _asked(answer)):
            _log.warning("circuit_opened", why=answer.failure or answer.status, **self._where)
        await self._settle(batch, answer, row)

    async def _fail_probe(self, now: int, answer: Answer) -> None:
        """Make the next probe later; after days of that the endpoint is given up."""
        self._circuit.fail(now, _asked(answer))
        if self._circuit.is_hopeless(now):
            await self._disable("no call has succeeded for 5 days")

    async def _probe(self) -> None:
        """Try an endpoint whose circuit is open with one message, best with one that it has not refused."""
        tools = self._tools
        if self._circuit.probe_at is None or tools.wall() < self._circuit.probe_at or not self._is_held():
            return

        found = await self._claims.probes(REFUSALS)
        fresh = [each for each in found if each.operation_id not in self._refused]
        chosen = next(iter(fresh or found), None)
        if chosen is not None and await self._wait_for_rate(self._is_held):
            self._claims.hold(chosen)
            is_last = not fresh and len(found) < REFUSALS
            await self._send([chosen], Probe.LAST if is_last else Probe.ONE)

    def _is_held(self) -> bool:
        return self._tools.monotonic() + self._tools.pace.timeout < self.lease.until

    async def _beat(self) -> None:
        """Send a heartbeat where nothing was sent for long; what comes of it changes nothing."""
        minutes, due = self.endpoint.config.heartbeat_minutes, self._heartbeat_at
        now = self._tools.wall()
        if not minutes or due is None or now < due or self._circuit.is_open:
            return
        if now >= self._sent_at + minutes * MINUTE:
            if not self._is_held() or not await self._wait_for_rate(self._may_send):
                return
            answer = await self._caller.beat(await self._claims.mark(), now // 1_000_000, self._is_held)
            if answer is NOT_SENT:
                return
            self._sent_at = now
            _log.info("heartbeat", status=answer.status, failure=answer.failure, **self._where)
        await self.put_off_heartbeat()

    async def put_off_heartbeat(self) -> None:
        """Write down that something was sent, where that is not known; whoever holds the lane next must know it."""
        known, later = self._heartbeat_at, self._sent_at + self.endpoint.config.heartbeat_minutes * MINUTE
        if known is None or not self.endpoint.config.heartbeat_minutes or later <= known:
            return
        await self._tools.db.transact(lambda tx: tx.run(
            "put_off_heartbeat", heartbeat_at=later, known=known, fence=self.lease.fence, **self._where
        ))  # fmt: skip
        self._heartbeat_at = later

    # ── settling ──

    async def _settle(
        self,
        batch: Sequence[Message],
        answer: Answer,
        failed: Callable[[Message], Fate] | None,
        *,
        keep_claims: bool = False,
    ) -> None:
        """Hand over what came of a call: all delivered, or what becomes of each."""
        now = self._tools.wall()
        issuer_id, endpoint_id = self.lease.key
        attempt_id = self._new_attempt_id()
        attempt = (
            issuer_id, attempt_id, endpoint_id, now - round(answer.seconds * 1_000_000), len(batch), answer.status,
            answer.failure, round(answer.seconds * 1_000), self._caller.shown(answer),
        )  # fmt: skip
        if failed is None:
            rows: list[Row] = [(issuer_id, each.notification_id, each.round, attempt_id, now) for each in batch]
            settlement = Settlement(attempt, delivered=rows)
        else:
            settlement = Settlement(attempt, failed=[
                (issuer_id, each.notification_id, each.round, attempt_id, self.lease.fence, *failed(each))
                for each in batch
            ])  # fmt: skip
        self._done += len(batch)
        self._log(attempt, batch, settlement)
        await self._tools.settler.put(
            settlement, (lambda _: None) if keep_claims else (lambda _: self._claims.forget(batch))
        )

    def _log(self, attempt: Row, batch: Sequence[Message], settlement: Settlement) -> None:
        """Write one line about a call: whatever failed, and one of many that were well."""
        _, attempt_id, _, _, carried, status, failure, ms, _ = attempt
        self._calls += 1
        if settlement.delivered and self._calls % SAMPLE:
            return
        due = min((row[7] for row in settlement.failed if row[5] == NotificationState.PENDING), default=None)
        _log.info(
            "attempt", attempt_id=attempt_id, status=status, failure=failure, ms=ms, carried=carried,
            notifications=[each.notification_id for each in batch[:SHOWN_IDS]], **_correlated(batch),
            retry_due=None if due is None else timestamp(due), **self._where,
        )  # fmt: skip

    async def _disable(self, reason: str) -> None:
        """Send nothing any more, and tell a person, once."""
        if self.endpoint.state is EndpointState.DISABLED:
            return
        enabled = self.endpoint
        self.endpoint = msgspec.structs.replace(enabled, state=EndpointState.DISABLED, reason=reason)
        try:
            await self._tools.endpoints.disable(*self.lease.key, reason, ACTOR)
        except StoreUnavailable:
            self.endpoint = enabled  # so that the next call that ends so tries again
            raise
        _log.error("endpoint_disabled", alert=True, reason=reason, **self._where)

    async def _take_back(self) -> None:
        """Let what a broken receiver refused wait again."""
        if not self._taken_back:
            return
        await self._tools.settler.flush()
        now = self._tools.wall()
        rows = sorted((self.lease.key[0], each.notification_id, each.round, now) for each in self._taken_back)

        def work(tx: Transaction) -> None:
            tx.one("lock_counter", issuer_id=self.lease.key[0])  # no newer picture comes meanwhile
            if tx.one("lock_lane", **self._where) != (self.lease.fence,):
                return  # whoever has the lane now may have withheld all, and would not look again
            if self.endpoint.config.mode is Mode.NEWEST:
                tx.each("supersede_refused", rows)
            tx.each("unrefuse", rows)

        await self._tools.db.transact(work)
        self._taken_back = []

    async def _save(self) -> None:
        """Write down how it goes."""
        await self._take_back()
        circuit = self._circuit
        if self._has_recovered and not circuit.is_open:
            await self._tools.db.transact(lambda tx: tx.run("heal_lane", **self._where))
            self._chore, self._has_recovered = True, False
        elif circuit.changed:
            await self._tools.db.transact(lambda tx: tx.run(
                "save_lane", failures=circuit.failures, failing_since=circuit.failing_since, probe_at=circuit.probe_at,
                fence=self.lease.fence, **self._where,
            ))  # fmt: skip
            circuit.changed = False


def _correlated(batch: Sequence[Message]) -> dict[str, object]:
    """Return the correlation id of the calls that a batch tells of, or of each notification that is named, in order."""
    found = [correlation_of(each.cause) for each in batch]
    one = shared(found)
    return {"correlation_id": one or None} | ({} if one else {"correlation_ids": found[:SHOWN_IDS]})


def _asked(answer: Answer) -> int:
    """Return for how long a receiver wants to be left alone, µs."""
    return (answer.retry_after or 0) * 1_000_000


def _uncounted(message: Message) -> Fate:
    """Note the attempt and change nothing else."""
    return NotificationState.PENDING.value, None, message.due_at, message.attempts


def _put_back(now: int) -> Callable[[Message], Fate]:
    """Note a probe that failed: the next one is made with whatever waits longest."""
    return lambda message: (NotificationState.PENDING.value, None, now, message.attempts)
