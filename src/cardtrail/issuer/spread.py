"""How durations are spread: a histogram whose buckets grow by a quarter, and what is expected before anything is seen.

A guess is a log-normal distribution, given by its median and the time after which one in twenty still lasts. It counts
as much as `GUESS` observations, so that what is learned outweighs it soon and nothing jumps. Durations are µs.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import erf, log, sqrt
from typing import Final

import msgspec

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
AGES: Final = (0, *(round(MINUTE * 2 ** (step / 3)) for step in range(55)))
"""Where the buckets begin, µs: at 0, then from a minute to 182 days in steps of a quarter. The last one is open."""
BUCKETS: Final = len(AGES)
GUESS: Final = 40.0
"""How many observations a guess counts as."""
MOST: Final = 20_000
"""When more observations than this have been counted, all are halved: what is usual may change."""
TAIL: Final = 0.002
"""What is always left for longer than ever seen: a parcel may be lost."""
_Z95: Final = 1.6449


class Guess(msgspec.Struct, frozen=True):
    """A log-normal guess: half last up to `median`, nineteen in twenty up to `late`, both in hours.

    `ends` is the share of which that is true; the others never end.
    """

    median: float
    late: float
    ends: float = 1.0

    def shares(self) -> list[float]:
        """Return the share that ends by the beginning of each bucket."""
        middle, width = log(self.median * HOUR), log(self.late / self.median) / _Z95 * sqrt(2)
        return [0.0, *(self.ends * (0.5 + 0.5 * erf((log(age) - middle) / width)) for age in AGES[1:])]


def bucket_of(duration: int) -> int:
    """Return which bucket a duration of 0 or more falls into."""
    return bisect_right(AGES, duration) - 1


def shares_of(counts: Sequence[int], guess: Guess) -> list[float]:
    """Return the share that ends by the beginning of each bucket, of what was counted and guessed: always below 1."""
    scale = (1.0 - TAIL) / (sum(counts) + GUESS)
    shares, ended = [], 0
    for count, guessed in zip(counts, guess.shares(), strict=True):
        shares.append((ended + GUESS * guessed) * scale)
        ended += count
    return shares


def quantile_of(shares: Sequence[float], share: float) -> int:
    """Return the duration within which a share of all ends, 0 to 1; at most where the last bucket begins."""
    bucket = bisect_right(shares, share) - 1
    if bucket + 1 >= BUCKETS:
        return AGES[-1]
    inside = (share - shares[bucket]) / (shares[bucket + 1] - shares[bucket])
    return round(AGES[bucket] + (AGES[bucket + 1] - AGES[bucket]) * inside)
