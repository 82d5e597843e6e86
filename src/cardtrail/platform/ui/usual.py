"""How long orders usually dwell at a place, learned from all that left it, and from when on one is stuck there.

Dwells are compared with those of the same place, site, channel and carrier; where too few have left, with those of the
place as a whole; where there are too few of these, too, a guess is used that is said to be one. What people have set
goes before what was learned.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from cardtrail.core.business import QUARTERS
from cardtrail.core.place import IN_POST, ON_HOLD
from cardtrail.db import Row, Transaction

ENOUGH: Final = 30
"""Dwells from which on a usual time is learned."""
RARE: Final = 0.99
"""An order that has dwelt longer than this share of all others is looked at."""
PATIENCE: Final = QUARTERS
"""How much longer it must have been there, in quarters of a business day, so that a close finish is no alarm."""
GUESS: Final = 5 * QUARTERS
GUESSES: Final = {ON_HOLD: 5 * QUARTERS, "CARD_SHIPPED": 4 * QUARTERS} | dict.fromkeys(IN_POST, 6 * QUARTERS)
"""From when on an order is stuck where nothing was learned, in quarters of a business day."""


class Group(msgspec.Struct, frozen=True, order=True):
    """What a dwell is learned of; empty members stand for what was not told."""

    place: str
    site: str = ""
    channel: str = ""
    carrier: str = ""


class Basis(StrEnum):
    """Where a usual time comes from."""

    SET = "set by a person"
    LEARNED = "learned of this group"
    PLACE = "learned of this place"
    GUESS = "a guess: too few have left yet"


class Usual(msgspec.Struct, frozen=True):
    """The usual dwell of a group, and from when on an order is stuck there; in quarters of a business day.

    `middle` is None where nothing was learned; `left` is of how many dwells it was.
    """

    group: Group
    basis: Basis
    limit: int
    middle: int | None = None
    left: int = 0


class Dwells:
    """All dwells of one issuer, and what people have set."""

    def __init__(self, rows: Iterable[Row], settings: Iterable[Row]) -> None:
        self._groups: dict[Group, Counter[int]] = {}
        self._places: dict[str, Counter[int]] = {}
        for place, site, channel, carrier, value, count in rows:
            self._groups.setdefault(Group(place, site, channel, carrier), Counter())[value] += count
            self._places.setdefault(place, Counter())[value] += count
        self._set = {Group(*row[:4]): int(row[4]) for row in settings}

    def usual(self, group: Group) -> Usual:
        """Return what is usual for a group."""
        own = self._groups.get(group, Counter())
        told = own if own.total() >= ENOUGH else self._places.get(group.place, Counter())
        learned = told if told.total() >= ENOUGH else Counter[int]()
        middle = share_of(learned, 0.5) if learned else None
        given = self._given(group)
        if given is not None:
            return Usual(group, Basis.SET, given, middle, learned.total())
        if not learned:
            return Usual(group, Basis.GUESS, GUESSES.get(group.place, GUESS), None, own.total())
        basis = Basis.LEARNED if told is own else Basis.PLACE
        return Usual(group, basis, share_of(learned, RARE) + PATIENCE, middle, learned.total())

    def _given(self, group: Group) -> int | None:
        """Return what people have set for a group: the setting that names most of it."""
        fitting = [
            (sum(map(bool, (each.site, each.channel, each.carrier))), quarters)
            for each, quarters in self._set.items()
            if each.place == group.place and _covers(each, group)
        ]
        return max(fitting)[1] if fitting else None


def _covers(setting: Group, group: Group) -> bool:
    pairs = ((setting.site, group.site), (setting.channel, group.channel), (setting.carrier, group.carrier))
    return all(wanted in ("", told) for wanted, told in pairs)


def share_of(counts: Mapping[int, int], share: float) -> int:
    """Return the smallest value that at least this share of all are at or below; of an empty count 0."""
    left = share * sum(counts.values())
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return max(counts, default=0)


def dwells_of(tx: Transaction, issuer_id: str) -> Dwells:
    """Read what one issuer's orders have dwelt."""
    return Dwells(tx.all("dwells", issuer_id=issuer_id), tx.all("thresholds", issuer_id=issuer_id))
