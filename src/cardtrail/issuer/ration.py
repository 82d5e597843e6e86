"""The day's ration of calls, kept in the mirror, so that neither a restart nor a second program gives it back."""

import msgspec
from msgspec.structs import replace

from cardtrail.db import Transaction
from cardtrail.errors import Refused
from cardtrail.issuer.budget import DAY, Usage
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.take import locked

_decode = msgspec.json.Decoder(Usage).decode


def usage_of(tx: Transaction, issuer_id: str) -> Usage:
    """Return what was spent."""
    row = tx.one("find_spent", issuer_id=issuer_id)
    return Usage() if row is None else _decode(row[0])


def put_usage(tx: Transaction, issuer_id: str, usage: Usage) -> None:
    """Keep what was spent."""
    tx.run("put_spent", issuer_id=issuer_id, usage=msgspec.json.encode(usage))


class DayOver(Refused):
    """The calls that may be made in a day are made; days end at midnight UTC."""

    code = "DAY_OVER"


class Ration:
    """Gives out the calls of a day for one issuer, `per_day` at most."""

    def __init__(self, mirror: AsyncMirror, issuer_id: str, per_day: int) -> None:
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._per_day = per_day

    async def take(self, calls: int) -> int:
        """Take up to so many calls; return how many there were. Raises DayOver for none, or StoreUnavailable."""
        day = self._mirror.clock() // DAY

        def work(tx: Transaction) -> int:
            locked(tx, self._issuer_id)
            usage = usage_of(tx, self._issuer_id)
            if usage.day != day:
                usage = replace(usage, day=day, since=usage.since or day, due=0, looks=0, sweep=0)
            taken = max(0, min(calls, self._per_day - usage.calls))
            put_usage(tx, self._issuer_id, replace(usage, sweep=usage.sweep + taken))
            return taken

        taken = await self._mirror.db.transact(work)
        if not taken:
            raise DayOver(f"the {self._per_day:,} calls of this day (UTC) are spent; go on tomorrow, or allow more")
        return taken
