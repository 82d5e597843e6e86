"""Messages that come at the same time share a transaction; outcomes and failures are each one's own."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
import pytest

from cardtrail.errors import StoreUnavailable
from cardtrail.issuer import gather as module
from cardtrail.issuer.gather import Gatherer
from cardtrail.issuer.message import Message
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.sight import element_of
from cardtrail.issuer.standing import Observed, Outcome
from cardtrail.protocol.reading import operation_of
from tests.desk import execute
from tests.serving import ISSUER, OTHER_ISSUER
from tests.signed import NOW, operation


class Counting(AsyncMirror):
    """A mirror that counts its transactions, by how many operations each has."""

    counts: list[int]

    async def take(self, issuer_id: str, observed: Sequence[Observed], **others: Any) -> list[Outcome]:
        self.counts.append(len(observed))
        return await super().take(issuer_id, observed, **others)


def message(*operations: dict[str, Any], mark: str | None = None, source: Any = "notification") -> Message:
    observed = [Observed(operation_of(msgspec.json.encode(each)), source, NOW * 1_000_000) for each in operations]
    return Message(observed=observed, mark=mark, sightings=[])


def told(outcomes: list[Outcome] | BaseException) -> list[str]:
    if isinstance(outcomes, BaseException):
        return [type(outcomes).__name__]
    return [f"{type(each).__name__} {each.operation.card_id}" for each in outcomes]


class Hall:
    """A gatherer on a mirror."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.mirror = Counting.open(url)
        self.mirror.counts = []
        self.gatherer = Gatherer(self.mirror, [ISSUER, OTHER_ISSUER])

    async def take(self, *messages: Message, issuer_id: str = ISSUER) -> list[list[str]]:
        """Take messages in that come at the same time."""
        taking = (self.gatherer.take(issuer_id, each) for each in messages)
        return [told(each) for each in await asyncio.gather(*taking, return_exceptions=True)]


@pytest.fixture
def hall(database_url: str) -> Hall:
    return Hall(database_url)


def play(hall: Hall, scene: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(scene)
    finally:
        hall.mirror.close()


def test_messages_that_wait_share_a_transaction_and_each_gets_its_own_outcomes(hall: Hall) -> None:
    async def scene() -> None:
        numbers = range(50)
        lots = [message(*(operation(f"card-{n}-{m}") for m in range(n % 3))) for n in numbers]
        expected = [[f"Applied card-{n}-{m}" for m in range(n % 3)] for n in numbers]
        assert await hall.take(*lots) == expected
        assert len(hall.mirror.counts) <= 2
        [(count,)] = execute(hall.url, "SELECT sum(messages) FROM heard")
        assert count == 50

    play(hall, scene())


def test_the_newest_mark_and_every_sighting_are_kept(hall: Hall) -> None:
    async def scene() -> None:
        first, second, third = message(mark="a"), message(mark="b"), message()
        strange = [msgspec.structs.replace(each, sightings=[element_of(str(n), b"x")]) for n, each in
                   enumerate((first, second, third))]  # fmt: skip
        await hall.take(message(), *strange)
        assert execute(hall.url, "SELECT mark FROM issuer") == [("b",)]
        assert [name[0] for (name,) in execute(hall.url, "SELECT name FROM sighting ORDER BY name")] == ["0", "1", "2"]

    play(hall, scene())


def test_a_message_that_cannot_be_stored_fails_its_sender_alone(hall: Hall) -> None:
    async def scene() -> None:
        bad = message(operation("card-2"), source="gossip")  # which the table's CHECK does not know
        lots = [message(operation("card-0")), message(operation("card-1")), bad, message(operation("card-3"))]
        outcomes = await hall.take(*lots)
        assert [each for each in outcomes if each != outcomes[2]] == [[f"Applied card-{n}"] for n in (0, 1, 3)]
        assert "Error" in outcomes[2][0] or "Violation" in outcomes[2][0]

    play(hall, scene())


def test_while_the_store_is_down_everybody_is_told_so(hall: Hall) -> None:
    async def scene() -> None:
        hall.mirror.close()
        lots = [message(operation(f"card-{n}")) for n in range(5)]
        assert await hall.take(*lots) == [["StoreUnavailable"]] * 5
        assert len(hall.mirror.counts) <= 2

    play(hall, scene())


def test_issuers_do_not_wait_for_each_other(hall: Hall) -> None:
    async def scene() -> None:
        both = await asyncio.gather(
            hall.take(message(operation("card-1"))), hall.take(message(operation("card-1")), issuer_id=OTHER_ISSUER)
        )
        assert list(both) == [[["Applied card-1"]]] * 2
        assert hall.mirror.counts == [1, 1]

    play(hall, scene())


def test_a_transaction_is_not_larger_than_allowed_and_no_message_is_split(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WORK", 10)

    async def scene() -> None:
        lots = [message(*(operation(f"card-{n}-{m}") for m in range(size))) for n, size in enumerate((1, 4, 4, 20, 3))]
        outcomes = await hall.take(*lots)
        assert [len(each) for each in outcomes] == [1, 4, 4, 20, 3]
        assert hall.mirror.counts in ([1, 8, 20, 3], [5, 4, 20, 3])

    play(hall, scene())


def test_a_queue_has_an_end_and_a_large_message_is_taken_all_the_same(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 6)

    async def scene() -> None:
        lots = [message(operation(f"card-{n}")) for n in range(5)]
        outcomes = await hall.take(*lots)
        assert outcomes.count(["StoreUnavailable"]) == 2
        assert [len(each) for each in await hall.take(message(*(operation(f"large-{n}") for n in range(9))))] == [9]

    play(hall, scene())


def test_a_sender_that_hangs_up_takes_nothing_back_and_disturbs_nobody(hall: Hall) -> None:
    async def scene() -> None:
        gone = asyncio.create_task(hall.gatherer.take(ISSUER, message(operation("card-1"))))
        other = asyncio.create_task(hall.gatherer.take(ISSUER, message(operation("card-2"))))
        await asyncio.sleep(0)
        gone.cancel()
        assert told(await other) == ["Applied card-2"]
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await hall.mirror.card(ISSUER, "card-1")

    play(hall, scene())


def test_a_failure_of_the_store_that_nobody_waits_for_any_more_leaves_no_warning(hall: Hall) -> None:
    async def scene() -> None:
        hall.mirror.close()
        gone = asyncio.create_task(hall.gatherer.take(ISSUER, message(operation("card-1"))))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises((asyncio.CancelledError, StoreUnavailable)):
            await gone
        assert await hall.take(message(operation("card-2"))) == [["StoreUnavailable"]]

    play(hall, scene())
