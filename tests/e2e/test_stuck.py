"""Stuck detection against the truth: 90 days of production and post, in which the simulation knows what is lost."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.core.business import DAY as BUSINESS_DAY
from cardtrail.core.business import business_time
from cardtrail.db import Database
from cardtrail.platform.ingest import Ingest
from cardtrail.platform.orders import Orders
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.store import open_store
from cardtrail.platform.ui.stuck import stuck_of
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.hours import DAY
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.simulate import BEGIN, STEP, Inside, Plan, wish_all
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES
from cardtrail.sandbox.world.world import World
from tests.desk import execute

PLAN = Plan(issuer_id="DEMO-BANK1", cards=4_000, days=90, seed=11)
LOOKS = (45, 60, 75, 90)
"""Days on which it is looked."""
GRACE = 5 * BUSINESS_DAY
"""A letter that was lost a shorter time ago is like any other: nobody can tell."""


class Score(msgspec.Struct):
    """What was flagged and what of it is lost; what was lost for longer than GRACE and what of that was flagged."""

    flagged: int = 0
    rightly: int = 0
    lost: int = 0
    found: int = 0

    @property
    def precision(self) -> float:
        return self.rightly / max(self.flagged, 1)

    @property
    def recall(self) -> float:
        return self.found / max(self.lost, 1)


class Witness(Inside):
    """The way to the platform that remembers when an order was last told to have moved."""

    def __init__(self, url: str, db: Database, clock: VirtualClock, world: World) -> None:
        self.url = url
        ingest = Ingest(db, clock, lambda _party, _issuer: True, Outbox(clock))
        super().__init__(PLAN.issuer_id, ingest, Orders(db, ingest, world))
        self.moved: dict[str, int] = {}

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        for event in events:
            if event.get("status") != "Expired":
                self.moved[event["eventId"].rpartition(".")[0]] = micros(event["occurredAt"])
        return await super().report(events)


def micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def lost_since(world: World, witness: Witness) -> dict[str, int]:
    """Return the orders of which nothing but a carrier's giving up will ever be told, by when they moved last."""
    return {
        course.order.operation_id: witness.moved[course.order.short_id]
        for course in world.courses.values()
        if course.letter.is_scanned
        and course.order.short_id in witness.moved
        and not {beat.name for beat in course.beats} - {"expired"}
    }


def look(db: Database, world: World, witness: Witness, score: Score, now: int) -> None:
    """Compare what is flagged with what is lost, of all orders that should still move."""
    watched = {row[0] for row in execute(witness.url, "SELECT operation_id FROM operation WHERE watched = 1")}
    lost = {name: at for name, at in lost_since(world, witness).items() if name in watched}
    flagged = {each.operation_id for each in db.read_blocking(lambda tx: stuck_of(tx, PLAN.issuer_id, now)).stuck}
    long_lost = {name for name, at in lost.items() if business_time(at, now) > GRACE}
    score.flagged += len(flagged)
    score.rightly += len(flagged & lost.keys())
    score.lost += len(long_lost)
    score.found += len(flagged & long_lost)


def test_lost_letters_are_flagged_and_hardly_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/it.db"
    db, clock, score = open_store(url), VirtualClock(BEGIN, AS_FAST_AS_IT_GOES), Score()
    world = World(shipped_book(), PLAN.seed, clock)
    witness = Witness(url, db, clock, world)

    async def play() -> None:
        wish_all(PLAN, world)
        player = Player(world, clock, witness, STEP)
        for day in LOOKS:
            await player.advance(BEGIN + day * DAY - clock())
            look(db, world, witness, score, clock())

    asyncio.run(play())
    db.close()
    with capsys.disabled():
        print(  # noqa: T201 -- the figures are what this is for
            f"\nstuck: {PLAN.cards:,} cards, {PLAN.days} days, looked {len(LOOKS)} times: {score.flagged} flagged, "
            f"{score.rightly} of them lost for good, precision {score.precision:.2f}; {score.lost} lost for more than "
            f"5 business days, {score.found} of them flagged, recall {score.recall:.2f}"
        )
    assert score.lost > 20
    assert score.precision >= 0.9
    assert score.recall >= 0.9
