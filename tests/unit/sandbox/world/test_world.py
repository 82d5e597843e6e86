"""The world: orders in, events out, the same for the same seed, all of it on one agenda."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from cardtrail.core.order import SECOND
from cardtrail.errors import NotFound, Refused, StoreUnavailable
from cardtrail.platform.connector import CardOrder
from cardtrail.sandbox.wire.events import EventWire
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.world import world as module
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.hours import DAY
from cardtrail.sandbox.world.owed import MAX_BATCH, Wish
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.simulate import BEGIN
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES
from cardtrail.sandbox.world.verbs import Scan, Verb
from cardtrail.sandbox.world.world import OVERDUE, World

ISSUER = "DEMO-BANK1"


class Heard:
    """A platform that takes all, and places what the bank orders with the world at once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[Event] = []
        self.calls: list[int] = []
        self.wishes: list[Wish] = []

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        known = {each["eventId"] for each in self.events}
        self.events += events
        self.calls.append(len(events))
        return [{"result": "duplicate" if each["eventId"] in known else "accepted"} for each in events]

    async def order(self, wishes: Sequence[Wish]) -> Sequence[Refused | None]:
        for wish in wishes:
            self.wishes.append(wish)
            await self.world.place(order(wish.card_id, wish.request_id, len(self.wishes)))
        return [None] * len(wishes)


class Picky(Heard):
    """One that refuses all orders of a call, or each by itself."""

    def __init__(self, world: World, *, at_once: bool) -> None:
        super().__init__(world)
        self.at_once = at_once

    async def order(self, wishes: Sequence[Wish]) -> Sequence[Refused | None]:
        if self.at_once:
            raise Refused("no orders today")
        return [Refused("not this card")] * len(wishes)


class Away(Heard):
    """One that answers nothing, until it is there again."""

    is_away = True

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().report(events)

    async def order(self, wishes: Sequence[Wish]) -> Sequence[Refused | None]:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().order(wishes)


def order(card_id: str, request_id: str | None = None, number: int = 1) -> CardOrder:
    content = msgspec.json.encode({"issuerRequestId": request_id} if request_id else {})
    return CardOrder(operation_id=f"op-{number:032x}", issuer_id=ISSUER, card_id=card_id, content=content)


def world_of(seed: int = 1) -> tuple[World, VirtualClock, Heard]:
    clock = VirtualClock(BEGIN, AS_FAST_AS_IT_GOES)
    world = World(shipped_book(), seed, clock)
    return world, clock, Heard(world)


async def played(world: World, clock: VirtualClock, heard: Heard, days: int = 60) -> None:
    await Player(world, clock, heard).advance(days * DAY)


def test_an_order_becomes_events_and_an_order_that_comes_again_is_the_same() -> None:
    async def play() -> None:
        world, clock, heard = world_of()
        for _ in range(2):
            await world.place(order("sbx-happy-1"))
        assert world.stories == {"happy": 1}
        await played(world, clock, heard)
        assert [each["kind"] for each in heard.events[:5]] == ["prepared", "ready", "started", "done", "shipped"]
        assert heard.events[-1]["status"] == "Delivered"
        assert world.told == {"accepted": 10}
        assert world.next_at() is None

    asyncio.run(play())


def test_the_same_seed_and_orders_give_the_same_events_and_no_order_changes_anothers_story() -> None:
    async def events_of(seed: int, *cards: str) -> list[Event]:
        world, clock, heard = world_of(seed)
        for number, card in enumerate(cards, 1):
            await world.place(order(card, number=number))
        await played(world, clock, heard)
        return heard.events

    async def play() -> None:
        cards = [f"card-{number}" for number in range(20)]
        assert await events_of(1, *cards) == await events_of(1, *cards)
        assert await events_of(1, *cards) != await events_of(2, *cards)

    asyncio.run(play())


def test_a_thousand_things_at_a_time_go_to_the_platform_and_no_more() -> None:
    async def play() -> None:
        world, clock, heard = world_of()
        for number in range(MAX_BATCH + 200):
            world.wish(BEGIN, Wish(f"sbx-happy-{number}", f"r-{number}"))
        await played(world, clock, heard)
        assert len(heard.wishes) == MAX_BATCH + 200
        assert max(heard.calls) <= MAX_BATCH
        assert len(heard.events) == 10 * (MAX_BATCH + 200)

    asyncio.run(play())


def test_the_bank_orders_again_where_the_story_says_so_and_only_once() -> None:
    async def play() -> None:
        world, clock, heard = world_of()
        await world.place(order("sbx-re-order-1", number=77))
        await played(world, clock, heard)
        assert [wish.card_id for wish in heard.wishes] == ["sbx-re-order-1"]
        assert world.stories == {"re-order": 1, "happy": 1}

    asyncio.run(play())


