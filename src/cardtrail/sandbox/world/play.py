"""The player: drives the world by the clock, one thing at a time, and lets nobody else move time meanwhile."""

import asyncio
import math
from collections.abc import Callable, Sequence

import structlog

from cardtrail.errors import Refused
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.hours import HOUR
from cardtrail.sandbox.world.insist import PATIENCE_SECONDS, insist
from cardtrail.sandbox.world.owed import Outside, Wish
from cardtrail.sandbox.world.verbs import Scan, Verb, act
from cardtrail.sandbox.world.world import World

STEP = HOUR
"""What happens within so long of a jump is reported together, as of its end."""

_log = structlog.get_logger()


class Player:
    """Plays a world to the platform, as time passes and when somebody moves it."""

    def __init__(self, world: World, clock: VirtualClock, outside: Outside, step: int = STEP) -> None:
        self.world = world
        self.clock = clock
        self._outside = outside
        self._step = step
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Play for ever. While the platform does not answer it is others' turn, too."""
        while True:
            await self.clock.until(self.world.next_at())
            await insist(self.run_once, math.inf)

    async def run_once(self) -> int:
        """Let everything happen that is due; return how much it was. Raises StoreUnavailable as `World.play`."""
        async with self._turn:
            try:
                return await self.world.play(self.clock(), self._outside)
            except Refused as error:  # what the platform does not want is lost, and the rest goes on
                _log.error("not_taken", error=str(error))
                return 0

    async def advance(self, span: int, progress: Callable[[float], None] = lambda _: None) -> int:
        """Let a span of µs pass at once, hour by hour, and return how much happened: the platform has recorded it all.

        Raises InputError for a step back or a span of more than ten years, Refused as `World.play`, or StoreUnavailable
        where the platform does not answer for long; what it has not heard of is told later.
        """
        async with self._turn:
            begin, before = self.clock(), self.world.happened
            self.clock.check(span)
            while (at := self.world.next_at()) is not None and at <= begin + span:
                self.clock.reach(min(begin + span, at - at % self._step + self._step))
                await insist(lambda: self.world.play(self.clock(), self._outside), PATIENCE_SECONDS)
                progress(min((self.clock() - begin) / max(span, 1), 1.0))
            self.clock.reach(begin + span)
            return self.world.happened - before

    async def order(self, wish: Wish) -> None:
        """Have the bank order a card now.

        Raises Refused where the platform does not take it, or StoreUnavailable where it does not answer for long.
        """
        await insist(lambda: self._order(wish), PATIENCE_SECONDS)

    async def _order(self, wish: Wish) -> None:
        async with self._turn:
            for error in await self._outside.order([wish]):
                if error is not None:
                    raise error

    async def act(self, issuer_id: str, card_id: str, verb: Verb, scan: Scan | None = None) -> Sequence[Event]:
        """Have something happen to a card now; return what was reported.

        Raises NotFound or Conflict, or StoreUnavailable where the platform does not answer for long; it is told later.
        """
        async with self._turn:
            events = act(self.world, self.world.course(issuer_id, card_id), verb, scan)
            self.world.say(events)
        await insist(self._report, PATIENCE_SECONDS)
        return events

    async def _report(self) -> None:
        async with self._turn:
            await self.world.report(self._outside)
