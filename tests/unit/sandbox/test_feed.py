"""The world's way to the platform: what faults keep from it is told later, and credentials hold nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from cardtrail.errors import CardtrailError, NotFound, Refused, StoreUnavailable
from cardtrail.platform.orders import wanted_of
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.feed import encrypted_nothing, error_of
from cardtrail.sandbox.scene import Scene, scene_in
from cardtrail.sandbox.stage import Script
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.world import play
from cardtrail.sandbox.world.hours import DAY
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.simulate import BEGIN
from cardtrail.sandbox.world.verbs import Verb

PATIENCE = 20.0
"""Longest wait for what is to happen at once, seconds; only a broken test waits so long."""


@asynccontextmanager
async def paused(folder: Path) -> AsyncIterator[Scene]:
    """Give a scene in which time stands still."""
    async with scene_in(folder, Script(begin=BEGIN, paused=True)) as scene, asyncio.timeout(PATIENCE):
        yield scene


@pytest.mark.parametrize("hop", ["answers", "events"])
def test_a_token_that_has_expired_is_followed_by_a_fresh_one(tmp_path: Path, hop: str) -> None:
    """The old token was shown where a fresh one is fetched, and refused there, too: nothing ever happened again."""

    async def run() -> None:
        async with paused(tmp_path) as scene:
            scene.stage.faults.set("token-expiry", hop)
            await scene.cast.player.order(Wish("sbx-happy-1", "r-1"))
            await scene.cast.player.act(ISSUER_ID, "sbx-happy-1", Verb.SHIP)
            assert (await scene.newest("sbx-happy-1")).stage == "CARD_SHIPPED"

    asyncio.run(run())


def test_an_order_that_is_not_answered_keeps_no_site_from_reporting_and_is_made_later(tmp_path: Path) -> None:
    """The bank insisted on its order for ever, and nothing else had its turn meanwhile."""

    async def run() -> None:
        async with paused(tmp_path) as scene:
            player = scene.cast.player
            await player.order(Wish("sbx-happy-1", "r-1"))
            scene.stage.faults.set("500", "answers")
            scene.stage.world.wish(player.clock(), Wish("sbx-happy-2", "r-2"))
            await player.act(ISSUER_ID, "sbx-happy-1", Verb.SHIP)
            assert (await scene.newest("sbx-happy-1")).stage == "CARD_SHIPPED"
            with pytest.raises(NotFound):
                await scene.newest("sbx-happy-2")
            scene.stage.faults.clear()
            await player.advance(0)
            assert (await scene.newest("sbx-happy-2")).stage == "CARD_PROD_REQUESTED"

    asyncio.run(run())


def test_who_waits_for_an_order_that_is_not_answered_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cardtrail sandbox order` waited without an end."""
    monkeypatch.setattr(play, "PATIENCE_SECONDS", 0.1)

    async def run() -> None:
        async with paused(tmp_path) as scene:
            scene.stage.faults.set("500", "answers")
            with pytest.raises(StoreUnavailable, match="something went wrong"):
                await scene.cast.player.order(Wish("sbx-happy-1", "r-1"))

    asyncio.run(run())


def test_a_clock_that_is_wrong_for_a_while_loses_neither_orders_nor_events(tmp_path: Path) -> None:
    """The token was refused for good, and what had been taken from the agenda was lost."""

    async def run() -> None:
        async with paused(tmp_path) as scene:
            player, faults = scene.cast.player, scene.stage.faults
            await player.order(Wish("sbx-happy-1", "r-1"))
            for kind, hop in (("clock-skew", "answers"), ("token-expiry", "answers"), ("token-expiry", "events")):
                faults.set(kind, hop)
            scene.stage.world.wish(player.clock(), Wish("sbx-happy-2", "r-2"))
            player.clock.reach(BEGIN + DAY)
            with pytest.raises(StoreUnavailable, match="no token"):
                await player.run_once()
            faults.clear()
            await player.advance(0)
            assert (await scene.newest("sbx-happy-1")).stage != "CARD_PROD_REQUESTED"
            assert (await scene.newest("sbx-happy-2")).stage == "CARD_PROD_REQUESTED"

    asyncio.run(run())


def test_an_order_whose_answer_is_lost_is_made_again_and_is_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        async with paused(tmp_path) as scene:
            wish = Wish("sbx-happy-1", "r-1")
            scene.stage.faults.set("reset", "answers", count=1)
            await scene.cast.player.order(wish)
            await scene.cast.player.order(wish)
            assert scene.stage.faults.struck(Kind.RESET, Hop.ANSWERS) == 1
            assert scene.stage.world.stories == {"happy": 1}

    asyncio.run(run())


@pytest.mark.parametrize(("code", "kind"), [("STORE_UNAVAILABLE", StoreUnavailable), ("CONFLICT", Refused)])
def test_an_order_that_production_does_not_take_just_now_may_be_taken_later(
    code: str, kind: type[CardtrailError]
) -> None:
    assert type(error_of({"errorCode": code, "error": "why"})) is kind


def test_the_pretended_credentials_have_the_form_that_the_platform_checks() -> None:
    told = wanted_of({"distributionChannel": "CENTRAL", "encryptedData": encrypted_nothing(Random(5))}, "card-1")
    assert told.encrypted_data == encrypted_nothing(Random(5))
