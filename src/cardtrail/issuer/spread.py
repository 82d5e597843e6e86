"""How durations are spread: a histogram whose buckets grow by a quarter, and what is expected before anything is seen.

A guess is a log-normal distribution, given by its median and the time after which one in twenty is still waiting; it
counts as much as `GUESS` observations, so that what is learned outweighs it soon and never jumps. Durations are µs.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import erf, exp, log, sqrt
from typing import Final

import msgspec

MINUTE: Final = 60_000_000
DAY: Final = 1440 * MINUTE
BOUNDS: Final = tuple(round(MINUTE * 2 ** (step / 3)) for step in range(55))
"""Upper bounds of the buckets, µs: from a minute to 182 days in steps of a quarter. One more bucket is open."""
BUCKETS: Final = len(BOUNDS) + 1
GUESS: Final = 40.0
"""How many observations a guess counts as."""
MOST: Final = 20_000
"""When this many observations are kept, all are halved: what is usual may change."""
TAIL: Final = 0.002
"""What is always left for longer than ever seen: a parcel may be lost."""
_Z95 = 1.6449


class Guess(msgspec.Struct, frozen=True):
    """A log-normal guess: half take up to `median`, nineteen in twenty up to `late`, both in hours."""

    median: float
    late: float

    def cumulated(self) -> list[float]:
        """Return the share that lasts at most until each bound."""
        middle, width = log(self.median * 60 * MINUTE), log(self.late / self.median) / _Z95
        return [0.5 + 0.5 * erf((log(bound) - middle) / (width * sqrt(2))) for bound in BOUNDS]


def bucket_of(duration: int) -> int:
    """Return which bucket a duration falls into, 0 to `BUCKETS - 1`."""
    return bisect_right(BOUNDS, duration)


def shares_of(counts: Sequence[int], guess: Guess) -> list[float]:
    """Return the share that lasts at most until each bound, of what was counted and guessed; the last is below 1."""
    total = sum(counts) + GUESS
    shares, seen = [], 0
    for count, guessed in zip(counts, guess.cumulated(), strict=False):
        seen += count
        shares.append((seen + GUESS * guessed) / total * (1.0 - TAIL))
    return shares


def quantile_of(shares: Sequence[float], share: float) -> int:
    """Return the duration within which a share of all ends, 0 to 1; at most the last bound."""
    index = bisect_right(shares, share)
    if index >= len(BOUNDS):
        return BOUNDS[-1]
    low, below = (BOUNDS[index - 1], shares[index - 1]) if index else (0, 0.0)
    inside = (share - below) / (shares[index] - below)
    return round(low + (BOUNDS[index] - low) * inside)


__all__ = [
    "BOUNDS",
    "BUCKETS",
    "DAY",
    "GUESS",
    "MINUTE",
    "MOST",
    "TAIL",
    "Guess",
    "bucket_of",
    "quantile_of",
    "shares_of",
]
_ = exp
