"""The pretend bank: its switches, its mirror, and what there is to see of both."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from cardtrail.errors import InputError
from cardtrail.issuer.standing import Observed
from cardtrail.issuer.take import Batch
from cardtrail.protocol.reading import operation_of
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.bank import Books
from cardtrail.sandbox.wire.forward import Forward
from tests.banking import banking
from tests.faults.wire import Arrived
from tests.hosting import hosting
from tests.signed import operation

REQUESTED, READY = operation(stage="CARD_PROD_REQUESTED", sequence=1), operation(stage="CARD_PROD_READY", sequence=3)


# ── the receiver ──


def test_each_toggle_stops_or_starts_the_receiver_and_says_so(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            bank = told.bank
            assert await bank.look() == Books(url=bank.server.url, is_up=True)
            bank.toggle_receiver()
            assert "has stopped" in await told.said()
            assert not (await bank.look()).is_up
            bank.toggle_receiver()
            assert "is up again" in await told.said()
            assert bank.server.is_up
            bank.toggle_receiver()
            bank.toggle_receiver()  # before anyone could act on the first
            assert bank.server.is_up
        assert not bank.server.is_up
        assert told.silent

    asyncio.run(play())


def test_a_switch_has_been_thrown_when_the_call_returns_and_twice_is_once(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            for up in (True, False, False, True):
                await told.bank.switch_receiver(up=up)
                assert told.bank.server.is_up is up
            assert "has stopped" in await told.said()
            assert "is up again" in await told.said()
            assert told.silent

    asyncio.run(play())


# ── dropping ──


def test_what_is_dropped_is_believed_to_have_arrived_and_is_not_in_the_mirror(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            assert await told.notify(REQUESTED) == 204
            told.bank.toggle_drop()
            assert (await told.said()).startswith("From now on all notifications are lost")
            assert await told.notify(READY) == 204
            assert await told.stages() == ["CARD_PROD_REQUESTED"]
            books = await told.bank.look()
            assert (books.taken, books.share, books.thrown) == (1, 1.0, 1)
            told.bank.toggle_drop()
            assert await told.said() == "Notifications arrive again; 1 were lost."
            assert await told.notify(READY) == 204
            assert await told.stages() == ["CARD_PROD_READY"]

    asyncio.run(play())


def test_a_share_is_said_as_a_part_and_to_drop_nothing_twice_is_not_worth_a_word(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            told.bank.drop(0.3)
            assert (await told.said()).startswith("From now on 30% of the notifications are lost")
            told.bank.toggle_drop()
            assert (await told.said()).startswith("Notifications arrive again")
            told.bank.drop(0)
            assert told.silent

    asyncio.run(play())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(tmp_path: Path, share: float) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            with pytest.raises(InputError, match="share"):
                told.bank.drop(share)
            assert (await told.bank.look()).share == 0
            assert told.silent

    asyncio.run(play())


def test_a_drop_that_ends_by_itself_is_over_for_people_too(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            told.bank.faults.set("drop", count=1)
            assert (await told.bank.look()).share == 1
            assert [await told.notify(REQUESTED) for _ in range(2)] == [204, 204]
            books = await told.bank.look()
            assert (books.share, books.thrown, books.taken) == (0, 1, 1)

    asyncio.run(play())


# ── a receiver elsewhere ──


def test_notifications_reach_a_receiver_elsewhere_in_place_of_the_banks_own(tmp_path: Path) -> None:
    async def play() -> None:
        arrived = Arrived()
        async with hosting(arrived) as port:
            forward = Forward(f"http://127.0.0.1:{port}")
            async with banking(tmp_path, receiver=forward) as told:
                assert await told.notify(REQUESTED) == 202
                told.bank.drop(1.0)
                assert await told.notify(READY) == 204
                assert await told.stages() == []
            await forward.close()
        [arrival] = arrived.calls
        assert arrival.stages == ["CARD_PROD_REQUESTED"]

    asyncio.run(play())


# ── the mirror ──


def test_only_what_is_signed_gets_into_the_mirror(tmp_path: Path) -> None:
    paths = [tmp_path / "one", tmp_path / "other"]
    for path in paths:
        path.mkdir()

    async def play() -> None:
        async with banking(paths[0]) as one, banking(paths[1]) as other:
            assert await other.notify(REQUESTED, at=one.bank.server.url) == 401
            assert await one.stages() == []
            assert (await one.bank.look()).taken == 0

    asyncio.run(play())


def test_what_the_mirror_has_learned_is_told_once_and_what_no_notification_told_counts_as_repaired(
    tmp_path: Path,
) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            bank = told.bank
            await told.notify(REQUESTED)
            assert [change.source for change in await bank.learned()] == ["notification"]
            assert await bank.learned() == []
            ticket = await bank.mirror.ticket(ISSUER_ID)
            answer = operation_of(msgspec.json.encode(READY))
            await bank.mirror.apply(ISSUER_ID, [Observed(answer, "answer", bank.mirror.clock(), ticket)])
            assert [change.stage for change in await bank.learned()] == ["CARD_PROD_READY"]
            assert (await bank.look()).repaired == 1
        async with banking(tmp_path) as again:
            assert await again.bank.learned() == []
            assert await again.stages() == ["CARD_PROD_READY"]

    asyncio.run(play())


def test_it_is_seen_how_long_ago_the_changes_were_read_to_their_end(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as told:
            assert (await told.bank.look()).pulled is None
            now = int(time.time() * 1_000_000)
            await told.bank.mirror.put(ISSUER_ID, Batch(now=now, cursor="c", pulled_at=now - 60_000_000))
            pulled = (await told.bank.look()).pulled
            assert pulled is not None
            assert 60 <= pulled < 120

    asyncio.run(play())
