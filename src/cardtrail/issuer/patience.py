"""When asking pays: how long to leave a silent card alone, by how long it has been silent.

Theory
------
A card is silent because nothing has happened, or because a notification was lost. Let `F(age)` be the share of cards
whose next change comes by that age, and let a share `LOST` of notifications get lost. A card known to be right at age
`a` and silent until `a + s` is wrong with the chance

    risk(s) = LOST * g / (1 - g + LOST * g),   g = (F(a + s) - F(a)) / (1 - F(a))

since of the `g` that changed only the lost ones are still silent. Waiting costs the time for which the mirror is wrong,
the integral of the risk; asking costs a call. So a card is asked when that integral reaches the *patience*: the wrong
time, in µs, that one call is worth. That puts the calls where changes are likely and news is late, and nowhere else:
a card in a stage that never ends so soon is left alone, one past its usual time is nearly certain to be wrong and
asked at once, and an answer that nothing changed starts the reckoning again from that age, with longer and longer
waits in the tail.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

from cardtrail.issuer.spread import BOUNDS, MINUTE

LOST: Final = 0.01
"""The share of notifications taken to get lost; only its order of magnitude matters."""
SHORTEST: Final = 5 * MINUTE
"""No card is asked again sooner, µs."""
LONGEST: Final = 30 * 1440 * MINUTE
"""No wait is longer, µs."""


def waits_of(shares: Sequence[float], patience: int) -> tuple[int, ...]:
    """Return for each bucket of ages, µs, how long to wait before asking a card known to be right at that age."""
    ages = (0, *BOUNDS)
    return tuple(_wait(shares, index, patience) for index in range(len(ages)))


def _wait(shares: Sequence[float], index: int, patience: int) -> int:
    """Walk from bound to bound, adding up the wrong time, until it reaches the patience."""
    base = shares[index - 1] if index else 0.0
    age = BOUNDS[index - 1] if index else 0
    wrong, waited, risk = 0.0, 0, 0.0
    for bound, share in zip(BOUNDS[index:], shares[index:], strict=True):
        gone = (share - base) / (1.0 - base)
        later = LOST * gone / (1.0 - gone + LOST * gone)
        step = bound - age - waited
        more = (risk + later) / 2 * step
        if wrong + more >= patience:
            return _clamped(waited + _within(risk, (later - risk) / step, patience - wrong))
        wrong, waited, risk = wrong + more, waited + step, later
    return LONGEST


def _within(risk: float, slope: float, left: float) -> int:
    """Return after how long a risk that rises steadily has added up to what is left."""
    if slope <= 0.0:
        return round(left / risk)
    return round((sqrt(risk * risk + 2.0 * slope * left) - risk) / slope)


def _clamped(wait: int) -> int:
    return min(max(wait, SHORTEST), LONGEST)
