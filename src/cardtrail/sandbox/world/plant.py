"""What the cards of a site share: its capacity, its lots, and the parcels to branches. The one state of production."""

from collections import Counter

import msgspec

from cardtrail.core.order import SECOND
from cardtrail.sandbox.world.book import Site
from cardtrail.sandbox.world.hours import DAY, HOUR, day_of, open_at

CLOSING = HOUR
"""A parcel to a branch is closed so long before the site's day ends."""


class Parcel(msgspec.Struct, frozen=True):
    """A parcel to a branch: its number, its carrier, and when it leaves the site, µs."""

    number: str
    carrier: str
    leaves_at: int


class Plant:
    """The sites at work; cards ask in the order in which they come."""

    def __init__(self) -> None:
        self._begun = Counter[tuple[str, int]]()
        self._full: dict[tuple[str, int], int] = {}
        """For each day of a site without capacity left, a later one before which there is none either."""
        self._parcels: dict[tuple[str, int], Parcel] = {}

    def lot(self, name: str, site: Site, at: int) -> int:
        """Return when the card's lot begins: the first at or after `at` on a day with capacity left, which it takes."""
        opened = open_at(site, at)
        if _lot_at(site, opened) >= _end_of(site, opened):
            opened = open_at(site, (day_of(opened) + 1) * DAY)
        full = []
        while (key := (name, day_of(opened))) in self._full:
            full.append(key)
            opened = open_at(site, self._full[key] * DAY)
        self._full |= dict.fromkeys(full, key[1])  # so that a long queue is not walked through again by each card
        self._begun[key] += 1
        if self._begun[key] >= site.capacity:
            self._full[key] = key[1] + 1
        return _lot_at(site, opened)

    def branch(self, name: str, site: Site, at: int, fresh: tuple[str, str]) -> tuple[Parcel, bool]:
        """Return the parcel that leaves next at or after `at`, and whether the card is the first in it.

        `fresh` is the carrier and the number that it gets if it is.
        """
        leaves_at = open_at(site, at)
        closes = _end_of(site, leaves_at) - CLOSING
        if leaves_at > closes:
            closes = _end_of(site, open_at(site, (day_of(leaves_at) + 1) * DAY)) - CLOSING
        key = name, closes
        is_first = key not in self._parcels
        if is_first:
            self._parcels[key] = Parcel(fresh[1], fresh[0], closes)
        return self._parcels[key], is_first

    def close(self, number: str) -> None:
        """Let no more cards into a parcel: whoever comes next is the first in another."""
        self._parcels = {key: parcel for key, parcel in self._parcels.items() if parcel.number != number}


def _end_of(site: Site, at: int) -> int:
    """Return when the site closes on the day of an instant."""
    return day_of(at) * DAY + site.hours[1] * HOUR


def _lot_at(site: Site, at: int) -> int:
    """Return when the next lot would begin, counted from the site's opening."""
    opens = day_of(at) * DAY + site.hours[0] * HOUR
    lots = -((opens - at) // max(site.lot, SECOND))
    return opens + lots * max(site.lot, SECOND)
