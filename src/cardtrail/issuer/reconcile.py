"""The reconciler: compares states, not messages, and repairs the mirror by asking. Law 4.

Where the platform has a changes feed, `pull` reads on from the cursor; a cursor that has expired leads to a full pass:
the feed is read anew, and every card that was not in it is asked for by itself. Where there is no feed, `sweep` asks
for every open card once. A pass that was killed is gone on with: what it has asked for is in the mirror, and as fresh
as that.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from math import ceil

from cardtrail.errors import CursorExpired, InputError
from cardtrail.issuer.ask import MANY, Asker, insisted
from cardtrail.issuer.due import NEVER, Why
from cardtrail.issuer.passes import RATIONED, Pass, Passes
from cardtrail.issuer.ration import DayOver, Ration
from cardtrail.issuer.round import Heard, Wanted
from cardtrail.issuer.standing import CHANGING, Observed
from cardtrail.issuer.take import Batch, Sighting
from cardtrail.protocol.reading import operation_of

PAGE = 1_000
"""Operations in a page of the feed."""
CHUNK = 500
"""Cards that are asked for with one ticket and kept by one transaction, where each takes a call of its own."""
AHEAD = 2
"""Lists of cards under way at once, so that nobody waits for the slowest answer of one."""
MAX_PAGES = 1_000_000
"""Most pages of one pull."""
ROUNDS = 5
"""Most rounds of asking for cards that became doubtful while others were asked for."""

Progress = Callable[[Heard, int], None]
"""Told of what was done, and of how many cards or operations that was."""


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
        self._passes = Passes(asker.mirror, asker.issuer_id, asker.fence)

    # ── without a feed ──

    async def sweep(self, *, again: bool = False) -> Heard:
        """Ask for every open card once, or go on with a pass that rests; return what that came to in all.

        What a pass has asked for before it rested is as fresh as that; `again` begins one anew.
        Raises RemoteUnauthorized, RemoteForbidden, Outage, DayOver, LeaseLost or StoreUnavailable.
        """
        this = await self._passes.begin("sweep", again=again)
        done = this.done + await self._ask_all(this, self._open_cards(this)) + await self.ask_doubtful(this)
        await self._passes.end("sweep")
        return done

    async def ask_doubtful(self, this: Pass | None = None) -> Heard:
        """Ask for cards that notifications have made doubtful; raises as `sweep`."""
        done = Heard()
        row = await self._mirror.db.read(lambda tx: tx.one("count_doubtful", issuer_id=self._issuer_id))
        for _ in range(ROUNDS + (row[0] if row else 0) // CHUNK):
            cards = await self._rows("due_cards", priority=int(Why.DOUBTFUL), now=self._mirror.clock())
            if not cards:
                break
            done += await self._ask(this, cards)
        return done

    async def ask_failed(self) -> Heard:
        """Ask once for every card that was not answered last time, as a feed says nothing of it; raises as `sweep`."""
        done, ticket = Heard(), await self._mirror.ticket(self._issuer_id)
        while cards := await self._rows("failed_cards", before=ticket, now=NEVER):
            done += await self._ask(None, cards)
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

    async def _ask(self, this: Pass | None, cards: list[Wanted], *, with_history: bool = False) -> Heard:
        done = Heard()
        while cards:
            try:
                allowed = await self._allowed(len(cards), MANY if self._asker.many and not with_history else 1)
            except DayOver:
                await self._passes.add(this, Heard(), RATIONED)
                raise
            heard = await self._asker.ask(cards[:allowed], with_history=with_history)
            await self._passes.add(this, heard)
            self._progress(heard, heard.asked)
            done, cards = done + heard, cards[allowed:]
        return done

    async def _allowed(self, cards: int, each: int) -> int:
        """Return how many cards may be asked for now, by calls for so many each. Raises DayOver for none."""
        if self._ration is None:
            return cards
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

    async def pull(self, *, again: bool = False) -> Heard:
        """Read the feed from the cursor to its end, and end what doubts there are; return what that came to.

        Where it expired, and where a full pass is not at its end, make a full pass; `again` begins one in any case.
        Raises RemoteError, LeaseLost or StoreUnavailable.
        """
        if again or await self._passes.is_owed("feed"):
            done = await self.read_anew(again=again)
        else:
            try:
                done = await self._read_on()
            except CursorExpired:
                done = await self.read_anew()
        return done + await self._end_doubts()

    async def _end_doubts(self) -> Heard:
        """Ask for all orders of cards of which one is doubtful: the feed says nothing more of it before it changes."""
        done, place = Heard(), ""
        while cards := await self._rows("doubtful_orders", after_card=place):
            place = cards[-1].card_id
            done += await self._ask(None, cards, with_history=True)
        return done

    async def read_anew(self, *, again: bool = False) -> Heard:
        """Make a full pass: read the feed from its beginning, then ask for every card whose orders were not all in it.

        A full pass that rests is gone on with; `again` begins one in any case.
        """
        this = await self._passes.begin("feed", again=again)
        done = this.done
        try:
            done += await self._read_on(this)
        except CursorExpired:  # restored once more while this pass rested: what it has read does not count
            this = await self._passes.begin("feed", again=True)
            done += await self._read_on(this)
        done += await self._ask_all(this, self._unseen_cards(this))
        await self._passes.end("feed")
        return done

    async def _read_on(self, this: Pass | None = None) -> Heard:
        done = Heard()
        cursor = await self._cursor()
        for _ in range(MAX_PAGES):
            heard, cursor, more = await self._read_page(cursor)
            await self._passes.add(this, heard)
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


async def _ended(tasks: set[asyncio.Task[Heard]]) -> None:
    """Wait for tasks whose results nobody needs any more; what they were answered is kept all the same."""
    await asyncio.gather(*tasks, return_exceptions=True)
