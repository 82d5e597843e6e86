"""When asking pays: how long to leave a silent card alone.

Theory
------
A card is silent because nothing has happened, or because a notification was lost. Let `F(age)` be the share of cards
whose next change comes by that age, and let a share `LOST` of notifications get lost. A card known to be right at age
`a` and silent until `b` is wrong with the chance

    risk = LOST * g / (1 - g + LOST * g),   g = (F(b) - F(a)) / (1 - F(a))

since of the share `g` that changed only the lost ones are still silent. Ages are in active time: at night and at the
week-end the risk hardly rises. But what is wrong stays wrong by the wall clock, so that the costs of a risk add up on
Sunday as well: a card that may have changed on Friday afternoon is asked on Friday evening.

What is added up is the expected *square* of the time that the mirror has been wrong: two hours are worse than twice one
hour. (Adding up the time itself gives shorter mean times and far longer worst ones for the same calls.) When the sum
reaches the *patience*, in hours squared, asking is worth a call. That puts the calls where changes are likely and news
is late: a card in a stage that never ends so soon is left alone, one past its usual time is nearly surely wrong and
asked at once, and an answer that nothing changed starts the sum again from that age, where less and less is to come.
"""

from collections.abc import Sequence
from typing import Final

from cardtrail.issuer.spread import AGES
from cardtrail.issuer.week import HOUR, HOURS

LOST: Final = 0.01
"""The share of notifications taken to get lost. The patience makes up for another one: only its magnitude matters."""
SHORTEST: Final = HOUR // 6
"""No card is asked again sooner, µs."""
LONGEST: Final = 30 * 24 * HOUR
"""No wait is longer, µs."""
STEPS: Final = (*(1,) * 12, *(3,) * 20, *(12,) * 54)
"""The steps in which costs are added up, hours; together `LONGEST`."""


def wait_of(shares: Sequence[float], weights: Sequence[float], hour: int, age: int, patience: float) -> int:
    """Return how long to wait, wall µs, before asking a card that is known to be right at an age, active µs.

    `shares[i]` of all dwells end by `AGES[i]`; `weights[h]` is how busy an hour of the week is, and it is now `hour`;
    `patience` in hours squared.
    """
    bucket = _bucket(shares, 0, age)
    base = shares[bucket] + _slope(shares, bucket) * (age - AGES[bucket])
    waited, risk, wrong, cost = 0, 0.0, 0.0, 0.0
    for step in STEPS:
        age += int(sum(weights[(hour + waited + part) % HOURS] for part in range(step)) * HOUR)
        bucket = _bucket(shares, bucket, age)
        gone = (shares[bucket] + _slope(shares, bucket) * (age - AGES[bucket]) - base) / (1.0 - base)
        later = LOST * gone / (1.0 - gone + LOST * gone)
        more = (risk + later) / 2 * step
        rise = (2 * wrong + more) * step
        if cost + rise >= patience:
            return max(int((waited + step * ((patience - cost) / rise) ** 0.5) * HOUR), SHORTEST)
        waited, risk, wrong, cost = waited + step, later, wrong + more, cost + rise
    return LONGEST


def _bucket(shares: Sequence[float], bucket: int, age: int) -> int:
    """Return the last bucket that begins at or before an age, from one that does."""
    last = len(shares) - 1
    while bucket < last and AGES[bucket + 1] <= age:
        bucket += 1
    return bucket


def _slope(shares: Sequence[float], bucket: int) -> float:
    """Return how fast the share grows inside a bucket, per µs; in the open last one it does not."""
    if bucket + 1 >= len(shares):
        return 0.0
    return (shares[bucket + 1] - shares[bucket]) / (AGES[bucket + 1] - AGES[bucket])