def test_what_the_wire_keeps_back_is_reported_later_by_the_worlds_own_clock() -> None:
    async def play() -> None:
        world, clock, heard = world_of()
        faults = Faults(1)
        world.wire = EventWire(faults)
        faults.set("delay", "events", seconds=3 * 86_400)
        await world.place(order("sbx-data-exception-1"))
        at = world.next_at()
        assert at is not None
        clock.reach(at)
        await world.play(clock(), heard)
        assert (heard.events, world.next_at()) == ([], at + 3 * 86_400 * SECOND)
        await played(world, clock, heard)
        assert [each["kind"] for each in heard.events] == ["data_failed"]

    asyncio.run(play())


def test_a_course_that_somebody_interferes_with_stands_on_the_agenda_once() -> None:
    """A verb that left the rest of a story as it was put it there twice: steps came early, then an IndexError."""

    async def play() -> None:
        world, clock, heard = world_of()
        await world.place(order("sbx-happy-1"))
        player = Player(world, clock, heard)
        await player.advance(2 * DAY)
        for verb, scan in ((Verb.FAIL, None), (Verb.FAIL, None), (Verb.SCAN, Scan(status="Lost"))):
            await player.act(ISSUER, "sbx-happy-1", verb, scan)
        assert await player.advance(0) == 0
        await player.advance(60 * DAY)
        assert world.told == {"accepted": 13}
        assert [each["kind"] for each in heard.events].count("started") == 1

    asyncio.run(play())


def test_the_oldest_ended_courses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        monkeypatch.setattr(module, "MAX_COURSES", 3)
        world, clock, heard = world_of()
        await world.place(order("sbx-data-exception-1", number=1))
        await played(world, clock, heard)
        for number in range(2, 5):
            await world.place(order(f"card-{number}", number=number))
        assert len(world.courses) == 3
        with pytest.raises(NotFound, match="cardId"):
            world.course(ISSUER, "sbx-data-exception-1")
        assert world.course(ISSUER, "card-2").order.card_id == "card-2"

    asyncio.run(play())


@pytest.mark.parametrize("at_once", [True, False])
def test_an_order_that_is_refused_loses_no_event_that_was_due_with_it(*, at_once: bool) -> None:
    """Events of the same batch were taken from the agenda and never reported."""

    async def play() -> None:
        world, clock, _ = world_of()
        picky = Picky(world, at_once=at_once)
        await world.place(order("sbx-happy-1"))
        due = world.next_at()
        assert due is not None
        world.wish(due, Wish("sbx-happy-2", "r-2"))
        clock.reach(due)
        if at_once:
            with pytest.raises(Refused, match="no orders today"):
                await world.play(due, picky)
        else:
            assert await world.play(due, picky) == 2
        assert [each["kind"] for each in picky.events] == ["prepared"]

    asyncio.run(play())


def test_what_the_platform_did_not_hear_of_is_told_when_it_answers_again() -> None:
    """What had been taken from the agenda was lost where the call failed."""

    async def play() -> None:
        world, clock, _ = world_of()
        away = Away(world)
        await world.place(order("sbx-data-exception-1", number=77))
        due = world.next_at()
        assert due is not None
        world.wish(due, Wish("sbx-happy-2", "r-2"))
        clock.reach(due)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="away"):
                await world.play(due, away)
            assert world.next_at() == OVERDUE
        away.is_away = False
        assert await world.play(due, away) == 0
        assert world.happened == 2
        assert [each["kind"] for each in away.events] == ["data_failed"]
        assert away.wishes == [Wish("sbx-happy-2", "r-2")]
        assert world.next_at() not in (OVERDUE, None)

    asyncio.run(play())


@pytest.mark.parametrize("at_once", [True, False])
def test_who_orders_a_card_is_told_why_it_is_refused(*, at_once: bool) -> None:
    async def play() -> None:
        world, clock, _ = world_of()
        player = Player(world, clock, Picky(world, at_once=at_once))
        with pytest.raises(Refused, match="no orders today" if at_once else "not this card"):
            await player.order(Wish("sbx-happy-1", "r-1"))

    asyncio.run(play())


def test_what_is_remembered_of_orders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        monkeypatch.setattr(module, "MAX_COURSES", 3)
        monkeypatch.setattr(module, "MAX_KNOWN", 5)
        world, _, _ = world_of()
        for number in range(10):
            await world.place(order(f"sbx-happy-{number}", None, number))
        assert len(world.courses) == len(world._orders) == 3
        assert len(world._known) == 5
        await world.place(order("sbx-happy-9", None, 9))
        assert world.stories["happy"] == 10

    asyncio.run(play())


def test_content_that_is_no_object_has_no_request_id() -> None:
    async def play() -> None:
        world, _, _ = world_of()
        for number, content in enumerate((b"", b"[]", b"{", b'{"issuerRequestId": 5}'), 1):
            await world.place(
                CardOrder(
                    operation_id=f"op-{number:032x}", issuer_id=ISSUER, card_id=f"sbx-happy-{number}", content=content
                )
            )
        assert world.stories == {"happy": 4}

    asyncio.run(play())
