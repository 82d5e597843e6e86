"""The pretend bank's customers: so many cards under way, one after another, and never more orders than there may be."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from cardtrail.errors import Refused, SettingError
from cardtrail.sandbox import slots as module
from cardtrail.sandbox.slots import MAX_SLOTS, SHOWN, SLOTS, Slots
from cardtrail.sandbox.world.hours import DAY
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.play import Player
from tests.unit.sandbox.world.test_world import ISSUER, Heard, order, world_of

MOST = 3


class Full(Heard):
    """A platform that takes few orders of a card."""

    async def order(self, wishes: Sequence[Wish]) -> Sequence[Refused | None]:
        results: list[Refused | None] = []
        for wish in wishes:
            if sum(each.card_id == wish.card_id for each in self.wishes) >= MOST:
                results.append(Refused("a card takes no more"))
            else:
                results += await super().order([wish])
        return results


def play(slots_wanted: int, days: int, seed: int = 1) -> tuple[Slots, Heard]:
    async def run() -> tuple[Slots, Heard]:
        world, clock, heard = world_of(seed)
        slots = Slots(ISSUER, world, seed, slots_wanted)
        slots.begin()
        await Player(world, clock, heard).advance(days * DAY)
        return slots, heard

    return asyncio.run(run())


def test_the_first_card_is_ordered_again_and_the_others_are_followed_by_new_ones() -> None:
    slots, heard = play(SLOTS, 120)
    cards = [wish.card_id for wish in heard.wishes]
    assert cards[:SLOTS] == [f"card-demo-{number}" for number in range(1, SLOTS + 1)]
    assert cards.count("card-demo-1") > 2
    assert slots.cards[0] == "card-demo-1"
    assert len(slots.cards) == min(SHOWN, len(set(cards)))
    assert {wish.request_id.split("-")[0] for wish in heard.wishes[:SLOTS]} == {"sbx"}
    assert set(heard.world.stories) >= {"happy", "rework", "on-hold", "missed", "returned"}


def test_an_order_of_somebody_else_is_shown_and_not_followed_by_another() -> None:
    async def run() -> None:
        world, clock, heard = world_of()
        slots = Slots(ISSUER, world, 1, 0)
        slots.begin()
        await world.place(order("sbx-data-exception-1"))
        await Player(world, clock, heard).advance(30 * DAY)
        assert slots.cards == ["sbx-data-exception-1"]
        assert heard.wishes == []

    asyncio.run(run())


def test_a_card_of_which_no_more_orders_are_taken_is_followed_by_another() -> None:
    """The card of the curl stopped for ever after fifty orders, which a folder keeps from run to run."""

    async def run() -> tuple[Slots, Full]:
        world, clock, _ = world_of()
        full = Full(world)
        slots = Slots(ISSUER, world, 1, 2)
        slots.begin()
        assert slots.first == "card-demo-1"
        await Player(world, clock, full).advance(200 * DAY)
        return slots, full

    slots, full = asyncio.run(run())
    ordered = Counter(wish.card_id for wish in full.wishes)
    assert max(ordered.values()) == MOST
    assert ordered["card-demo-1"] == MOST
    assert slots.first not in ("card-demo-1", None)
    assert set(slots.cards[:2]) == set(slots._slots)
    assert full.world.refused > 0


def test_after_so_many_orders_the_bank_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ORDERS", 9)
    _, heard = play(SLOTS, 200)
    assert len([wish for wish in heard.wishes if not wish.request_id.startswith("sbx-happy-")]) <= 9


@pytest.mark.parametrize("count", [-1, MAX_SLOTS + 1])
def test_more_cards_at_once_need_a_simulation(count: int) -> None:
    world, _, _ = world_of()
    with pytest.raises(SettingError, match=r"cards: 0 to 1,000"):
        Slots(ISSUER, world, 1, count)
