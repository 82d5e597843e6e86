"""The reconciler: compares states, not messages, and repairs the mirror by asking. Law 4.

Where the platform has a changes feed, `pull` reads on from the cursor; a cursor that has expired leads to a full pass:
the feed is read anew, and every card that was not in it is asked for by itself. Where there is no feed, `sweep` asks
for every open card once. A pass that was killed is gone on with: what it has asked for is in the mirror.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from math import ceil

import msgspec

from cardtrail.db import Transaction
from cardtrail.errors import CursorExpired, InputError
from cardtrail.issuer.ask import MANY, Asker, Heard, insisted
from cardtrail.issuer.due import Why
from cardtrail.issuer.lease import check_fence
from cardtrail.issuer.ration import DayOver, Ration
from cardtrail.issuer.round import Wanted
from cardtrail.issuer.standing import CHANGING, Observed
from cardtrail.issuer.take import Batch, Sighting, locked
from cardtrail.protocol.reading import operation_of

PAGE = 1_000
"""Operations in a page of the feed."""
CHUNK = 500
"""Cards that are asked for with one ticket and kept by one transaction, where each takes a call of its own."""
AHEAD = 2
"""Lists of cards under way at once, so that nobody waits for the slowest answer of one."""
MAX_PAGES = 1_000_000
"""Most pages of one pull."""
RESUME_WITHIN = 3_600_000_000
"""A pass that did nothing for longer than this is not gone on with, µs: what it asked for may have changed since."""
RATIONED = 36 * RESUME_WITHIN
"""The same for a pass that the calls of a day were not enough for: it is gone on with on the next."""
ROUNDS = 5
"""Most rounds of asking for cards that became doubtful while others were asked for."""

Progress = Callable[[Heard, int], None]
"""Told of what was done, and of how many cards or operations that was."""


class Pass(msgspec.Struct, frozen=True):
    """A pass: which cards it is about, and what it has done. `start_no` is the mirror's count when it began."""

    start_no: int
    kind: str
    began_at: int
    done: Heard = Heard()


def silent(_heard: Heard, _count: int) -> None:
    """Tell nobody."""


