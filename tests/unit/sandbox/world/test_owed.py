"""What the platform has yet to hear of is kept until it answers, and goes out in calls that it takes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from cardtrail.errors import CardtrailError, Refused, StoreUnavailable
from cardtrail.protocol.codec import MAX_BODY
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.owed import MAX_BATCH, Owed, Wish, batch_of

GOOD, BUSY, BAD = (Wish(f"card-{name}", f"r-{name}") for name in ("good", "busy", "bad"))


class Choosy:
    """A platform with an answer for each card, or one error for every call."""

    def __init__(self, answers: dict[Wish, CardtrailError] | None = None, error: CardtrailError | None = None) -> None:
        self.answers = answers or {}
        self.error = error

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        if self.error is not None:
            raise self.error
        return [{"result": "accepted"} for _ in events]

    async def order(self, wishes: Sequence[Wish]) -> Sequence[CardtrailError | None]:
        if self.error is not None:
            raise self.error
        return [self.answers.get(wish) for wish in wishes]


def owing() -> Owed:
    owed = Owed()
    owed.events = [{"eventId": "e1"}, {"eventId": "e2"}]
    owed.wishes = [GOOD, BUSY, BAD]
    return owed


def refused_by(owed: Owed, outside: Choosy) -> list[Wish]:
    heard: list[Wish] = []

    async def play() -> None:
        await owed.order(outside, lambda wish, _: heard.append(wish))

    with pytest.raises(CardtrailError):
        asyncio.run(play())
    return heard


def test_an_order_that_may_be_taken_later_is_kept_and_one_that_is_refused_is_not() -> None:
    """One that production did not take just then was lost with a line in the log."""
    owed = owing()
    assert refused_by(owed, Choosy({BUSY: StoreUnavailable("later"), BAD: Refused("never")})) == [BAD]
    assert owed.wishes == [BUSY]


def test_a_call_that_is_not_answered_keeps_all_and_one_that_is_refused_keeps_nothing() -> None:
    owed = owing()
    away, refusing = Choosy(error=StoreUnavailable("away")), Choosy(error=Refused("no"))
    with pytest.raises(StoreUnavailable):
        asyncio.run(owed.report(away))
    assert refused_by(owed, away) == []
    assert (len(owed.events), owed.wishes) == (2, [GOOD, BUSY, BAD])
    with pytest.raises(Refused):
        asyncio.run(owed.report(refusing))
    assert refused_by(owed, refusing) == [GOOD, BUSY, BAD]
    assert not owed.is_any


def test_a_call_holds_no_more_bytes_than_the_platform_takes() -> None:
    """A thousand events with long texts were sent as one body, which was refused as too large: all were lost."""
    events: list[Event] = [{"eventId": f"e{number}", "message": "ü" * 2_000} for number in range(MAX_BATCH)]
    first = batch_of(events)
    assert 200 < len(first) < MAX_BATCH
    assert len(msgspec.json.encode({"events": first})) <= MAX_BODY
    assert len(msgspec.json.encode({"events": events[: len(first) + 1]})) > MAX_BODY - 8_192
    assert batch_of([{"eventId": "e" * MAX_BODY}, *events]) == [{"eventId": "e" * MAX_BODY}]
    assert len(batch_of([{"eventId": "e"}] * (MAX_BATCH + 1))) == MAX_BATCH
