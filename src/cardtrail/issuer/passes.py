"""Passes of the reconciler: which one is gone on with, which begins, and what is kept of it.

A pass knows the mirror's count from its beginning, so what it has asked for is in the mirror, and whoever goes on with
it asks for the rest. A full pass over the feed is owed from its beginning until its end: as long as it has not ended,
the cursor alone does not tell which cards are right.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from cardtrail.db import Transaction
from cardtrail.issuer.lease import check_fence
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.round import Heard
from cardtrail.issuer.take import locked

RESUME_WITHIN = 3_600_000_000
"""A pass that did nothing for longer than this is not gone on with, µs: what it asked for may have changed since."""
RATIONED = 36 * RESUME_WITHIN
"""The same for a pass that the calls of a day were not enough for: it is gone on with on the next."""

Kind = Literal["sweep", "feed"]
KINDS: tuple[Kind, ...] = ("sweep", "feed")
T = TypeVar("T")


class Pass(msgspec.Struct, frozen=True):
    """A pass: which cards it is about, and what it has done. `start_no` is the mirror's count when it began."""

    start_no: int
    kind: Kind
    done: Heard = Heard()


class Passes:
    """The passes over one issuer's mirror, for the holder of `fence`. Its methods raise LeaseLost, StoreUnavailable."""

    def __init__(self, mirror: AsyncMirror, issuer_id: str, fence: int) -> None:
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._fence = fence

    async def is_owed(self, kind: Kind) -> bool:
        """Return whether a pass of this kind has begun and not ended, however long ago."""
        row = await self._mirror.db.read(lambda tx: tx.one("open_pass", issuer_id=self._issuer_id, kind=kind))
        return row is not None

    async def begin(self, kind: Kind, *, again: bool = False) -> Pass:
        """Go on with the pass of this kind that rests, or begin one; `again` begins one in any case.

        One over the feed begins with the feed's beginning.
        """
        now = self._mirror.clock()

        def work(tx: Transaction, number: int) -> Pass:
            resting = None if again else _resting(tx, self._issuer_id, kind, now)
            return resting or _begun(tx, self._issuer_id, kind, number + 1, now)

        return await self._write(work)

    async def add(self, this: Pass | None, heard: Heard, within: int = RESUME_WITHIN) -> None:
        """Keep what a pass has done; without one, it belongs to none."""
        if this is None:
            return
        until = self._mirror.clock() + within
        await self._write(lambda tx, _: tx.run(
            "add_to_pass", issuer_id=self._issuer_id, start_no=this.start_no, calls=heard.calls, asked=heard.asked,
            unknown=heard.unknown, failed=heard.failed, repaired=heard.changed, until=until,
        ))  # fmt: skip

    async def end(self, kind: Kind) -> None:
        """The pass of this kind is at its end."""
        now = self._mirror.clock()
        await self._write(lambda tx, _: tx.run("end_pass", issuer_id=self._issuer_id, kind=kind, ended_at=now))

    async def _write(self, work: Callable[[Transaction, int], T]) -> T:
        def fenced(tx: Transaction) -> T:
            number = locked(tx, self._issuer_id)
            check_fence(tx, self._issuer_id, self._fence)
            return work(tx, number)

        return await self._mirror.db.transact(fenced)


def _resting(tx: Transaction, issuer_id: str, kind: Kind, now: int) -> Pass | None:
    row = tx.one("open_pass", issuer_id=issuer_id, kind=kind)
    if row is None or not row[2] - RESUME_WITHIN <= now <= row[3]:
        return None
    return Pass(row[0], kind, Heard(*row[4:9]))


def _begun(tx: Transaction, issuer_id: str, kind: Kind, start: int, now: int) -> Pass:
    """Begin a pass; `start` counts on, so that what was asked for in the pass before is not taken for asked in this."""
    for each in KINDS if kind == "feed" else (kind,):  # a full pass asks for whatever a sweep had left
        tx.run("end_pass", issuer_id=issuer_id, kind=each, ended_at=now)
    tx.run("set_number", issuer_id=issuer_id, number=start)
    if kind == "feed":
        tx.run("forget_cursor", issuer_id=issuer_id)
    tx.run("begin_pass", issuer_id=issuer_id, start_no=start, kind=kind, began_at=now, until=now + RESUME_WITHIN)
    return Pass(start, kind)
