"""Every scenario of the book, seen on the wire: a real platform, the kit's client, weeks of virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from cardtrail.issuer.client import AsyncClient
from cardtrail.protocol.reading import Operation
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.call import BASE_PATH
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.stage import Cast, Script, Stage, listen, settings_of
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.hours import DAY, HOUR
from cardtrail.sandbox.world.world import NO_SCENARIO

ORDER = {"distributionChannel": "CENTRAL", "services": {}, "shipment": {}, "paymentApplication": {}}
LONG = 45 * DAY
"""No scenario takes longer."""


class Seen(msgspec.Struct):
    """What the on-demand answer said of a card's newest order, each time that it said something new."""

    pictures: list[Operation] = []
    moments: list[int] = []
    """When each was seen first, µs of virtual time."""

    @property
    def words(self) -> list[str]:
        """The stages, and once it is shipped the statuses of the shipment."""
        return [each.shipment_status or each.stage for each in self.pictures]

    @property
    def last(self) -> Operation:
        return self.pictures[-1]

    @property
    def orders(self) -> int:
        return len({each.operation_id for each in self.pictures})


class Desk:
    """A stage whose time stands still until it is moved, and the issuer's client."""

    def __init__(self, stage: Stage, cast: Cast, client: AsyncClient) -> None:
        self.stage = stage
        self.player = cast.player
        self.client = client

    async def order(self, card_id: str, request_id: str | None = None) -> None:
        await self.client.order_card(card_id, ORDER | ({"issuerRequestId": request_id} if request_id else {}))

    async def follow(self, card_id: str, span: int = LONG, step: int = HOUR) -> Seen:
        """Let time pass, as long as something may happen, and look after each step."""
        seen, passed = Seen(), 0
        while passed <= span:
            operation = await self.client.production_status(card_id)
            if not seen.pictures or seen.last.raw != operation.raw:
                seen.pictures.append(operation)
                seen.moments.append(self.player.clock())
            at = self.player.world.next_at()
            if at is None:
                return seen
            passed += (ahead := max(step, at - self.player.clock() + 1))
            await self.player.advance(ahead)
        return seen


@asynccontextmanager
async def desk(path: Path) -> AsyncIterator[Desk]:
    """Open a stage, paused."""
    with contextlib.closing(listen(0)) as listening:
        folder = Folder(path)
        stage = Stage(settings_of(folder, listening.getsockname()[1]), Script(seed=3))
        stage.clock.pause()
        async with stage.open(listening) as cast:
            party = cast.issuer.party
            client = AsyncClient(stage.root + BASE_PATH, ISSUER_ID, key=party.key, kid=party.kid)
            async with client, asyncio.timeout(60):
                yield Desk(stage, cast, client)


def followed(path: Path, card_id: str, request_id: str | None = None) -> tuple[Seen, Desk]:
    async def play() -> tuple[Seen, Desk]:
        async with desk(path) as opened:
            await opened.order(card_id, request_id)
            return await opened.follow(card_id), opened

    return asyncio.run(play())


MADE = ["CARD_PROD_REQUESTED", "DATA_PREPARED", "CARD_PROD_READY", "CARD_PROD_ONGOING", "CARD_PROD_DONE"]
Expect = Callable[[Seen, Desk], None]
EXPECTED: dict[str, Expect] = {}


def of(name: str) -> Callable[[Expect], Expect]:
    def register(expect: Expect) -> Expect:
        EXPECTED[name] = expect
        return expect

    return register


def in_turn(words: list[str], *wanted: str) -> bool:
    """Tell whether some words come in this order, others between them or not."""
    left: Iterator[str] = iter(words)
    return all(word in left for word in wanted)


@of("happy")
def _(seen: Seen, _: Desk) -> None:
    assert in_turn(seen.words, *MADE, "InfoReceived", "InTransit", "OutForDelivery", "Delivered")
    assert (seen.last.stage, seen.last.shipment_status, seen.last.status) == ("CARD_SHIPPED", "Delivered", "SUCCESSFUL")


@of("data-exception")
def _(seen: Seen, _: Desk) -> None:
    assert seen.words == ["CARD_PROD_REQUESTED", "DATA_EXCEPTION"]
    assert (seen.last.status, seen.last.error_code) == ("FAILED", "EMBOSS_NAME_TOO_LONG")


@of("rework")
def _(seen: Seen, _: Desk) -> None:
    assert in_turn(
        seen.words, "CARD_PROD_ONGOING", "CARD_PROD_EXCEPTION", "CARD_PROD_ONGOING", "CARD_PROD_DONE", "Delivered"
    )


@of("scrapped")
def _(seen: Seen, _: Desk) -> None:
    assert in_turn(seen.words, "CARD_PROD_ONGOING", "CARD_PROD_EXCEPTION")
    assert (seen.last.status, seen.last.error_code) == ("FAILED", "CARD_BODY_MISSING")


