"""How long cards usually dwell where they are: learned from the mirror's own history, with guesses to begin with.

What is learned is the time from one change of a card to the next, by what the card was in between: its *key*, made of
stage and shipment status. Both ends must have been told by notifications, with no stage left out between them: a gap
around a lost one says nothing. The hours in which such dwells end are counted too, so that ages are in active time.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from cardtrail.issuer.patience import FIRST, Plan, plan_of
from cardtrail.issuer.spread import BUCKETS, MOST, Guess, bucket_of, quantile_of, shares_of
from cardtrail.issuer.week import HOUR, HOURS, Week

MAX_KEYS: Final = 200
"""Most keys that are kept apart; statuses are open strings, so the rest share one."""
PRIOR_HOURS: Final = 120
"""How many observations the guess about the hours of the week counts as."""
OTHER: Final = "*"
"""The key of what was never seen."""
HELD: Final = "ON_HOLD"
UNHEARD: Final = ""
"""The key of a card that is expected and was never heard of."""

_EVERY_DAY = (1.0,) * 7
_WORKDAYS = (1.0, 1.0, 0.1, 0.1, 1.0, 1.0, 1.0)
_CARRIERS = (1.0, 1.0, 0.6, 0.1, 1.0, 1.0, 1.0)
"""How busy the days are, from Thursday on, the day on which 1970 began."""

GUESSES: Final[dict[str, tuple[Guess, tuple[float, ...]]]] = {
    UNHEARD: (Guess(1, 24), _EVERY_DAY),
    "CARD_PROD_REQUESTED/": (Guess(2, 24), _EVERY_DAY),
    "DATA_PREPARED/": (Guess(4, 48), _EVERY_DAY),
    "CARD_PROD_READY/": (Guess(24, 96), _WORKDAYS),
    "CARD_PROD_ONGOING/": (Guess(12, 72), _WORKDAYS),
    "CARD_PROD_EXCEPTION/": (Guess(24, 120), _WORKDAYS),
    "CARD_PROD_DONE/": (Guess(12, 48), _WORKDAYS),
    "CARD_PROD_DONE/-": (Guess(48, 240, ends=0.05), _EVERY_DAY),
    "CARD_SHIPPED/": (Guess(12, 72), _CARRIERS),
    "CARD_SHIPPED/-": (Guess(48, 240, ends=0.05), _CARRIERS),
    "CARD_SHIPPED/Pending": (Guess(12, 72), _CARRIERS),
    "CARD_SHIPPED/InfoReceived": (Guess(12, 72), _CARRIERS),
    "CARD_SHIPPED/InTransit": (Guess(24, 120), _CARRIERS),
    "CARD_SHIPPED/OutForDelivery": (Guess(6, 36), _CARRIERS),
    "CARD_SHIPPED/AttemptFail": (Guess(24, 96), _CARRIERS),
    "CARD_SHIPPED/AvailableForPickup": (Guess(48, 240), _CARRIERS),
    "CARD_SHIPPED/Exception": (Guess(72, 360), _CARRIERS),
    "CARD_SHIPPED/Expired": (Guess(120, 720), _CARRIERS),
    HELD: (Guess(48, 240), _WORKDAYS),
    OTHER: (Guess(24, 168), _EVERY_DAY),
}
"""Key -> what is expected before anything is learned, in active hours, and how busy the days are."""


class Counted(msgspec.Struct):
    """What was learned for one key: dwells by bucket, and their ends by hour of the week."""

    dwells: list[int]
    hours: list[int]

    def __post_init__(self) -> None:
        if len(self.dwells) != BUCKETS or len(self.hours) != HOURS:
            raise ValueError(f"{BUCKETS} buckets and {HOURS} hours expected")

    def fade(self) -> None:
        """Halve the counts when there are very many."""
        if sum(self.dwells) > MOST:
            self.dwells = [count // 2 for count in self.dwells]
            self.hours = [count // 2 for count in self.hours]


class Stay:
    """What is usual for a key, ready for use; plans are worked out when they are first asked for."""

    __slots__ = ("_patience", "_plans", "shares", "week")

    def __init__(self, guess: Guess, days: tuple[float, ...], counted: Counted, patience: float) -> None:
        each = PRIOR_HOURS / 24 / sum(days)
        self.week = Week([each * days[hour // 24] + count for hour, count in enumerate(counted.hours)])
        self.shares = shares_of(counted.dwells, guess)
        self._patience = patience
        self._plans: dict[int, Plan] = {}

    def plan(self, hour: int) -> Plan:
        """Return the plan of asks for a card whose last change was in an hour of the week."""
        plan = self._plans.get(hour)
        if plan is None:
            plan = self._plans[hour] = plan_of(self.shares, self.week.weights, hour, self._patience)
        return plan

    def quantile(self, share: float) -> int:
        """Return the active µs within which a share of all dwells end."""
        return quantile_of(self.shares, share)


class Dwell:
    """Usual dwell times by key. `learn` counts; `settle` makes effective what was counted since."""

    __slots__ = ("_counted", "patience", "stays")

    def __init__(self, counted: dict[str, Counted] | None = None, patience: float = FIRST) -> None:
        self._counted = counted or {}
        self.settle(patience)

    def stay(self, key: str) -> Stay:
        """Return what is usual for a key; keys never seen share one."""
        return self.stays.get(key) or self.stays[OTHER]

    def learn(self, key: str, since: int, until: int) -> None:
        """Count one dwell: the change that began it was told at `since`, the one that ended it at `until`, µs."""
        counted = self._counted_for(key)
        if counted is not None:
            week = self.stay(key).week
            counted.dwells[bucket_of(max(0, week.active(until) - week.active(since)))] += 1
            counted.hours[until // HOUR % HOURS] += 1

    def learn_silent(self, key: str) -> None:
        """Count a dwell that has not ended for so long that nobody asks any more."""
        counted = self._counted_for(key)
        if counted is not None:
            counted.dwells[-1] += 1

    def _counted_for(self, key: str) -> Counted | None:
        """Return where to count a key; None where there are too many keys already."""
        counted = self._counted.get(key)
        if counted is None and (len(self._counted) < MAX_KEYS or key in GUESSES):
            counted = self._counted[key] = _nothing()
        return counted

    def settle(self, patience: float) -> None:
        """Work out anew what is usual: a fraction of a ms a key. `patience` in hours squared, see `patience`."""
        self.patience = patience
        for counted in self._counted.values():
            counted.fade()
        self.stays = {key: self._stay(key) for key in {**GUESSES, **self._counted}}

    def _stay(self, key: str) -> Stay:
        guess, days = GUESSES.get(key, GUESSES[OTHER])
        return Stay(guess, days, self._counted.get(key) or _nothing(), self.patience)

    # ── keeping it ──

    def rows(self) -> list[tuple[str, bytes]]:
        """Return what was learned as (key, JSON)."""
        return [(key, msgspec.json.encode(counted)) for key, counted in self._counted.items()]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, bytes]], patience: float = FIRST) -> "Dwell":
        """Return what `rows` gave. Raises msgspec.ValidationError for anything else."""
        return cls({key: msgspec.json.decode(row, type=Counted) for key, row in rows}, patience)


def _nothing() -> Counted:
    return Counted([0] * BUCKETS, [0] * HOURS)
