"""Keeping a mirror right, for ever: one loop an issuer, which holds the lease and does what is next.

Where the platform has a feed of changes, it pulls when a notification's high-water mark says that there is something
new, at most once an interval, and ten times as seldom without such news. Where there is none, it spends its budget of
calls: on cards that are due, most urgent first, and a share of it always on the open cards that were asked for longest
ago. So a mirror is never wrong for longer than the stated bound: a day, and open cards by that share of the budget.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from math import ceil
from typing import Protocol

import msgspec

from cardtrail.errors import CardtrailError, NotOffered
from cardtrail.issuer import learn
from cardtrail.issuer.answers import Features
from cardtrail.issuer.ask import MANY, Asker, Source
from cardtrail.issuer.budget import MOST, SWEEP_AFTER, Budget, Limits, Usage, bound_of
from cardtrail.issuer.due import Why
from cardtrail.issuer.lease import LeaseLost, LeaseTaken, held
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.ration import put_usage, usage_of
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.issuer.round import Heard, Wanted

SECOND = 1_000_000
DAY = 86_400 * SECOND
IDLE_FACTOR = 10
"""Without news the feed is read so many times as seldom, if nothing else is asked for."""
IDLE_SECONDS = 1.0
"""Pause after a round in which nothing was due."""
HOLD_SECONDS = 8.0
"""How long the lease is held at a stretch: less than others wait for it."""
GAP_SECONDS = 0.6
"""Pause between two stretches: more than others let pass between two tries."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
"""Pause after a failure, seconds: from, to; it doubles."""
LEARN_EVERY = 3_600 * SECOND
"""How often it is learned how long cards usually stay where they are, µs."""
BOUND_EVERY = 600 * SECOND
"""How often it is worked out for how long the mirror may be wrong at most, and was, µs: it counts all open cards."""
SLACK = 15 * SECOND
"""What a pull itself may take of the bound, µs."""
URGENT = (Why.DOUBTFUL, Why.OVERDUE, Why.PAST_DUE_DATE, Why.UNHEARD)
ANY = 2**62
"""More than any count of a mirror's changes."""
WITH_FEED = (Why.DOUBTFUL, Why.UNHEARD)
"""What is asked for card by card although there is a feed: what the feed says nothing new of."""

_log = logging.getLogger("cardtrail.issuer")


