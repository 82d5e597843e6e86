"""The changes feed: every operation that changed after a cursor, newest picture only, none skipped. Law 5.

Why nothing is ever skipped. Whoever changes operations takes their numbers from the issuer's counter row, which stays
locked until the commit and whose lock passes on only after that commit can be seen. So whatever snapshot a statement
has, the changes in it are exactly those from 1 to some number, on both engines: none is still on its way behind one
that is there. A row carries its newest number only. A page holds the rows after the cursor in the order of their
numbers, read by one statement, and ends at its last row's number: every operation whose newest change lies between was
in it, and one that changed again, before or after, has moved on to a number after the page. A page that has all the
rows there are ends at the counter, should rows at the end have gone.

On PostgreSQL each statement has a snapshot of its own, so their order counts, too. Epoch and counter come first, in
one statement, rows after it. So whatever the counter counts can be seen among the rows. The reader's number is from an
earlier answer, hence from an earlier snapshot than the counter it is compared with: it is never taken for one that is
ahead. And if the epoch is renewed between the two statements, the rows go out under the old one: their reader begins
again once more than it had to, never once less.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import accumulate, takewhile

import msgspec
import structlog

from cardtrail.db import Database, Lanes, Row, Transaction
from cardtrail.errors import CardtrailError, CursorExpired
from cardtrail.protocol.cursor import Cursor

DEFAULT_PAGE = 100
"""Operations in an answer where no `limit` is given."""
MAX_PAGE = 1_000
"""Most operations in an answer."""
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Most bytes of pictures in an answer; a single picture is sent whatever its size."""
MAX_WAIT = 30
"""Longest that a reader may let us wait for a change, seconds."""
MAX_WAITERS = 1_000
"""Readers of one process that may wait at once; the next is answered at once."""
MAX_WAITERS_OF_ISSUER = 100
"""Of these, the readers of one issuer, so that none takes the room of all."""
ASK_EVERY = 0.02
"""Shortest pause between two questions for changes, seconds."""
ASK_SHARE = 10
"""How many times as long as a question took is paused after it: a slow store is not made slower by asking."""
ASK_AGAIN = 1.0
"""Longest such pause, seconds."""

Waiters = dict[str, dict["asyncio.Future[None]", int]]
"""Who waits, by issuer, and after which change number."""

_log = structlog.get_logger()


class Page(msgspec.Struct, frozen=True):
    """A piece of the feed: pictures as they are sent, where to read on, and whether there was more already."""

    pictures: list[bytes]
    cursor: Cursor
    more: bool


def position_of(tx: Transaction, issuer_id: str) -> Cursor:
    """Return the place after an issuer's newest change."""
    epoch, number = tx.all("feed_position", issuer_id=issuer_id)[0]
    return Cursor(epoch, issuer_id, number or 0)


class Feed:
    """Reads the feed and waits for it; one for a process. `release` ends all waiting, for a service that stops."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._moved = db.watch()
        self._waiters: Waiters = {}
        self._count = 0
        self._unasked = False
        self._released = False
        self._lanes = Lanes(1, self._watch)

    async def read(self, issuer_id: str, since: Cursor | None, limit: int) -> Page:
        """Return what changed after a cursor of this issuer, or from the beginning; at most `limit` operations.

        Raises CursorExpired for a cursor of another epoch or ahead of all changes, or StoreUnavailable.
        """

        def work(tx: Transaction) -> tuple[Cursor, list[Row]]:
            position = position_of(tx, issuer_id)  # before the rows: see above
            begin = _begin(position, since)
            return position, tx.all("pictures_since", issuer_id=issuer_id, since=begin, most=limit + 1)

        position, rows = await self._db.read(work)
        taken = rows[: _how_many(rows, limit)]
        pictures, last = [bytes(picture) for _, picture in taken], taken[-1][0] if taken else 0
        if len(taken) < len(rows):
            return Page(pictures, msgspec.structs.replace(position, number=last), more=True)
        return Page(pictures, msgspec.structs.replace(position, number=max(last, position.number)), more=False)

    # ── waiting ──

    async def wait(self, issuer_id: str, number: int, seconds: float) -> bool:
        """Wait until an issuer's newest change number is another one; return False if that took too long.

        Also returns False, at once, where too many wait and after `release`.
        """
        waiters = self._waiters.get(issuer_id, {})
        if self._released or self._count >= MAX_WAITERS or len(waiters) >= MAX_WAITERS_OF_ISSUER:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(issuer_id, {})[future] = number
        self._count += 1
        self._unasked = True  # what was committed since this reader read may have been seen before it came here
        self._lanes.wake()
        try:
            await asyncio.wait([future], timeout=seconds)
            return future.done() and not self._released
        finally:
            self._leave(issuer_id, future)

    def _leave(self, issuer_id: str, future: "asyncio.Future[None]") -> None:
        self._count -= 1
        waiters = self._waiters[issuer_id]
        del waiters[future]
        if not waiters:
            del self._waiters[issuer_id]

    async def _watch(self) -> None:
        """Look for changes for as long as somebody waits: one task a process, however many wait."""
        while self._waiters:
            began = time.perf_counter()
            try:
                await self.run_once()
            except CardtrailError as error:
                _log.error("background", work=self.run_once.__qualname__, error=str(error))
            except Exception:  # noqa: BLE001 -- whoever waits gets an answer when the time is up
                _log.exception("background", work=self.run_once.__qualname__)
            pause = max(ASK_EVERY, ASK_SHARE * (time.perf_counter() - began))
            await asyncio.sleep(min(pause, ASK_AGAIN))

    async def run_once(self) -> int:
        """Ask once for all who wait whether their issuers changed; return how many were woken.

        Raises StoreUnavailable; then the question is still open, and asked again next time.
        """
        self._unasked |= self._moved()
        if not self._unasked or not self._waiters:
            return 0
        asked = {issuer_id: dict(waiters) for issuer_id, waiters in self._waiters.items()}
        self._unasked = False  # before the question: who comes while it is out sets it again
        try:
            rows = await self._db.read(lambda tx: tx.each("counters_of_issuers", [(each,) for each in sorted(asked)]))
        except BaseException:
            self._unasked = True
            raise
        newest: dict[str, int] = dict(rows)
        moved = [
            future
            for issuer_id, waiters in asked.items()
            for future, number in waiters.items()
            if newest.get(issuer_id, 0) != number and not future.done()
        ]
        for future in moved:
            future.set_result(None)
        return len(moved)

    def release(self) -> None:
        """End all waiting, now and from now on."""
        self._released = True
        for waiters in self._waiters.values():
            for future in waiters:
                if not future.done():
                    future.set_result(None)

    async def stop(self) -> None:
        """End all waiting, and the watcher with it."""
        self.release()
        await self._lanes.ended()


def _begin(position: Cursor, since: Cursor | None) -> int:
    """Return the change number after which to read. Raises CursorExpired."""
    if since is None:
        return 0
    if since.epoch != position.epoch:
        raise CursorExpired("since: the database was restored since this cursor was given; read from the beginning")
    if since.number > position.number:
        raise CursorExpired("since: this cursor is ahead of all changes, which were lost; read from the beginning")
    return since.number


def _how_many(rows: list[Row], limit: int) -> int:
    """Return how many of the rows fit into an answer."""
    sizes: Iterator[int] = accumulate(len(picture) for _, picture in rows[:limit])
    return max(sum(1 for _ in takewhile(lambda size: size <= MAX_PAGE_BYTES, sizes)), min(1, len(rows)))
