"""How long cards usually dwell where they are: learned from the mirror's own history, with guesses to begin with.

What is learned is the time from one change of a card to the next, by what the card was in between: its *key*, made of
stage and shipment status. Both ends must have been told by notifications, with no stage left out between them: a gap
around a lost one says nothing. The hours in which such dwells end are counted too, so that ages are in active time.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from cardtrail.issuer.patience import waits_of
from cardtrail.issuer.spread import BUCKETS, DAY, MOST, Guess, bucket_of, shares_of
from cardtrail.issuer.week import HOUR, HOURS, Week

MAX_KEYS: Final = 200
"""Most keys that are kept apart; statuses are open strings, so the others share one."""
PATIENCE: Final = 30_000_000
"""The expected wrong time that one call is worth, µs, until the budget has had its say."""
PRIOR_HOURS: Final = 120.0
"""How many observations the guess about the hours of the week counts as."""
OTHER: Final = "*"
HELD: Final = "ON_HOLD"
UNHEARD: Final = ""

_EVERY_DAY = (1.0,) * 7
_WORKDAYS = (1.0, 1.0, 0.1, 0.1, 1.0, 1.0, 1.0)
_CARRIERS = (1.0, 1.0, 0.6, 0.1, 1.0, 1.0, 1.0)
"""How busy the days are, from Thursday on, the day on which 1970 began."""

GUESSES: Final[dict[str, tuple[Guess, tuple[float, ...]]]] = {
    UNHEARD: (Guess(1, 24), _EVERY_DAY),
    "CARD_PROD_REQUESTED/": (Guess(2, 24), _EVERY_DAY),
    "DATA_PREPARED/": (Guess(4, 48), _EVERY_DAY),
    "CARD_PROD_READY/": (Guess(24, 72), _WORKDAYS),
    "CARD_PROD_ONGOING/": (Guess(12, 72), _WORKDAYS),
    "CARD_PROD_EXCEPTION/": (Guess(24, 120), _WORKDAYS),
    "CARD_PROD_DONE/": (Guess(12, 48), _WORKDAYS),
    "CARD_SHIPPED/": (Guess(12, 72), _CARRIERS),
    "CARD_SHIPPED/-": (Guess(48, 240), _CARRIERS),
    "CARD_SHIPPED/Pending": (Guess(12, 72), _CARRIERS),
    "CARD_SHIPPED/InfoReceived": (Guess(12, 72), _CARRIERS),
    "CARD_SHIPPED/InTransit": (Guess(24, 120), _CARRIERS),
    "CARD_SHIPPED/OutForDelivery": (Guess(6, 36), _CARRIERS),
    "CARD_SHIPPED/AttemptFail": (Guess(24, 96), _CARRIERS),
    "CARD_SHIPPED/AvailableForPickup": (Guess(48, 240), _CARRIERS),
    "CARD_SHIPPED/Exception": (Guess(48, 240), _CARRIERS),
    "CARD_SHIPPED/Expired": (Guess(120, 720), _CARRIERS),
    HELD: (Guess(48, 240), _WORKDAYS),
    OTHER: (Guess(24, 168), _EVERY_DAY),
}
"""Key -> what is expected before anything is learned, in active hours, and how busy the days are."""


class Counted(msgspec.Struct):
    """What was learned for one key: dwells by bucket, and their ends by hour of the week."""

    dwells: list[int]
    hours: list[int]


class Stay(msgspec.Struct, frozen=True, gc=False):
    """A key made ready for use: its week, its shares and waits by bucket of age."""

    week: Week
    shares: list[float]
    waits: tuple[int, ...]


class Dwell:
    """Usual dwell times by key. `learn` counts; `settle` makes what was counted since then effective."""

    __slots__ = ("_counted", "patience", "stays")

    def __init__(self, counted: dict[str, Counted] | None = None, patience: int = PATIENCE) -> None:
        self._counted = counted or {}
        self.patience = patience
        self.stays: dict[str, Stay] = {}
        self.settle()

    def stay(self, key: str) -> Stay:
        """Return what is usual for a key; a key never seen shares one with all such."""
        return self.stays.get(key) or self.stays[OTHER]

    def learn(self, key: str, since: int, until: int) -> None:
        """Count one dwell, from the change that began it to the one that ended it, µs."""
        if until < since:
            return
        counted = self._counted.get(key)
        if counted is None:
            if len(self._counted) >= MAX_KEYS and key not in GUESSES:
                key = OTHER
            counted = self._counted.setdefault(key, Counted([0] * BUCKETS, [0] * HOURS))
        week = self.stay(key).week
        counted.dwells[bucket_of(week.active(until) - week.active(since))] += 1
        counted.hours[until // HOUR % HOURS] += 1

    def settle(self, patience: int | None = None) -> None:
        """Work out anew what is usual, a few ms a key; `patience` in µs."""
        self.patience = patience or self.patience
        for counted in self._counted.values():
            if sum(counted.dwells) > MOST:
                counted.dwells = [count // 2 for count in counted.dwells]
                counted.hours = [count // 2 for count in counted.hours]
        self.stays = {key: self._stay(key) for key in {*GUESSES, *self._counted}}

    def _stay(self, key: str) -> Stay:
        guess, days = GUESSES.get(key, GUESSES[OTHER])
        counted = self._counted.get(key)
        shares = shares_of(counted.dwells if counted else [0] * BUCKETS, guess)
        each = PRIOR_HOURS / 24 / sum(days)
        hours = counted.hours if counted else [0] * HOURS
        week = Week([each * days[hour // 24] + count for hour, count in enumerate(hours)])
        return Stay(week, shares, waits_of(shares, self.patience))

    # ── keeping it ──

    def rows(self) -> list[tuple[str, bytes]]:
        """Return what was learned as (key, JSON)."""
        return [(key, msgspec.json.encode(counted)) for key, counted in self._counted.items()]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, bytes]], patience: int = PATIENCE) -> "Dwell":
        """Return what `rows` gave. Raises msgspec.ValidationError for what it did not write."""
        return cls({key: msgspec.json.decode(row, type=Counted) for key, row in rows}, patience)


_ = DAY
