"""How due dates were kept, by site: how many days after its promise each card was shipped."""

from collections import Counter

import msgspec

from cardtrail.core.order import SECOND
from cardtrail.db import Transaction
from cardtrail.platform.ui.usual import share_of

DAYS = 90
"""How far back it is looked."""
HOUR = 3_600 * SECOND
SHOWN = 5
"""Days late or early that have a bar of their own; more are put together."""


class Kept(msgspec.Struct, frozen=True):
    """How one site kept its promises: percent in time, days late in the middle and of the worst of 20."""

    site: str
    total: int
    kept: int
    middle: int
    worst: int
    bars: dict[str, int]


def promises_of(tx: Transaction, issuer_id: str, now: int) -> list[Kept]:
    """Read how an issuer's due dates were kept in the last DAYS before `now`, µs of domain time."""
    sites: dict[str, Counter[int]] = {}
    for site, late, count in tx.all("promises", issuer_id=issuer_id, since=now // HOUR - DAYS * 24):
        sites.setdefault(site, Counter())[late] += int(count)
    return [_kept(site, counts) for site, counts in sites.items()]


def _kept(site: str, counts: Counter[int]) -> Kept:
    total = counts.total()
    in_time = sum(count for late, count in counts.items() if late <= 0)
    return Kept(site, total, round(100 * in_time / total), share_of(counts, 0.5), share_of(counts, 0.95), _bars(counts))


def _bars(counts: Counter[int]) -> dict[str, int]:
    low, high = -SHOWN, SHOWN
    found = dict.fromkeys((_name(days) for days in range(low, high + 1)), 0)
    for late, count in counts.items():
        found[_name(max(low, min(high, late)))] += count
    return found


def _name(days: int) -> str:
    if days == 0:
        return "on the day"
    more = " or more" if abs(days) == SHOWN else ""
    return f"{abs(days)}{more} {'late' if days > 0 else 'early'}"