class Reconciler:
    """Repairs one issuer's mirror; whoever has one holds the lease."""

    def __init__(self, asker: Asker, progress: Progress = silent, ration: Ration | None = None) -> None:
        """`ration` gives out the calls of a day; without one, whoever calls sees to that."""
        self._asker = asker
        self._ration = ration
        self._issuer_id = asker.issuer_id
        self._mirror = asker.mirror
        self._progress = progress

    # ── without a feed ──

    async def sweep(self) -> Heard:
        """Ask for every open card once, or go on with a pass that has not ended; return what that came to in all.

        Raises RemoteUnauthorized, RemoteForbidden, Outage, DayOver, LeaseLost or StoreUnavailable.
        """
        this = await self._begin("sweep")
        done = this.done + await self._ask_all(this, self._open_cards(this)) + await self.ask_doubtful(this)
        await self._end()
        return done

    async def ask_doubtful(self, this: Pass | None = None) -> Heard:
        """Ask for cards that notifications have made doubtful; raises as `sweep`."""
        done = Heard()
        for _ in range(ROUNDS):
            cards = await self._rows("due_cards", priority=int(Why.DOUBTFUL), now=self._mirror.clock())
            if not cards:
                break
            done += await self._ask(this, cards)
        return done

    async def _ask_all(self, this: Pass, lists: AsyncIterator[list[Wanted]]) -> Heard:
        done, under_way = Heard(), set[asyncio.Task[Heard]]()
        try:
            async for cards in lists:
                under_way.add(asyncio.create_task(self._ask(this, cards)))
                if len(under_way) >= AHEAD:
                    ended, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    done = sum((task.result() for task in ended), done)
            return sum([await task for task in under_way], done)
        finally:
            await _ended(under_way)

    async def _ask(self, this: Pass | None, cards: list[Wanted]) -> Heard:
        try:
            allowed = await self._allowed(len(cards))
        except DayOver:
            await self._add(this, Heard(), RATIONED)
            raise
        heard = await self._asker.ask(cards[:allowed])
        await self._add(this, heard, RESUME_WITHIN if allowed == len(cards) else RATIONED)
        self._progress(heard, heard.asked)
        if allowed < len(cards):
            await self._allowed(1)  # there is none, and whoever runs the pass is to hear it
        return heard

    async def _allowed(self, cards: int) -> int:
        """Return how many cards may be asked for now. Raises DayOver for none."""
        if self._ration is None:
            return cards
        each = MANY if self._asker.many else 1
        return min(cards, each * await self._ration.take(ceil(cards / each)))

    async def _open_cards(self, this: Pass) -> AsyncIterator[list[Wanted]]:
        place = ""
        while cards := await self._rows("sweep_cards", before=this.start_no, after_card=place):
            yield cards
            place = cards[-1].card_id

    async def _unseen_cards(self, this: Pass) -> AsyncIterator[list[Wanted]]:
        place = ""
        while cards := await self._rows("unseen_cards", before=this.start_no, after_card=place):
            yield cards
            place = cards[-1].card_id

    async def _rows(self, name: str, **parameters: object) -> list[Wanted]:
        rows = await self._mirror.db.read(
            lambda tx: tx.all(name, issuer_id=self._issuer_id, most=MANY if self._asker.many else CHUNK, **parameters)
        )
        return [Wanted(*row) for row in rows]

    # ── with a feed ──

    async def pull(self) -> Heard:
        """Read the feed from the cursor to its end; return what that came to. Where it expired, make a full pass.

        Raises RemoteError, LeaseLost or StoreUnavailable.
        """
        if await self._open_pass("feed") is not None:
            return await self.read_anew()
        try:
            return await self._read_on()
        except CursorExpired:
            return await self.read_anew()

    async def read_anew(self) -> Heard:
        """Read the feed from its beginning, then ask for every card whose orders were not all in it."""
        this = await self._open_pass("feed")
        if this is None:
            await self._forget_cursor()
            this = await self._begin("feed")
        done = this.done
        try:
            done += await self._read_on(this)
        except CursorExpired:  # restored once more, while this pass rested
            await self._forget_cursor()
            done += await self._read_on(this)
        done += await self._ask_all(this, self._unseen_cards(this))
        await self._end()
        return done

    async def _read_on(self, this: Pass | None = None) -> Heard:
        done = Heard()
        cursor = await self._cursor()
        for _ in range(MAX_PAGES):
            heard, cursor, more = await self._read_page(cursor)
            await self._add(this, heard)
            self._progress(heard, heard.asked)
            done += heard
            if not more:
                break
        return done

    async def _read_page(self, since: str | None) -> tuple[Heard, str | None, bool]:
        asked_at, ticket = self._mirror.clock(), await self._mirror.ticket(self._issuer_id)
        page = await insisted(lambda: self._asker.source.changes(since, limit=PAGE))
        observed, sightings = [], []
        now = self._mirror.clock()
        for element in page.elements:
            try:
                observed.append(Observed(operation_of(element), "answer", now, ticket))
            except InputError as error:
                sightings.append(Sighting("element", str(error), bytes(element)))
        outcomes = await self._mirror.put(self._issuer_id, Batch(
            now=now, observed=observed, sightings=sightings, cursor=page.cursor, fence=self._asker.fence,
            pulled_at=None if page.more else asked_at,
        ))  # fmt: skip
        changed = {each.operation.card_id for each in outcomes if isinstance(each, CHANGING)}
        more = page.more and page.cursor != since
        return Heard(1, len(observed), 0, len(sightings), len(changed)), page.cursor, more

    async def _cursor(self) -> str | None:
        row = await self._mirror.db.read(lambda tx: tx.one("find_issuer", issuer_id=self._issuer_id))
        return None if row is None else row[1]

    async def _forget_cursor(self) -> None:
        await self._write(lambda tx: tx.run("forget_cursor", issuer_id=self._issuer_id))

    # ── passes ──

    async def _open_pass(self, kind: str) -> Pass | None:
        now = self._mirror.clock()
        return await self._mirror.db.read(lambda tx: _open_pass(tx, self._issuer_id, kind, now))

    async def _begin(self, kind: str) -> Pass:
        """Go on with the pass of this kind that has not ended, or begin one."""
        now = self._mirror.clock()

        def work(tx: Transaction) -> Pass:
            number = locked(tx, self._issuer_id)
            check_fence(tx, self._issuer_id, self._asker.fence)
            this = _open_pass(tx, self._issuer_id, kind, now)
            if this is not None:
                return this
            start = number + 1  # so that what was asked for in the pass before is not taken for asked in this one
            tx.run("end_pass", issuer_id=self._issuer_id, ended_at=now)
            tx.run("set_number", issuer_id=self._issuer_id, number=start)
            tx.run(
                "begin_pass",
                issuer_id=self._issuer_id,
                start_no=start,
                kind=kind,
                began_at=now,
                until=now + RESUME_WITHIN,
            )
            return Pass(start, kind, now)

        return await self._mirror.db.transact(work)

    async def _add(self, this: Pass | None, heard: Heard, within: int = RESUME_WITHIN) -> None:
        if this is None:  # what was asked for belongs to no pass
            return
        await self._write(lambda tx: tx.run(
            "add_to_pass", issuer_id=self._issuer_id, start_no=this.start_no, calls=heard.calls, asked=heard.asked,
            unknown=heard.unknown, failed=heard.failed, repaired=heard.changed, until=self._mirror.clock() + within,
        ))  # fmt: skip

    async def _end(self) -> None:
        now = self._mirror.clock()
        await self._write(lambda tx: tx.run("end_pass", issuer_id=self._issuer_id, ended_at=now))

    async def _write(self, work: Callable[[Transaction], int]) -> None:
        def fenced(tx: Transaction) -> None:
            check_fence(tx, self._issuer_id, self._asker.fence)
            work(tx)

        await self._mirror.db.transact(fenced)


def _open_pass(tx: Transaction, issuer_id: str, kind: str, now: int) -> Pass | None:
    row = tx.one("open_pass", issuer_id=issuer_id)
    if row is None or row[1] != kind or not row[2] - RESUME_WITHIN <= now <= row[3]:
        return None
    return Pass(row[0], row[1], row[2], Heard(*row[4:9]))


async def _ended(tasks: set[asyncio.Task[Heard]]) -> None:
    """Wait for tasks whose results nobody needs any more; what they were answered is kept all the same."""
    await asyncio.gather(*tasks, return_exceptions=True)
