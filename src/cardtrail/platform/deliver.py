"""The deliverer: finds lanes that have work, leases them, and lets each run by itself, so that none slows another."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from cardtrail.core.schedule import STEPS, probe_after
from cardtrail.db import Database
from cardtrail.errors import CardtrailError, StoreUnavailable
from cardtrail.platform.answer import Answer
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.egress import Egress
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.lane import Lane, Pace, Tools
from cardtrail.platform.lease import LaneKey, Leases, Work
from cardtrail.platform.settle import Settler
from cardtrail.traces import Tracer

LOOK_SECONDS = 0.02
"""Shortest pause between two looks for work."""
LOOK_LEAST = 0.002
"""Shortest pause between two looks that ingest asks for, seconds: what is committed meanwhile is found by one."""
LOOK_SHARE = 10
"""A look may take no more than this part of the time: the pause is so many times as long as the look was."""
MAX_PAUSE = 0.25
"""Longest pause between two looks, seconds: what is due by then is found without any commit."""
MOST_NEW = 4
"""Lanes leased by one look, so that processes that begin together share them."""
MAX_LANES = 1_000
"""Most lanes that one process holds."""
IDLE_SECONDS = 5.0
"""A lane without work for so long is let go, so that whoever has less to do can take it."""
RENEWALS = 4
"""How often a lease is renewed while it lasts."""

_log = structlog.get_logger()
Note = Callable[[Answer, int], None]
Failed = Callable[[str], None]


def lease_seconds(timeout: float) -> float:
    """Return how long a lease lasts where a call may take `timeout` seconds: longer, so no call outlives it."""
    return 2 * timeout + 2


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a process delivers: the longest a call takes (s), the waits after failures (µs), its clocks, who is told.

    `wall` gives process time in µs, `monotonic` seconds. `note` hears of each call, `failed` of each look that failed;
    `tracer` makes the spans of calls.
    """

    timeout: float = 15.0
    steps: tuple[int, ...] = STEPS
    wall: Callable[[], int] = wall_clock
    monotonic: Callable[[], float] = time.monotonic
    note: Note = lambda _answer, _carried: None
    failed: Failed = lambda _work: None
    tracer: Tracer | None = None


