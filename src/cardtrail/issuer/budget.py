"""How many calls may be made now, and for what: so many a second, so many a day, and a share kept for the sweep.

What is left of the day is spread over what is left of it, so that the budget is not gone by the morning, and calls that
a quiet night left over are there for a busy afternoon. The sweep's share is kept for it as long as it has cards, so
that its bound holds whatever else is due. Of the rest, cards that are due come first, then last looks; what nobody
needs goes to the sweep as well. Days are UTC days. Time is an argument, wall µs.

The budget also finds the patience (issuer/patience.py) at which the cards that are due need about as many calls as
there are: less patience wherever calls are left over, more where cards have to wait. It goes by whole days and looks
at a week, since there are fewer changes at week-ends.
"""

from math import ceil
from typing import Final

import msgspec

from cardtrail.core.bucket import Bucket
from cardtrail.issuer.patience import FIRST, tuned

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
SWEEP_SHARE: Final = 0.2
"""The share of the calls that is kept for the sweep."""
DUE_SHARE: Final = 0.7
"""The share of the calls that cards that are due should need on average; the rest is for last looks, and for peaks."""
SWEEP_AFTER: Final = DAY
"""The sweep leaves alone for so long what was told or asked, µs."""
BURST: Final = 10
"""So many seconds' worth of calls can be made at once after a pause."""
MOST: Final = 100
"""Most calls that are granted at once."""
SMOOTHING: Final = 1 / 7
"""How much of a day's need goes into what is taken for usual."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server stands, or its owner allows: calls a second at most, and calls a day.

    Raises ValueError for what is no limit.
    """

    per_second: float
    per_day: int
    sweep_share: float = SWEEP_SHARE

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.per_day > 0 and 0 < self.sweep_share <= 1):
            raise ValueError("calls per second and per day are above 0, the sweep's share is above 0 and at most 1")

    @property
    def daily(self) -> float:
        """Calls that a day can hold."""
        return min(self.per_second * DAY / SECOND, float(self.per_day))


class Usage(msgspec.Struct, frozen=True):
    """What has been used of a day, counted from 1970, by purpose, and what was learned of the days before.

    Stored, so that a restart does not give the calls back. `since`: the first day, of which only a part was seen;
    `usual`: how many calls a day the due cards need, 0 while it is not known; `patience` in hours squared.
    """

    day: int = 0
    since: int = 0
    due: int = 0
    looks: int = 0
    sweep: int = 0
    usual: float = 0.0
    patience: float = FIRST

    @property
    def calls(self) -> int:
        """Calls of this day so far."""
        return self.due + self.looks + self.sweep


class Grant(msgspec.Struct, frozen=True):
    """How many cards may be asked now for each purpose; where none may, the µs until one may."""

    due: int = 0
    looks: int = 0
    sweep: int = 0
    wait: int = 0

    @property
    def calls(self) -> int:
        """How many in all."""
        return self.due + self.looks + self.sweep


class Budget:
    """Grants calls. What it grants counts as used at once: a crash may waste calls, but never overspends."""

    __slots__ = ("_bucket", "_credit", "limits", "usage")

    def __init__(self, limits: Limits, usage: Usage | None = None) -> None:
        self.limits = limits
        self.usage = usage or Usage()
        self._bucket = Bucket(limits.per_second, 1.0)
        self._credit = 0.0

    def grant(self, now: int, *, due: int = 0, looks: int = 0, sweep: int = 0) -> Grant:
        """Share out calls between so many cards that are due, want a last look, or could be swept."""
        self._turn(now, due)
        usage = self.usage
        left, rest = self.limits.per_day - usage.calls, DAY - now % DAY
        wanted = min(MOST, due + looks + sweep)
        if wanted == 0 or left <= 0:
            return Grant(wait=rest if wanted else 0)
        count = self._take(now / SECOND, min(wanted, left), min(self.limits.per_second, left * SECOND / rest))
        if count == 0:
            return Grant(wait=ceil(self._bucket.wait(now / SECOND) * SECOND))
        grant = self._shared(count, due, looks, sweep)
        self.usage = msgspec.structs.replace(
            usage, due=usage.due + grant.due, looks=usage.looks + grant.looks, sweep=usage.sweep + grant.sweep
        )
        return grant

    def _take(self, now: float, wanted: int, rate: float) -> int:
        """Take up to so many tokens at the rate that the rest of the day allows; `now` in s."""
        bucket = self._bucket
        bucket.set_rate(rate, max(1.0, rate * BURST))
        bucket.due = min(bucket.due, now + bucket.room + bucket.interval)  # a clock put back does not stop us
        count = 0
        while count < wanted and not bucket.take(now):
            count += 1
        return count

    def _shared(self, count: int, due: int, looks: int, sweep: int) -> Grant:
        """Keep the sweep's share, to the call over time; it saves up no more than a round's worth."""
        credit = min(self._credit + count * self.limits.sweep_share, count + 1.0)
        free = count - min(sweep, int(credit), count)
        asked = min(due, free)
        looked = min(looks, free - asked)
        swept = count - asked - looked
        self._credit = max(0.0, credit - swept)
        return Grant(asked, looked, swept)

    def _turn(self, now: int, waiting: int) -> None:
        """Begin a new day, if it is one, with a patience that the need of the old one suggests."""
        day, usage = now // DAY, self.usage
        if day <= usage.day:
            return
        patience, usual, since = usage.patience, usage.usual, usage.since or day
        if usage.day > usage.since:
            need = usage.due + waiting
            usual += (need - usual) * (SMOOTHING if usual else 1.0)
            patience, usual = tuned(patience, usual, DUE_SHARE * self.limits.daily)
        self.usage = Usage(day, since, usual=usual, patience=patience)


def bound_of(open_cards: int, limits: Limits) -> int:
    """Return how long an open card can stay wrong at most, µs, if the server answers.

    A card joins the sweep's line a while after it was told of or asked for, and all others may stand before it.
    """
    return SWEEP_AFTER + ceil(open_cards / (limits.daily * limits.sweep_share) * DAY)
