"""The day's ration of calls, kept in the mirror, so that neither a restart nor a second program gives it back."""

from cardtrail.db import Transaction
from cardtrail.errors import Refused
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.take import locked

DAY = 86_400_000_000


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
            row = tx.one("find_spent", issuer_id=self._issuer_id)
            due, sweep = (row[1], row[2]) if row is not None and row[0] == day else (0, 0)
            taken = max(0, min(calls, self._per_day - due - sweep))
            tx.run("put_spent", issuer_id=self._issuer_id, day=day, due=due, sweep=sweep + taken)
            return taken

        taken = await self._mirror.db.transact(work)
        if not taken:
            raise DayOver(f"the {self._per_day:,} calls of this day (UTC) are spent; go on tomorrow, or allow more")
        return taken