class FullSource(Source, Protocol):
    """A source that says what it has."""

    async def features(self, *, again: bool = False) -> Features:
        """Return which extensions the server has. Raises RemoteError."""
        ...


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How much asking is allowed: calls, and the shortest time between two pulls of the feed, seconds.

    `keep_days` is how long the log of changes is kept; 0 keeps it for ever.
    Without news the feed is read `idle_factor` times as seldom.
    """

    limits: Limits
    pull_seconds: float = 30.0
    keep_days: int = 0
    idle_factor: int = IDLE_FACTOR


class Keeper:
    """Keeps one issuer's mirror right. `done` is told of everything that was asked."""

    def __init__(
        self, issuer_id: str, source: FullSource, mirror: AsyncMirror, pace: Pace,
        done: Callable[[Heard], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._issuer_id = issuer_id
        self._source = source
        self._mirror = mirror
        self._pace = pace
        self._done = done
        self._features: Features | None = None
        self._budget: Budget | None = None
        self._pull_at = 0
        self._pulled_mark: str | None = None
        self._fence = -1
        self._learn_at = 0
        self._bound_at = 0

    async def run(self) -> None:
        """Keep it right until cancelled; what fails is logged and tried again, ever more seldom."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._hold()
            except LeaseTaken as error:
                _log.info("reconciler of %s waits: %s", self._issuer_id, error)
            except LeaseLost as error:
                _log.warning("reconciler of %s begins again: %s", self._issuer_id, error)
            except CardtrailError as error:
                if isinstance(error, NotOffered):
                    self._features = None  # it had this a while ago; find out anew
                _log.warning("reconciler of %s: %s", self._issuer_id, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
                await asyncio.sleep(GAP_SECONDS)

    async def _hold(self) -> None:
        """Work under the lease for a while, then let others have a turn, such as somebody who wants a whole pass."""
        loop = asyncio.get_running_loop()
        async with held(self._mirror.db, self._issuer_id) as fence:
            if fence != self._fence + 1:  # whoever had the lease meanwhile may have spent of the budget
                self._budget = None
            self._fence = fence
            end = loop.time() + HOLD_SECONDS
            while loop.time() < end:
                worked = await self.run_once(fence)
                await asyncio.sleep(0 if worked else IDLE_SECONDS)

    async def run_once(self, fence: int) -> int:
        """Do what is next; return how many calls that took. Raises RemoteError, LeaseLost or StoreUnavailable."""
        await self._learn()
        if self._features is None:
            self._features = await self._source.features(again=True)
        if self._budget is None:
            self._budget = await self._stored_budget()
        asker = Asker(self._issuer_id, self._source, self._mirror, fence, many=self._features.batch)
        heard = await self._pull(asker) if self._features.feed else Heard()
        heard += await self._spend(asker)
        return heard.calls

    async def _stored_budget(self) -> Budget:
        usage = await self._mirror.db.read(lambda tx: usage_of(tx, self._issuer_id))
        return Budget(self._pace.limits, usage)

    async def _learn(self) -> None:
        now = self._mirror.clock()
        if now >= self._learn_at or now < self._learn_at - LEARN_EVERY:
            self._learn_at = now + LEARN_EVERY
            self._features = None  # a server that was upgraded may have more by now
            await learn.mend_times(self._mirror, self._issuer_id)
            await learn.learn(self._mirror, self._issuer_id)
            if self._pace.keep_days:
                await learn.prune(self._mirror, self._issuer_id, now - self._pace.keep_days * DAY)

    # ── with a feed ──

    async def _pull(self, asker: Asker) -> Heard:
        """Read the feed if it is time to. Raises as `Reconciler.pull`."""
        now, (before, mark) = self._mirror.clock(), await self._heard()
        interval = round(self._pace.pull_seconds * SECOND)
        has_news = mark is not None and mark != self._pulled_mark
        pulled_at = self._pull_at - interval
        if pulled_at <= now < pulled_at + (interval if has_news else self._pace.idle_factor * interval):
            return Heard()
        try:
            heard = await Reconciler(asker).pull()
        except NotOffered:
            self._features = None  # it had one a while ago; find out anew
            return Heard()
        self._pull_at, self._pulled_mark = now + interval, mark
        self._done(heard)
        worst = 0 if before is None else self._mirror.clock() - before
        await self._keep_bound(self._pace.idle_factor * interval + SLACK, worst)
        return heard

    async def _heard(self) -> tuple[int | None, str | None]:
        """Return when the end of the feed was asked for that was reached last, and the newest mark."""
        row = await self._mirror.db.read(lambda tx: tx.one("find_issuer", issuer_id=self._issuer_id))
        return (None, None) if row is None else (row[2], row[3])

    # ── by budget ──

    async def _spend(self, asker: Asker) -> Heard:
        """Ask for the cards on which the next calls are best spent."""
        assert self._budget is not None  # noqa: S101 -- read before
        each = MANY if asker.many else 1
        most, now = MOST * each, self._mirror.clock()
        if not self._has_feed and abs(now - self._bound_at) >= BOUND_EVERY:
            self._bound_at = now
            await self._keep_bound(await self._stated(each), 0)
        due = await self._due(WITH_FEED if self._has_feed else URGENT, most)
        if self._has_feed:  # elsewhere the sweep comes to them
            due += await self._rows("failed_cards", most, before=ANY, now=now)
        looks = [] if self._has_feed else await self._rows("due_cards", most, priority=int(Why.LAST_LOOK), now=now)
        swept = [] if self._has_feed else await self._rows("unseen_longest", most, before=now - SWEEP_AFTER)
        sizes = [ceil(len(cards) / each) for cards in (due, looks, swept)]
        grant = self._budget.grant(now, due=sizes[0], looks=sizes[1], sweep=sizes[2])
        if not grant.calls:
            return Heard()
        await self._mirror.db.transact(lambda tx: put_usage(tx, self._issuer_id, self._usage))
        chosen = [*due[: grant.due * each], *looks[: grant.looks * each], *swept[: grant.sweep * each]]
        return await self._ask(asker, list({wanted.card_id: wanted for wanted in chosen}.values()), each)

    @property
    def _usage(self) -> Usage:
        return self._budget.usage if self._budget is not None else Usage()

    @property
    def _has_feed(self) -> bool:
        return self._features is not None and self._features.feed

    async def _ask(self, asker: Asker, cards: Sequence[Wanted], each: int) -> Heard:
        heard = Heard()
        for begin in range(0, len(cards), max(each, MOST)):
            heard += await asker.ask(cards[begin : begin + max(each, MOST)])
        if heard.calls:
            self._done(heard)
        return heard

    async def _due(self, whys: Sequence[Why], most: int) -> list[Wanted]:
        now, found = self._mirror.clock(), list[Wanted]()
        for why in whys:
            found += await self._rows("due_cards", most - len(found), priority=int(why), now=now)
            if len(found) >= most:
                break
        return found

    async def _rows(self, name: str, most: int, **parameters: object) -> list[Wanted]:
        rows = await self._mirror.db.read(lambda tx: tx.all(name, issuer_id=self._issuer_id, most=most, **parameters))
        return [Wanted(*row) for row in rows]

    # ── the bound ──

    async def _stated(self, each: int) -> int:
        """Return how long the mirror may be wrong at most, µs; a call asks for `each` cards."""
        row = await self._mirror.db.read(lambda tx: tx.one("count_open", issuer_id=self._issuer_id, before=ANY))
        return bound_of(ceil((int(row[0]) if row else 0) / each), self._pace.limits)

    async def _keep_bound(self, stated: int, worst: int) -> None:
        now = self._mirror.clock()
        row = await self._mirror.db.read(lambda tx: tx.one("oldest_check", issuer_id=self._issuer_id))
        oldest = now - row[0] if row and row[0] is not None and not self._has_feed else 0
        await self._mirror.db.transact(lambda tx: tx.run(
            "put_bound", issuer_id=self._issuer_id, day=now // DAY, stated=stated, worst=max(worst, oldest)
        ))  # fmt: skip