class Deliverer:
    """Delivers for one process."""

    def __init__(self, db: Database, egress: Egress, endpoints: Endpoints, options: Options) -> None:
        chance, steps = random.SystemRandom().random, options.steps
        pace = Pace(steps, options.timeout, lambda failures: probe_after(failures, chance(), steps[0]), chance)
        self._db = db
        self._leases = Leases(db, lease_seconds(options.timeout), options.monotonic)
        self._settler = Settler(db)
        self._tools = Tools(
            db, egress, endpoints, self._settler, pace, options.wall, options.monotonic, options.note, options.tracer
        )
        self._lanes: dict[LaneKey, Lane] = {}
        self._running: dict[LaneKey, asyncio.Task[int]] = {}
        self._last_work: dict[LaneKey, float] = {}
        self._rest_until: dict[LaneKey, float] = {}
        self._woken = asyncio.Event()
        self._renew_at = 0.0
        self._stopping = False
        self._failed = options.failed
        self._turned_at = self._looked_at = options.monotonic()

    @property
    def look_age(self) -> float:
        """Seconds since it looked for work with success."""
        return self._tools.monotonic() - self._looked_at

    @property
    def turn_age(self) -> float:
        """Seconds since it began to look, whatever came of it: that grows only where `run` has ended or hangs."""
        return self._tools.monotonic() - self._turned_at

    @property
    def holder(self) -> str:
        """The name under which this process holds leases."""
        return self._leases.holder

    def wake(self) -> None:
        """Something was enqueued: look at once."""
        self._woken.set()

    # ── one look ──

    async def run_once(self) -> int:
        """Look, let every lane that has work take a turn, wait for them; return how many rows they settled or moved."""
        started = await self.look()
        results = await asyncio.gather(*started, return_exceptions=True)
        await self._settler.flush()
        return sum(result for result in results if isinstance(result, int))

    async def look(self) -> list[asyncio.Task[int]]:
        """Start a turn of each lane that has work and is not at it; return the turns. Raises StoreUnavailable."""
        await self._renew()
        found = await self._leases.look(self._tools.wall())
        await self._take_new([work for work in found if self._may_take(work.key)])
        idle = [work for work in found if work.key in self._lanes and work.key not in self._running]
        started = [self._start(work) for work in idle]
        await self._let_go()
        return started

    def _may_take(self, key: LaneKey) -> bool:
        """Tell whether a lane is neither here nor broke here a moment ago; an old turn of it may still be ending."""
        if key in self._lanes or key in self._running:
            return False
        return self._tools.monotonic() >= self._rest_until.get(key, 0.0)

    async def _take_new(self, found: list[Work]) -> None:
        """Lease some lanes that nobody holds; by chance, or all processes would ask for the same."""
        room = min(MOST_NEW, MAX_LANES - len(self._lanes))
        chosen = random.SystemRandom().sample(found, min(max(room, 0), len(found)))
        for lease in await self._leases.acquire([work.key for work in chosen]):
            lane = Lane(lease, self._tools)
            try:
                await lane.load()
            except Exception as error:  # noqa: BLE001 -- a secret that our key does not open; it must not stop the others
                _log.error("lane_not_loaded", issuer_id=lease.key[0], endpoint_id=lease.key[1], error=repr(error))
                self._rest(lease.key)
                continue
            self._lanes[lease.key] = lane

    def _rest(self, key: LaneKey) -> None:
        """Leave a lane alone that broke, for as long as its lease may last, so that another process can try it."""
        now = self._tools.monotonic()
        self._rest_until = {each: until for each, until in self._rest_until.items() if until > now}
        self._rest_until[key] = now + self._leases.seconds

    def _start(self, work: Work) -> asyncio.Task[int]:
        task = asyncio.create_task(self._turn(work))
        self._running[work.key] = task
        task.add_done_callback(partial(self._ended, work.key))
        return task

    async def _turn(self, work: Work) -> int:
        lane = self._lanes[work.key]
        if work.has_chore or lane.endpoint.version != work.version:
            try:
                await lane.load()
            except StoreUnavailable as error:
                _log.warning("turn_not_taken", issuer_id=work.key[0], endpoint_id=work.key[1], error=str(error))
                return 0
        return await lane.run_once()

    def _ended(self, key: LaneKey, task: asyncio.Task[int]) -> None:
        """Note how a turn ended. A lane that broke is dropped and rests; its rows are sent again."""
        del self._running[key]
        self._last_work[key] = self._tools.monotonic()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._lanes.pop(key, None)
            self._rest(key)
            _log.error("lane_broke", issuer_id=key[0], endpoint_id=key[1], error=repr(error), exc_info=error)
        elif not task.cancelled() and task.result():
            self._woken.set()

    # ── leases ──

    async def _renew(self) -> None:
        now = self._tools.monotonic()
        if now < self._renew_at:
            return
        for lost in await self._leases.renew(lane.lease for lane in self._lanes.values()):
            self._lanes.pop(lost.key, None)
            lost.until = 0.0  # a turn that is under way sends nothing more
            _log.warning("lease_lost", issuer_id=lost.key[0], endpoint_id=lost.key[1])
        self._renew_at = now + self._leases.seconds / RENEWALS

    async def _let_go(self) -> None:
        now = self._tools.monotonic()
        idle = [
            lane for key, lane in self._lanes.items()
            if key not in self._running and now - self._last_work.setdefault(key, now) > IDLE_SECONDS
        ]  # fmt: skip
        await self._release(idle)

    async def _release(self, lanes: list[Lane]) -> None:
        for lane in lanes:
            await lane.put_off_heartbeat()
        for lane in lanes:
            del self._lanes[lane.lease.key]
            self._last_work.pop(lane.lease.key, None)
        await self._leases.release(lane.lease for lane in lanes)

    # ── for ever ──

    async def run(self) -> None:
        """Look again and again until `stop`; a lost store is told, not fatal."""
        moved = self._db.watch()
        looked_at, pause = float("-inf"), LOOK_SECONDS
        while not self._stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            await asyncio.sleep(max(0.0, looked_at + LOOK_LEAST - self._tools.monotonic()))
            began = self._turned_at = self._tools.monotonic()
            try:
                if not (self._woken.is_set() or moved() or began - looked_at > MAX_PAUSE):
                    continue
                self._woken.clear()
                looked_at = began
                await self.look()
            except CardtrailError as error:
                _log.error("not_looked", error=str(error))
                pause = self._not_looked()
            except Exception:  # noqa: BLE001 -- a deliverer that ended unseen would be worse than one that goes on
                _log.exception("not_looked")
                pause = self._not_looked()
            else:
                self._looked_at = self._tools.monotonic()
                pause = min(MAX_PAUSE, max(LOOK_SECONDS, LOOK_SHARE * (self._tools.monotonic() - began)))

    def _not_looked(self) -> float:
        self._failed(type(self).__name__)
        return MAX_PAUSE

    def end(self) -> None:
        """Let `run` return after the look that it may be at, so that no lease is taken and forgotten."""
        self._stopping = True
        self._woken.set()

    async def stop(self) -> None:
        """Finish the calls that are under way, settle them, let go of all lanes."""
        self.end()
        for lane in self._lanes.values():
            lane.stop()
        if self._running:
            await asyncio.wait(self._running.values())
        await self._settler.flush()
        with suppress(CardtrailError):
            await self._release(list(self._lanes.values()))
        await self._tools.egress.close()
