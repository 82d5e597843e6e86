"""The pretend bank's customers: so many cards under way at once, each followed by another when its story has ended.

The first slot is the card of the printed curl: it is ordered again and again, so that there is always something to
see, and followed by a new card where the platform takes no more orders of it. The others go on with new cards.
"""

import time
from random import Random

from cardtrail.errors import SettingError
from cardtrail.sandbox.world.course import Course
from cardtrail.sandbox.world.hours import HOUR
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.world import World

SLOTS = 6
"""Cards under way at once where no number is asked for."""
MAX_SLOTS = 1_000
MAX_ORDERS = 20_000
"""Orders after which the bank rests for good, so that a sandbox that is left running does not fill the disk."""
SHOWN = 12
"""Most cards that are shown."""
REST = (12, 36)
"""From the end of a story to the next order, hours: from, to."""
_OPENING = ("happy", "happy", "rework", "on-hold", "missed", "returned")
"""The first story of each slot, so that every run shows them all."""


class Slots:
    """Orders cards of one issuer, and another whenever one has ended. `seed` decides how long it rests."""

    def __init__(self, issuer_id: str, world: World, seed: int, count: int = SLOTS) -> None:
        if not 0 <= count <= MAX_SLOTS:
            raise SettingError(f"cards: 0 to {MAX_SLOTS:,} expected; more at once need --days")
        self._issuer_id = issuer_id
        self._world = world
        self._chance = Random(f"{seed}|slots")  # noqa: S311 -- who orders when is no secret
        self._run = f"{time.time_ns() // 1_000_000:x}"
        self._orders = 0
        self._numbers = count
        self._slots = {card_id_of(number): number - 1 for number in range(1, count + 1)}

    def begin(self) -> None:
        """Order the first cards."""
        self._world.on_end = self._on_end
        self._world.on_refused = self._on_refused
        for card_id, slot in self._slots.items():
            self._wish(self._world.clock(), card_id, _OPENING[slot] if slot < len(_OPENING) else "")

    @property
    def cards(self) -> list[str]:
        """The cards to show: those of the slots, then those that others have ordered last."""
        others = [card for issuer, card in reversed(self._world.courses) if issuer == self._issuer_id]
        return list(dict.fromkeys([*self._slots, *others]))[:SHOWN]

    @property
    def first(self) -> str | None:
        """The card of the first slot; None where the bank orders none."""
        return next(iter(self._slots), None)

    def _on_end(self, course: Course, at: int) -> None:
        card_id = course.order.card_id
        if course.scenario.reorder or course.order.issuer_id != self._issuer_id or card_id not in self._slots:
            return  # ordered again anyway, or not one of ours
        self._follow(card_id, at, is_new=self._slots[card_id] > 0)

    def _on_refused(self, wish: Wish) -> None:
        """Go on with another card: of one that was there in earlier runs, too, no more orders may be taken."""
        if wish.card_id in self._slots:
            self._follow(wish.card_id, self._world.clock(), is_new=True)

    def _follow(self, card_id: str, at: int, *, is_new: bool) -> None:
        """Have the slot of a card that is done with at an instant order again, a new card or the same."""
        slot = self._slots.pop(card_id)
        if is_new:
            self._numbers += 1
            card_id = card_id_of(self._numbers)
        self._slots = dict(sorted([*self._slots.items(), (card_id, slot)], key=lambda each: each[1]))
        self._wish(at + round(self._chance.uniform(*REST) * HOUR), card_id)

    def _wish(self, at: int, card_id: str, story: str = "") -> None:
        self._orders += 1
        if self._orders <= MAX_ORDERS:
            name = f"{self._run}-{self._orders}"
            self._world.wish(at, Wish(card_id, f"sbx-{story}-{name}" if story else f"sandbox-{name}"))


def card_id_of(number: int) -> str:
    """Return the name of a demo card, counted from 1."""
    return f"card-demo-{number}"
