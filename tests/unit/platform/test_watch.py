"""Whoever watches a deliverer sees that it stands still, and why."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cardtrail.cli.deliver import deliver
from cardtrail.db import Database
from cardtrail.errors import StoreUnavailable
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.deliver import Deliverer, Options
from cardtrail.platform.egress import Egress
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.metrics import DelivererMetrics
from cardtrail.platform.readiness import STILL
from cardtrail.platform.store import open_store
from cardtrail.platform.watch import Watching
from tests.delivering import BOX


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = open_store(f"sqlite:///{tmp_path}/cardtrail.db")
    yield opened
    opened.close()


async def seen(watching: Watching) -> tuple[int, int, dict[str, Any]]:
    """Return the statuses of `/healthz` and `/readyz`, and what the latter says."""
    nobody: Any = None
    health, ready = await watching.healthz(nobody), await watching.readyz(nobody)
    return health.status_code, ready.status_code, json.loads(bytes(ready.body))


class Clock:
    """Monotonic seconds that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def watched(db: Database, clock: Clock, told: Callable[[], None] = lambda: None) -> tuple[Deliverer, Watching]:
    """Return a deliverer and what watches it; `told` is called whenever a look fails."""
    metrics = DelivererMetrics()

    def failed(work: str) -> None:
        metrics.failed(work)
        told()

    options = Options(monotonic=clock, failed=failed)
    deliverer = Deliverer(db, Egress(), Endpoints(db, BOX, wall_clock), options)
    return deliverer, Watching(db, deliverer, metrics)


def test_a_deliverer_whose_loop_has_ended_or_hangs_is_neither_well_nor_ready(db: Database) -> None:
    async def whole() -> None:
        clock = Clock()
        deliverer, watching = watched(db, clock)
        running = asyncio.create_task(deliverer.run())
        assert (await seen(watching))[:2] == (200, 200)
        running.cancel()
        await asyncio.wait([running])
        clock.now += STILL + 1
        health, ready, found = await seen(watching)
        assert (health, ready) == (503, 503)
        assert (found["store"], found["deliverer"], found["lookAgeSeconds"]) == ("ok", "unavailable", STILL + 1)
        assert b"cardtrail_delivery_look_age_seconds 61.0\n" in (await watching.metrics(None)).body  # type: ignore[arg-type]  # not read
        await deliverer.stop()

    asyncio.run(whole())


def test_a_deliverer_that_turns_and_cannot_look_is_well_and_not_ready(db: Database) -> None:
    async def whole() -> None:
        clock, failed = Clock(), asyncio.Event()
        deliverer, watching = watched(db, clock, failed.set)
        looks = db.watch()
        db.watch = lambda: looks  # type: ignore[method-assign]  # the question is begun before the store is gone
        db.close()
        running = asyncio.create_task(deliverer.run())
        for _ in range(2):  # the second turn begins after the clock was moved
            clock.now += STILL + 1
            failed.clear()
            deliverer.wake()
            async with asyncio.timeout(10):
                await failed.wait()
        assert b'cardtrail_background_failures_total{work="Deliverer"} 2.0' in watching._metrics.text()
        health, ready, found = await seen(watching)
        assert (health, ready) == (200, 503)
        assert (found["store"], found["deliverer"]) == ("unavailable", "unavailable")
        deliverer.end()
        await running
        await deliverer.stop()

    asyncio.run(whole())


def test_a_process_whose_loop_ends_by_itself_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Deliverer) -> None:
        raise StoreUnavailable("gone before it began")

    monkeypatch.setattr(Deliverer, "run", broken)
    with pytest.raises(StoreUnavailable, match="gone before it began"):
        deliver(database=f"sqlite:///{tmp_path}/cardtrail.db")
