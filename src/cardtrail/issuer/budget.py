"""How many calls may be made now, and for what: so many a second, so many a day, and a share kept for the sweep.

What is left of the day is spread over what is left of it, so that the budget is not gone by the morning, and calls that
were not needed in a quiet night are there for a busy afternoon. A fixed share goes to the sweep as long as it has
cards, so that its bound holds whatever else is due; what either side leaves over is the other's. Days are UTC days.
Time is an argument: wall µs.
"""

from math import ceil
from typing import Final

import msgspec

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
SWEEP_SHARE: Final = 0.5
"""The share of the calls that is kept for the sweep."""
BURST: Final = 10
"""So many seconds' worth of calls can be made at once after a pause."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server, or the contract with whoever runs it, allows: calls a second at most, and calls a day."""

    per_second: float
    per_day: int
    sweep_share: float = SWEEP_SHARE

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.per_day > 0 and 0 <= self.sweep_share <= 1):
            raise ValueError("calls per second and per day are above 0, the sweep's share is from 0 to 1")

    @property
    def average(self) -> float:
        """Calls a second, over a whole day."""
        return min(self.per_second, self.per_day * SECOND / DAY)


class Usage(msgspec.Struct, frozen=True):
    """What has been used of a day, counted from 1970; stored, so that a restart does not give it back."""

    day: int = 0
    due: int = 0
    sweep: int = 0


class Grant(msgspec.Struct, frozen=True):
    """How many due cards and how many of the sweep may be asked now; if none, µs until one may."""

    due: int
    sweep: int
    wait: int = 0


class Budget:
    """Grants calls. What it grants counts as used at once: a crash may waste calls, but never overspends."""

    __slots__ = ("_credit", "_full_at", "limits", "usage")

    def __init__(self, limits: Limits, usage: Usage | None = None) -> None:
        self.limits = limits
        self.usage = usage or Usage()
        self._full_at = 0.0
        self._credit = 0.0

    def grant(self, now: int, due: int, sweep: int, most: int = 100) -> Grant:
        """Share out up to `most` calls between `due` cards that are due and `sweep` that the sweep could take."""
        day, into = divmod(now, DAY)
        if day != self.usage.day:
            self.usage = Usage(day)
        left = self.limits.per_day - self.usage.due - self.usage.sweep
        if left <= 0:
            return Grant(0, 0, DAY - into)
        interval = max(SECOND / self.limits.per_second, (DAY - into) / left)
        count = self._take(now, min(most, left, due + sweep), interval)
        if count == 0:
            return Grant(0, 0, max(1, ceil(self._full_at - now - self._room(interval))))
        return self._shared(count, due, sweep)

    def _take(self, now: int, wanted: int, interval: float) -> int:
        """Take tokens off a bucket that is full again at `_full_at`."""
        self._full_at = max(self._full_at, float(now))
        room = self._room(interval) + interval / 2  # half a token, so that rounding never costs a whole one
        count = max(0, min(wanted, int((now + room - self._full_at) / interval + 1)))
        self._full_at += count * interval
        return count

    def _room(self, interval: float) -> float:
        """Return how far ahead of now the bucket may be, µs, for another token."""
        return max(0.0, BURST * SECOND - interval)

    def _shared(self, count: int, due: int, sweep: int) -> Grant:
        """Keep the sweep's share, to the call over time; the credit never grows beyond one round's worth."""
        self._credit = min(self._credit + count * self.limits.sweep_share, float(count) + 1.0)
        kept = min(sweep, int(self._credit), count)
        asked = min(due, count - kept)
        swept = count - asked
        self._credit = max(0.0, self._credit - swept)
        self.usage = Usage(self.usage.day, self.usage.due + asked, self.usage.sweep + swept)
        return Grant(asked, swept)
