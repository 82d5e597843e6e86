"""How many events a simulation gets through in a second, and how soon a sandbox answers."""

import asyncio
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.child import NotMeasuredError
from cardtrail.platform.connector import CardOrder
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.simulate import BEGIN, STEP, Plan, simulate, wish_all
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES
from cardtrail.sandbox.world.world import World

DAYS, SEED = 42, 7
ROUNDS = 3
PATIENCE = 20.0
"""Longest start of a sandbox, seconds."""


class Nowhere:
    """A platform that takes everything and keeps nothing: what is left is the world itself."""

    def __init__(self, world: World) -> None:
        self.events = 0
        self._world = world
        self._orders = 0

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        """Take events."""
        self.events += len(events)
        return [{"result": "accepted"}] * len(events)

    async def order(self, wishes: Sequence[Wish]) -> Sequence[None]:
        """Take orders, and place them with the world."""
        for wish in wishes:
            self._orders += 1
            operation_id = f"op-{self._orders:032x}"
            await self._world.place(CardOrder(operation_id=operation_id, issuer_id="DEMO-BANK1", card_id=wish.card_id))
        return [None] * len(wishes)


def simulating(say: Console, cards: int) -> None:
    """Print both tables."""
    plan = Plan(issuer_id="DEMO-BANK1", cards=cards, days=DAYS, seed=SEED)
    rows: dict[str, list[float]] = {}
    seconds: list[float] = []
    for _ in range(ROUNDS):
        rows.setdefault("the world alone, kept nowhere", []).append(_world_alone(plan))
        per_second, took = _simulated(plan)
        rows.setdefault("simulated into SQLite", []).append(per_second)
        seconds.append(took)
    table = Table(title=f"{cards:,} cards, {DAYS} days, median of {ROUNDS}: {median(seconds):.1f} s in all")
    for column in ("", "events/s", "of the world alone"):
        table.add_column(column, justify="right" if column else "left")
    first = median(next(iter(rows.values())))
    for name, rates in rows.items():
        spread = f"{median(rates):,.0f} [{min(rates):,.0f}–{max(rates):,.0f}]"
        table.add_row(name, spread, f"{median(rates) / first:.3f}")
    say.print(table)
    _print_starts(say)


def _world_alone(plan: Plan) -> float:
    clock = VirtualClock(BEGIN, AS_FAST_AS_IT_GOES)
    world = World(shipped_book(), plan.seed, clock)
    nowhere = Nowhere(world)
    began = time.perf_counter()
    wish_all(plan, world)
    asyncio.run(Player(world, clock, nowhere, STEP).advance(plan.span))
    return nowhere.events / (time.perf_counter() - began)


def _simulated(plan: Plan) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(simulate(plan, shipped_book(), Path(folder) / "simulation.db"))
    return found.tally.events / found.seconds, found.seconds


# ── the start ──


def _print_starts(say: Console) -> None:
    starts: dict[str, Callable[[], float]] = {
        "python -c pass": _bare,
        "cardtrail --version": _version,
        "cardtrail sandbox": _sandbox,
    }
    table = Table(title=f"From the start to the first answer, median of {ROUNDS}")
    for column in ("", "seconds"):
        table.add_column(column, justify="right" if column else "left")
    for name, start in starts.items():
        table.add_row(name, f"{median(start() for _ in range(ROUNDS)):.2f}")
    say.print(table)


def _bare() -> float:
    return _timed("-c", "pass")


def _version() -> float:
    return _timed("-m", "cardtrail", "--version")


def _timed(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    return time.perf_counter() - began


def _sandbox() -> float:
    """Return how long it takes until a card's status is answered with 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "cardtrail", "sandbox", "--data", folder, "--port", "0"], stdout=subprocess.DEVNULL
        ) as process:
            try:
                env = _env_of(Path(folder) / "sandbox.env", began + PATIENCE)
                url = f"{env['BASE_URL']}/issuers/{env['ISSUER_ID']}/physicalCards/{env['CARD_ID']}/productionStatus"
                headers = {"authorization": f"Bearer {env['ACCESS_TOKEN']}"}
                request = urllib.request.Request(url, headers=headers)  # noqa: S310 -- our own
                with opener.open(request, timeout=PATIENCE) as answer:
                    assert answer.status == 200
                return time.perf_counter() - began
            finally:
                process.terminate()


def _env_of(path: Path, deadline: float) -> dict[str, str]:
    while time.perf_counter() < deadline:
        if path.exists():
            return dict(line.split("=", 1) for line in path.read_text().splitlines())
        time.sleep(0.005)
    raise NotMeasuredError("the sandbox did not start")
