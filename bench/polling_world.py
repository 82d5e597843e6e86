"""A made-up world of cards for the polling table: when each card changes, on calendars with nights and week-ends.

Everything here is ours to invent and on purpose not of the policy's own making: hard opening hours, one pick-up a day,
two peaks of deliveries, a heavy tail. All times are µs; the first day is a Monday.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import Final

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
BEGIN: Final = 2923 * 7 * DAY + 4 * DAY
"""Monday 2026-01-12, 00:00 UTC."""
_WEEK: Final = 7 * 1440
_DRAWS: Final = 4096

(
    REQUESTED, PREPARED, REJECTED, READY, ONGOING, HELD, TROUBLE, DONE, PLAIN, SHIPPED, INFO, TRANSIT, OUT, FAILED,
    PICKUP, STUCK, EXPIRED, DELIVERED, RETURNED, CANCELED,
) = range(20)  # fmt: skip
KINDS: Final = (
    ("CARD_PROD_REQUESTED", "", "PENDING"), ("DATA_PREPARED", "", "PENDING"), ("DATA_EXCEPTION", "", "FAILED"),
    ("CARD_PROD_READY", "", "PENDING"), ("CARD_PROD_ONGOING", "", "PENDING"), ("CARD_PROD_ONGOING", "", "PENDING"),
    ("CARD_PROD_EXCEPTION", "", "PENDING"), ("CARD_PROD_DONE", "", "PENDING"), ("CARD_SHIPPED", "", "SUCCESSFUL"),
    ("CARD_SHIPPED", "", "SUCCESSFUL"), ("CARD_SHIPPED", "InfoReceived", "SUCCESSFUL"),
    ("CARD_SHIPPED", "InTransit", "SUCCESSFUL"), ("CARD_SHIPPED", "OutForDelivery", "SUCCESSFUL"),
    ("CARD_SHIPPED", "AttemptFail", "SUCCESSFUL"), ("CARD_SHIPPED", "AvailableForPickup", "SUCCESSFUL"),
    ("CARD_SHIPPED", "Exception", "SUCCESSFUL"), ("CARD_SHIPPED", "Expired", "SUCCESSFUL"),
    ("CARD_SHIPPED", "Delivered", "SUCCESSFUL"), ("CARD_RETURNED", "Exception", "SUCCESSFUL"),
    ("CARD_PROD_CANCELED", "", "FAILED"),
)  # fmt: skip
"""Stage, shipment status and operation status by number."""
ENDS: Final = frozenset({REJECTED, DELIVERED, RETURNED, CANCELED})


class Calendar:
    """Opening minutes of a week; `later` adds working time to an instant, both in minutes from `BEGIN`."""

    def __init__(self, opens: Callable[[int, int], bool]) -> None:
        self.minutes = [m for m in range(_WEEK) if opens(m // 1440, m % 1440)]
        self.before = [0] * _WEEK
        count, opened = 0, set(self.minutes)
        for minute in range(_WEEK):
            self.before[minute] = count
            count += minute in opened

    def later(self, at: float, work: float) -> float:
        weeks, minute = divmod(int(at), _WEEK)
        more, index = divmod(self.before[minute] + int(work), len(self.minutes))
        return (weeks + more) * _WEEK + self.minutes[index] + (at % 1.0 + work) % 1.0


SITE: Final = Calendar(lambda day, minute: day < 5 and 300 <= minute < 1260)
CARRIER: Final = Calendar(lambda day, minute: day < 6 and not 120 <= minute < 240)
MORNING: Final = Calendar(lambda day, minute: day < 6 and 360 <= minute < 480)
ROUND: Final = Calendar(lambda day, minute: day < 6 and 480 <= minute < 1140)
PICKUPS: Final = Calendar(lambda day, minute: day < 5 and 960 <= minute < 990)
ALWAYS: Final = Calendar(lambda day, minute: True)  # noqa: ARG005 - a calendar is asked for day and minute


@dataclass
class World:
    """All changes of all cards in one line, card by card: `first[c]` to `first[c + 1]` are those of card `c`."""

    days: int
    at: array[int] = field(default_factory=lambda: array("q"))
    kind: array[int] = field(default_factory=lambda: array("B"))
    luck: array[float] = field(default_factory=lambda: array("f"))
    card: array[int] = field(default_factory=lambda: array("l"))
    first: array[int] = field(default_factory=lambda: array("l", [0]))
    due: array[int] = field(default_factory=lambda: array("H"))
    """Per card the day, from 1970, by which it should be shipped."""

    @property
    def cards(self) -> int:
        """How many there are."""
        return len(self.due)

    @property
    def end(self) -> int:
        """When the last day is over, µs."""
        return BEGIN + self.days * DAY


def world_of(cards: int, days: int, seed: int) -> World:
    """Make cards ordered evenly over all those days: half in a nightly file, half by day."""
    chance = Random(seed)
    world = World(days)
    teller = _Teller(chance)
    limit = days * 1440.0
    at, kind, luck, first, owner = world.at, world.kind, world.luck, world.first, world.card
    for card in range(cards):
        ordered = _ordered(chance, days)
        for minute, what in teller.story(ordered):
            if minute >= limit:
                break
            at.append(BEGIN + int(minute * MINUTE))
            kind.append(what)
            luck.append(chance.random())
            owner.append(card)
        first.append(len(at))
        world.due.append((BEGIN + int(SITE.later(ordered, 6 * 960) * MINUTE)) // DAY)
    return world


def _ordered(chance: Random, days: int) -> float:
    """Return the minute of an order: nightly files on workdays, the rest by day, fewer at week-ends."""
    while True:
        day = int(chance.random() * days)
        weekend = day % 7 >= 5
        if chance.random() < 0.5:
            if not weekend:
                return day * 1440 + 120 + chance.random() * 10
        elif not weekend or chance.random() < 0.4:
            return day * 1440 + 420 + chance.random() * 840


class _Teller:
    """Tells what becomes of a card, as (minute, kind)."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        normal = sorted(chance.gauss(0.0, 1.0) for _ in range(_DRAWS))
        self._normal = normal

    def _draw(self, hours: float, width: float) -> float:
        """Return a log-normal number of minutes; three in a thousand take ten times as long."""
        chance = self._chance.random
        minutes: float = hours * 60 * exp(width * self._normal[int(chance() * _DRAWS)])
        return minutes * 10 if chance() < 0.003 else minutes

    def story(self, at: float) -> list[tuple[float, int]]:
        told = [(at, REQUESTED)]
        fate = self._chance.random()
        at = ALWAYS.later(at, self._draw(1.0, 0.8))
        if fate < 0.005:
            return [*told, (at, REJECTED)]
        told.append((at, PREPARED))
        at = ALWAYS.later(at, self._draw(3.0, 0.7))
        if fate < 0.015:
            return [*told, (at, CANCELED)]
        told.append((at, READY))
        at = SITE.later(at, self._draw(18.0, 0.5))
        told.append((at, ONGOING))
        if fate < 0.025:
            at = self._detour(told, at, HELD if fate < 0.02 else TROUBLE)
        at = SITE.later(at, self._draw(8.0, 0.6))
        told.append((at, DONE))
        at = PICKUPS.later(SITE.later(at, self._draw(2.0, 0.6)), self._chance.random() * 30)
        if self._chance.random() < 0.2:
            return [*told, (at, PLAIN)]
        told.append((at, SHIPPED))
        return self._carried(told, at)

    def _detour(self, told: list[tuple[float, int]], at: float, what: int) -> float:
        at = SITE.later(at, self._draw(4.0, 0.5))
        told.append((at, what))
        at = SITE.later(at, self._draw(20.0, 0.7))
        told.append((at, ONGOING))
        return at

    def _carried(self, told: list[tuple[float, int]], at: float) -> list[tuple[float, int]]:
        chance = self._chance.random
        if chance() < 0.5:
            at = ALWAYS.later(at, self._draw(2.0, 0.5))
            told.append((at, INFO))
        at = CARRIER.later(at, self._draw(7.0, 0.5))
        told.append((at, TRANSIT))
        while chance() < 0.6:
            at = CARRIER.later(at, self._draw(14.0, 0.6))
            told.append((at, TRANSIT))
        fate = chance()
        if fate < 0.004:
            told.append((CARRIER.later(at, self._draw(40.0, 0.5)), STUCK))
            told.append((ALWAYS.later(told[-1][0], self._draw(24 * 12, 0.3)), RETURNED if fate < 0.002 else EXPIRED))
            return told
        at = MORNING.later(CARRIER.later(at, self._draw(10.0, 0.4)), chance() * 110)
        told.append((at, OUT))
        while chance() < 0.07:
            at = ROUND.later(at, chance() * 600)
            told.append((at, FAILED))
            if chance() < 0.4:
                at = ROUND.later(at, 200 + chance() * 300)
                told.append((at, PICKUP))
                told.append((ROUND.later(at, self._draw(20.0, 0.8)), DELIVERED))
                return told
            at = MORNING.later(at, chance() * 110)
            told.append((at, OUT))
        told.append((ROUND.later(at, 30 + self._draw(3.5, 0.5)), DELIVERED))
        return told


__all__ = ["BEGIN", "DAY", "ENDS", "HOUR", "KINDS", "MINUTE", "World", "world_of"]
