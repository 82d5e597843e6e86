"""The overview of a mirror: where the issuer's cards are as it has them, and how far that can be believed."""

import msgspec

from cardtrail.core.place import ON_HOLD, OTHER
from cardtrail.db import Transaction
from cardtrail.issuer import health
from cardtrail.issuer.drift import Share, shares_by_day
from cardtrail.issuer.health import Health
from cardtrail.issuer.standing import DAY, Told

RANGES = {"7d": (7, 1), "30d": (30, 1), "365d": (364, 14)}
"""Ranges of time that can be looked at: their days, and the days that are counted together."""
UNCOUNTED = (ON_HOLD, OTHER)
"""Places of which it is not counted how many orders came."""
_REACHED = frozenset({Told.NOTIFIED, Told.ANSWERED, Told.INFERRED})


class Overview(msgspec.Struct, frozen=True):
    """What the overview shows; `columns` are counts by place, of the `days` since 1970; `told` is how they were told.

    Instants are wall µs.
    """

    here: dict[str, int]
    days: tuple[int, ...]
    columns: dict[str, tuple[int, ...]]
    told: Share
    health: Health
    heard_at: int | None
    today: int

    @property
    def held(self) -> bool | None:
        """Whether the bound that was stated today has held; None where none was."""
        health = self.health
        if health.bound is None or health.worst is None or health.bound_day != self.today:
            return None
        return health.worst <= health.bound


def overview_of(tx: Transaction, issuer_id: str, now: int, name: str, limit: int) -> Overview:
    """Read the overview of a mirror at `now` over one of the RANGES; `limit` is that of the silence alarm; both µs."""
    span, each = RANGES[name]
    last = now // DAY // each
    first = last - span // each + 1
    tallies = tx.all("list_tallies", issuer_id=issuer_id, day=first * each)
    columns: dict[str, list[int]] = {}
    for day, word, told, count in tallies:
        if told in _REACHED and day // each <= last:
            columns.setdefault(word, [0] * (last - first + 1))[day // each - first] += count
    row = tx.one("find_issuer", issuer_id=issuer_id)
    return Overview(
        here={place: count for place, count in tx.all("standing", issuer_id=issuer_id) if count},
        days=tuple(range(first * each, (last + 1) * each, each)),
        columns={word: tuple(counts) for word, counts in columns.items()},
        told=shares_by_day(tallies)[1],
        health=health.read(tx, issuer_id, now, limit),
        heard_at=row[4] if row else None,
        today=now // DAY,
    )  # fmt: skip