@of("on-hold")
def _(seen: Seen, _: Desk) -> None:
    held = [each.stage for each in seen.pictures if (each.reason or "").startswith("ON_HOLD: waiting")]
    assert held == ["CARD_PROD_READY"]
    assert (seen.last.shipment_status, seen.last.reason) == ("Delivered", None)


@of("canceled")
def _(seen: Seen, _: Desk) -> None:
    assert seen.words[-2:] == ["CARD_PROD_READY", "CARD_PROD_CANCELED"]
    assert (seen.last.status, seen.last.error_code) == ("FAILED", "ORDER_CANCELED")


@of("missed")
def _(seen: Seen, _: Desk) -> None:
    assert in_turn(seen.words, "OutForDelivery", "AttemptFail", "OutForDelivery", "Delivered")


@of("lost-in-post")
def _(seen: Seen, _: Desk) -> None:
    assert seen.words[-2:] == ["InTransit", "Expired"]
    assert seen.last.stage == "CARD_SHIPPED"


@of("returned")
def _(seen: Seen, _: Desk) -> None:
    assert in_turn(seen.words, "AttemptFail", "AvailableForPickup", "Exception")
    assert (seen.last.stage, seen.last.shipment_status) == ("CARD_RETURNED", "Exception")


@of("delivered-before-out-for-delivery")
def _(seen: Seen, _: Desk) -> None:
    assert seen.words[-1] == "Delivered"
    assert "OutForDelivery" not in seen.words[seen.words.index("Delivered") :]
    times = {each.status: each.at or 0 for each in seen.last.checkpoints}
    assert times["Delivered"] < seen.moments[seen.words.index("Delivered")] - 3 * HOUR


@of("untracked-post")
def _(seen: Seen, _: Desk) -> None:
    assert seen.words == [*MADE, "CARD_SHIPPED"]
    assert seen.last.shipment is not None
    assert (seen.last.shipment.carrier, seen.last.shipment.tracking_number) == ("singapore-post", None)


@of("bulk-to-branch")
def _(seen: Seen, _: Desk) -> None:
    assert in_turn(seen.words, *MADE, "InTransit", "Delivered")


@of("re-order")
def _(seen: Seen, _: Desk) -> None:
    assert seen.orders == 2
    assert in_turn([each.stage for each in seen.pictures], "CARD_RETURNED", "CARD_PROD_REQUESTED", "CARD_SHIPPED")
    assert seen.last.shipment_status == "Delivered"


@of("wrong-clock")
def _(seen: Seen, desk: Desk) -> None:
    assert in_turn(seen.words, *MADE, "Delivered")
    [delivered] = [each.at or 0 for each in seen.last.checkpoints if each.status == "Delivered"]
    assert 3 * HOUR <= seen.moments[-1] - delivered <= 5 * HOUR
    assert desk.player.world.course(ISSUER_ID, "sbx-wrong-clock-1").scenario.site_clock == 5 * HOUR


@of("duplicate-events")
def _(seen: Seen, desk: Desk) -> None:
    assert in_turn(seen.words, *MADE, "InfoReceived", "InTransit", "OutForDelivery", "Delivered")
    assert desk.player.world.told == {"accepted": 10, "duplicate": 10}


@of("late-scan")
def _(seen: Seen, _: Desk) -> None:
    assert seen.last.shipment_status == "Delivered"
    delivered = next(each for each in seen.pictures if each.shipment_status == "Delivered")
    scans = [len(each.checkpoints) for each in (delivered, seen.last)]
    assert scans[1] == scans[0] + 1


@pytest.mark.parametrize("name", shipped_book().scenarios)
def test_a_scenario_is_seen_on_the_wire(tmp_path: Path, name: str) -> None:
    seen, opened = followed(tmp_path, f"sbx-{name}-1")
    EXPECTED[name](seen, opened)
    assert opened.player.world.stories[name] == 1


def test_a_branch_gets_many_cards_in_one_parcel_and_one_scan_tells_of_all(tmp_path: Path) -> None:
    async def play() -> None:
        async with desk(tmp_path) as opened:
            cards = [f"sbx-bulk-to-branch-{number}" for number in range(12)]
            for card in cards:
                await opened.order(card)
            await opened.player.advance(LONG)
            found = [await opened.client.production_status(card) for card in cards]
            assert {each.shipment_status for each in found} == {"Delivered"}
            parcels = {each.shipment.tracking_number for each in found if each.shipment is not None}
            assert 1 <= len(parcels) < len(cards)

    asyncio.run(play())


def test_a_request_id_picks_the_scenario_whatever_the_card_says(tmp_path: Path) -> None:
    seen, _ = followed(tmp_path, "sbx-happy-1", "sbx-data-exception-of-this-test")
    assert seen.last.stage == "DATA_EXCEPTION"


def test_a_slip_in_a_magic_id_is_told_and_never_passes_for_another_story(tmp_path: Path) -> None:
    seen, _ = followed(tmp_path, "sbx-hapy-1")
    assert (seen.last.status, seen.last.error_code) == ("FAILED", NO_SCENARIO)
    assert "'hapy-1'" in (seen.last.error or "")
