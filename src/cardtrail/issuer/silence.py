"""The silence alarm: whether nothing was heard for longer than usual.

Messages come in bursts and rest at night and over weekends, so neither their rate nor their longest gap says much. What
is counted is in which hours anything came. For each hour of the week that gives how often it is silent, and the chance
that all hours since the last message are silent is the product of these. The alarm rings when that chance is so small
that it would ring without cause about once in some years.
"""

from collections.abc import Collection

import msgspec

HOUR = 3_600_000_000
WEEK = 168
WEEKS = 12
"""So many weeks are looked back on."""
LEARN_HOURS = 7 * 24
"""Hours of history before the alarm can ring: a whole week, or no weekend would have been seen."""
CHANCE = 1e-5
"""The alarm rings when so much silence has less than this chance."""
CALM = 0.5
"""What counts as one silent week more in every hour, so that no hour is ever taken for one that is never silent."""
MAX_SILENCE = 14 * 24
"""It rings after so many hours in any case, if anything was ever heard."""


class Silence(msgspec.Struct, frozen=True):
    """How long it has been silent, µs, whether that is unusual, and in words why."""

    since: int | None
    seconds: float
    rings: bool
    why: str


def silence_of(hours: Collection[int], heard_at: int | None, now: int, limit: int = 0) -> Silence:
    """Judge a silence. `hours` are those since 1970 in which something came; `limit` (µs) replaces what is usual."""
    if heard_at is None:
        return Silence(None, 0.0, rings=False, why="nothing was ever heard")
    silent = max(0, now - heard_at)
    seconds = silent / 1_000_000
    if limit:
        return Silence(heard_at, seconds, rings=silent > limit, why=f"the limit is {limit / HOUR:g} h")
    if silent > MAX_SILENCE * HOUR:
        return Silence(heard_at, seconds, rings=True, why=f"longer than {MAX_SILENCE} h")
    heard = set(hours)
    if not heard or now // HOUR - min(heard) < LEARN_HOURS:
        return Silence(heard_at, seconds, rings=False, why="it is still being learned what is usual")
    chance = _chance(heard, heard_at // HOUR + 1, now // HOUR)
    return Silence(heard_at, seconds, rings=chance < CHANCE, why=f"so much silence has a chance of {chance:.2g}")


def _chance(heard: set[int], begin: int, end: int) -> float:
    """Return the chance that every whole hour from `begin` to before `end` is silent."""
    first = max(min(heard), begin - WEEKS * WEEK)
    chance = 1.0
    for hour in range(begin, end):
        before = range(hour - WEEK, first - 1, -WEEK)
        weeks = len(before)
        silent = sum(1 for each in before if each not in heard and each < begin)
        chance *= (silent + CALM) / (weeks + CALM) if weeks else 1.0
    return chance
