"""A simulation: weeks of production and post in one go, without a wait, into a store of its own.

No HTTP: the platform's own ingest and orders, called in the same process. Sites and carriers report four times a day,
as files would come.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import msgspec

from cardtrail.core.order import SECOND
from cardtrail.errors import CardtrailError, SettingError
from cardtrail.platform.ingest import ALL, Ingest, Sender
from cardtrail.platform.orders import Orders, Wanted, wanted_of
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.store import open_store
from cardtrail.sandbox.world.book import Book
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.digest import Tally, tally_of
from cardtrail.sandbox.world.hours import DAY, HOUR
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES
from cardtrail.sandbox.world.world import World

BEGIN = int(datetime(2026, 1, 5, 6, tzinfo=UTC).timestamp()) * SECOND
"""When a simulation begins, always: a Monday morning."""
STEP = 6 * HOUR
"""What happens within so long is reported together, as of its end."""
MAX_CARDS, MAX_DAYS = 1_000_000, 3_650
_SENDER = Sender("simulation", frozenset({ALL}), frozenset({ALL}), frozenset({ALL}))
_encode = msgspec.json.encode
Progress = Callable[[float], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated: cards ordered evenly over so many days, by a seed."""

    issuer_id: str
    cards: int
    days: int
    seed: int

    @property
    def span(self) -> int:
        """How long it is, µs."""
        return self.days * DAY

    def __post_init__(self) -> None:
        """Raise SettingError for more than there is time for."""
        if not 1 <= self.cards <= MAX_CARDS:
            raise SettingError(f"cards: 1 to {MAX_CARDS:,} expected, not {self.cards:,}")
        if not 1 <= self.days <= MAX_DAYS:
            raise SettingError(f"days: 1 to {MAX_DAYS:,} expected, not {self.days:,}")


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: orders of each scenario, how the events were answered, real seconds, and the store's tally.

    `refused` is how many orders the platform did not take.
    """

    stories: dict[str, int]
    told: dict[str, int]
    refused: int
    seconds: float
    tally: Tally


async def simulate(plan: Plan, book: Book, database: Path, progress: Progress = lambda _: None) -> Simulated:
    """Simulate into a SQLite file that is made anew; `progress` hears how much is done, 0 to 1.

    Raises StoreUnavailable.
    """
    for name in (database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))):
        name.unlink(missing_ok=True)
    url = f"sqlite:///{database}"
    clock = VirtualClock(BEGIN, AS_FAST_AS_IT_GOES)
    world = World(book, plan.seed, clock)
    began = perf_counter()
    db = open_store(url)
    try:
        ingest = Ingest(db, clock, lambda _party, _issuer: True, Outbox(clock))
        inside = Inside(plan.issuer_id, ingest, Orders(db, ingest, world, _new_ids(plan.seed)))
        await _play(plan, world, clock, inside, progress)
    finally:
        db.close()
    seconds = perf_counter() - began
    return Simulated(
        stories=dict(world.stories), told=dict(world.told), refused=world.refused, seconds=seconds, tally=tally_of(url)
    )  # fmt: skip


async def _play(plan: Plan, world: World, clock: VirtualClock, inside: "Inside", progress: Progress) -> None:
    wish_all(plan, world)
    await Player(world, clock, inside, STEP).advance(plan.span, progress)


def wish_all(plan: Plan, world: World) -> None:
    """Have the bank order all cards of a plan, evenly over its days."""
    chance = Random(f"{plan.seed}|orders")  # noqa: S311 -- who orders when is no secret
    for number, at in enumerate(sorted(chance.randrange(plan.span) for _ in range(plan.cards)), 1):
        world.wish(BEGIN + at, Wish(f"card-{number:07d}", f"sim-{plan.seed}-{number}"))


class Inside:
    """The platform's own parts, called as they are."""

    def __init__(self, issuer_id: str, ingest: Ingest, orders: Orders) -> None:
        self._issuer_id = issuer_id
        self._ingest = ingest
        self._orders = orders

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        """Record events; return their results as ingest answers them."""
        results = await self._ingest.take(_SENDER, [_encode(event) for event in events])
        return [msgspec.to_builtins(result) for result in results]

    async def order(self, wishes: Sequence[Wish]) -> Sequence[CardtrailError | None]:
        """Order cards; return why each was not taken, None where it was."""
        outcomes = await self._orders.order(self._issuer_id, [wanted(wish) for wish in wishes])
        return [outcome if isinstance(outcome, CardtrailError) else None for outcome in outcomes]


def wanted(wish: Wish) -> Wanted:
    """Return the order that a wish becomes."""
    return wanted_of({"distributionChannel": "CENTRAL", "issuerRequestId": wish.request_id}, wish.card_id)


def _new_ids(seed: int) -> Callable[[], str]:
    """Return what makes the ids of operations: as random as others look, and the same for a seed."""
    numbers = count(1)
    return lambda: "op-" + hashlib.blake2b(f"{seed}|{next(numbers)}".encode(), digest_size=16).hexdigest()
