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
        self._parcels: dict[tuple[str, int], Parcel] = {}

    def lot(self, name: str, site: Site, at: int) -> int:
        """Return when the card's lot begins: the first at or after `at` on a day with capacity left, which it takes."""
        opened = open_at(site, at)
        moment = _lot_at(site, opened)
        while moment >= _end_of(site, opened) or self._begun[name, day_of(opened)] >= site.capacity:
            opened = open_at(site, (day_of(opened) + 1) * DAY)
            moment = _lot_at(site, opened)
        self._begun[name, day_of(opened)] += 1
        return moment

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


def _end_of(site: Site, at: int) -> int:
    """Return when the site closes on the day of an instant."""
    return day_of(at) * DAY + site.hours[1] * HOUR


def _lot_at(site: Site, at: int) -> int:
    """Return when the next lot would begin, counted from the site's opening."""
    opens = day_of(at) * DAY + site.hours[0] * HOUR
    lots = -((opens - at) // max(site.lot, SECOND))
    return opens + lots * max(site.lot, SECOND)
