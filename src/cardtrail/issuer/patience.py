"""When asking pays: the plan of asks for a card that stays silent.

Theory
------
A card is silent because nothing has happened, or because a notification was lost. Let `F(t)` be the share of cards
whose next change has come `t` after the last one, and let a share `LOST` of notifications get lost. Each ask costs a
call; until it is made, what was lost stays wrong. The price of being wrong is the *square* of the time, so that two
hours are worse than twice one hour: that keeps the worst times short at hardly any cost to the mean. The *patience*,
in hours squared, is the expected price of being wrong that one call is worth.

The best plan is found backwards, from the last point in time to the first. For a card that was known to be right at
`s` and is asked next at `t`, with `g = (F(t) - F(s)) / (1 - F(s))`,

    cost(s) = min over t of  patience * (1 - g + LOST * g)      the call, which is made only while the card is silent
                           + LOST * E[(t - change)^2; change in s..t]                    what was lost stays wrong
                           + (1 - g) * cost(t)                             if nothing had happened, the same again

So calls are made where changes are likely and news of them is late, and nowhere else. The chance of a change follows
the hours of the week (`F` is in active time), but what is wrong is wrong by the wall clock: a card that sites work on
by day is asked in the evening, when no more is to come and the night lies ahead, and not on a Sunday.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

from cardtrail.issuer.spread import AGES
from cardtrail.issuer.week import HOUR, HOURS

LOST: Final = 0.01
"""The share of notifications taken to get lost. The patience makes up for another one: only its magnitude matters."""
FIRST: Final = 2.0
"""The patience before anything is known, hours squared."""
LEAST: Final = 0.001
MOST: Final = 10_000.0
"""The least patience and the most, hours squared."""
ELASTICITY: Final = 0.4
"""Calls fall by this power of the patience: measured, see the benchmark of polling."""
STEPS: Final = (*(1,) * 24, *(2,) * 24, *(6,) * 16, *(24,) * 23)
"""The steps of a plan, hours: fine where nights matter, coarse later; thirty days in all."""
POINTS: Final = tuple(sum(STEPS[:count]) for count in range(len(STEPS) + 1))
"""The points in time of a plan, hours after the last change."""
LAST: Final = POINTS[-1]
_POINT: Final = (*(index for index, step in enumerate(STEPS) for _ in range(step)), len(STEPS))
"""For each whole hour of a plan the last point at or before it."""
BEYOND: Final = 240
"""How long to wait again and again after the end of the plan, hours."""
SHORTEST: Final = HOUR // 6
"""No card is asked again sooner, µs."""

Plan = tuple[int, ...]
"""For each point, when to ask a card next that was known to be right then; hours after the last change."""


def plan_of(shares: Sequence[float], weights: Sequence[float], hour: int, patience: float) -> Plan:
    """Return the plan for cards whose last change was in an hour of the week.

    `shares[i]` of all dwells end by `AGES[i]`; `weights[h]` is how busy an hour of the week is; `patience` in hours
    squared.
    """
    ended = _ended(shares, weights, hour)
    price = patience / LOST
    cost = price * (1.0 - ended[-1])  # all costs are for the cards that are still there, divided by LOST
    costs, asks = [cost], [LAST + BEYOND]
    for begin in range(len(STEPS) - 1, -1, -1):
        cost, ask = _best(ended, begin, price, costs)
        costs.append(cost)
        asks.append(ask)
    return tuple(reversed(asks))


def next_ask(plan: Plan, elapsed: int) -> int:
    """Return when to ask a card that was known to be right so long after its last change; both µs after that."""
    hours = elapsed // HOUR
    if hours >= LAST:
        return elapsed + BEYOND * HOUR
    return max(plan[_POINT[hours]] * HOUR, elapsed + SHORTEST)


def _best(ended: Sequence[float], begin: int, price: float, costs: Sequence[float]) -> tuple[float, int]:
    """Return the least cost from a point on, and when to ask. `costs` are those of the later points, the last first."""
    base = ended[begin]
    gone, wrong, square = 0.0, 0.0, 0.0
    best, ask = inf, LAST
    for end in range(begin + 1, len(ended)):
        step = STEPS[end - 1]
        later = ended[end] - base
        more = (gone + later) / 2 * step
        square += (2 * wrong + more) * step
        if square >= best:
            break
        gone, wrong = later, wrong + more
        cost = price * (1.0 - base - gone + LOST * gone) + square + costs[len(ended) - 1 - end]
        if cost < best:
            best, ask = cost, POINTS[end]
    return best, ask


def _ended(shares: Sequence[float], weights: Sequence[float], hour: int) -> list[float]:
    """Return the share of dwells that have ended at each point."""
    ended, age, bucket, last = [0.0], 0.0, 0, len(shares) - 1
    for begin, step in zip(POINTS, STEPS, strict=False):
        age += sum(weights[(hour + begin + part) % HOURS] for part in range(step)) * HOUR
        while bucket < last and AGES[bucket + 1] <= age:
            bucket += 1
        share = shares[bucket]
        if bucket < last:
            share += (shares[bucket + 1] - share) * (age - AGES[bucket]) / (AGES[bucket + 1] - AGES[bucket])
        ended.append(share)
    return ended


# ── finding it ───────────────────────────────────────────────────────────────────────────────────────────────


def tuned(patience: float, usual: float, target: float) -> tuple[float, float]:
    """Return a patience at which `target` calls a day are needed instead of `usual`, and how many it will need.

    It goes half the way, at most by a factor of 4: needs are only estimates, and cards keep their due times until
    something is learned of them.
    """
    ratio = max(usual, 1.0) / target
    factor = min(max(ratio ** (0.5 / ELASTICITY), 0.25), 4.0)
    better = min(max(patience * factor, LEAST), MOST)
    return better, usual * (better / patience) ** -ELASTICITY
