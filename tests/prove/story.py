"""What is told in a round: the stories of a world, played at virtual speed and taken apart, all decided by a seed.

Nothing here waits or listens. A part of the orders goes through the API: their events name an operation that is known
only once the order was answered, so they stand here under a name of their own until then.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any, NamedTuple

from cardtrail.core.order import SECOND
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.course import Event, Ordered
from cardtrail.sandbox.world.hours import DAY, HOUR
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.simulate import BEGIN
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES
from cardtrail.sandbox.world.world import World
from tests.serving import ISSUER, OTHER_ISSUER

ISSUERS = (ISSUER, OTHER_ISSUER)
SPAN, ORDERING = 50 * DAY, 8 * DAY
"""How long a world is played, and within which time its cards are ordered."""
SQUEEZED = 1_500_000
"""Events of an order through the API are told as of now, so many times as fast as they happened."""
BY_API = 0.25
BATCHES = (1, 1, 2, 5, 20, 60)


class Order(NamedTuple):
    """An order through the API; `name` is what its operation is called until it is answered."""

    issuer_id: str
    card_id: str
    request_id: str
    name: str


class Told(NamedTuple):
    """An event; `name` is set where its operation is one of an order through the API."""

    event: Event
    name: str | None = None
    began: int = 0


Batch = Sequence[Order | Told]


class Recorder:
    """Takes down what a world does: the `Outside` of its player."""

    def __init__(self, world: World, clock: VirtualClock, chance: Random, seed: int) -> None:
        self.items: list[Order | Told] = []
        self.issuers: dict[str, str] = {}
        """Issuers by the request that was theirs, and by the short name of an order."""
        self._world, self._clock, self._chance, self._seed = world, clock, chance, seed
        self._orders: dict[str, tuple[str, int]] = {}
        self._numbers = count(1)

    async def order(self, wishes: Sequence[Wish]) -> Sequence[None]:
        for wish in wishes:
            issuer_id = self.issuers.get(wish.request_id) or self.issuers[wish.request_id.rpartition("-")[2]]
            name = "op-" + hashlib.blake2b(f"{self._seed}|{next(self._numbers)}".encode(), digest_size=16).hexdigest()
            order = Ordered(issuer_id, wish.card_id, name)
            self.issuers[order.short_id] = issuer_id
            if self._chance.random() < BY_API:
                self._orders[order.short_id] = name, self._clock()
                self.items.append(Order(issuer_id, wish.card_id, wish.request_id, name))
            else:
                self.items.append(Told(_requested(order, self._clock())))
            self._world.begin(order, wish.request_id)
        return [None] * len(wishes)

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        for event in events:
            name, began = self._orders.get(event["eventId"].partition(".")[0], (None, 0))
            self.items.append(Told(event, name, began))
        return [{"result": "accepted"} for _ in events]


def _requested(order: Ordered, at: int) -> Event:
    return {
        "eventId": f"{order.short_id}.0", "source": "site:orders", "kind": "requested", "issuerId": order.issuer_id,
        "cardId": order.card_id, "operationId": order.operation_id, "occurredAt": text_of(at),
    }  # fmt: skip


def text_of(at: int) -> str:
    """Return µs since 1970 in the wire's form."""
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat()


def moment_of(event: Event) -> int:
    return round(datetime.fromisoformat(event["occurredAt"]).timestamp() * SECOND)


def resolved(told: Told, operation_id: str, answered_at: int) -> Told:
    """Return an event of an order through the API as it is sent: always the same for the same order."""
    event = told.event | {"occurredAt": text_of(answered_at + (moment_of(told.event) - told.began) // SQUEEZED)}
    if "operationId" in event:
        event["operationId"] = operation_id
    return Told(event)


def stories(seed: int, cards: int) -> list[Order | Told]:
    """Play a world of so many cards, each with one order or more, of both issuers; return all that happens in it."""
    chance = Random(f"{seed}|stories")
    clock = VirtualClock(BEGIN, AS_FAST_AS_IT_GOES)
    book = shipped_book()
    world = World(book, seed, clock)
    recorder = Recorder(world, clock, chance, seed)
    for number in range(cards):
        scenario = chance.choice(list(book.scenarios)) if chance.random() < 0.7 else "happy"
        wish = Wish(f"card-{number // 2}", f"sbx-{scenario}-{seed}-{number}")  # both issuers have cards of these names
        recorder.issuers[wish.request_id] = ISSUERS[number % 2]
        world.wish(BEGIN + chance.randrange(ORDERING), wish)
    asyncio.run(Player(world, clock, recorder, HOUR).advance(SPAN))
    return recorder.items


# ── what makes it difficult ──


def disturbed(items: Sequence[Order | Told], chance: Random) -> list[Order | Told]:
    """Take back, repeat, contradict, garble and invent, and shuffle within a window."""
    window = chance.choice((1, 5, 40, 400))
    keyed: list[tuple[float, int, Order | Told]] = []
    numbers = count()
    for place, item in enumerate(items):
        known = _garbled(item, chance) if isinstance(item, Told) else item
        late = chance.randrange(20, 200) if chance.random() < 0.03 else 0  # an order, too, may come after its events
        keyed.append((place + chance.uniform(0, window) + late, next(numbers), known))
        told = _more(known, chance) if isinstance(known, Told) else []
        keyed += [(place + chance.uniform(-5, window + 60), next(numbers), more) for more in told]
    return [item for _, _, item in sorted(keyed, key=lambda entry: entry[:2])]


def _garbled(told: Told, chance: Random) -> Told:
    """Say of some scans a status or a code that nobody knows."""
    if told.event["kind"] != "scanned" or chance.random() > 0.05:
        return told
    unknown = chance.choice(({"status": "Frobnicated"}, {"code": "ZZ-9"}, {"status": "Lost in Space", "code": "?"}))
    return told._replace(event=told.event | unknown)


def _more(told: Told, chance: Random) -> list[Told]:
    event, dice = told.event, chance.random()
    if dice < 0.05:
        return [told]
    if dice < 0.06:
        return [told._replace(event=event | {"message" if event["kind"] == "scanned" else "reason": "another story"})]
    if dice < 0.065:
        return [told._replace(event=event | {"eventId": f"{event['eventId']}.x", "kind": "teleported"})]
    if dice < 0.095:
        about = ("source", "occurredAt", "issuerId", "cardId", "operationId", "carrier", "trackingNumber")
        kept = {name: event[name] for name in about if name in event}
        back = {"eventId": f"{event['eventId']}.r", "kind": "retracted", "retracts": event["eventId"]}
        return [told._replace(event=kept | back)]
    return []


def batches(items: Sequence[Order | Told], chance: Random) -> list[Batch]:
    """Return what is sent together: events in batches of any size, orders of one issuer."""
    made: list[Batch] = []
    events: list[Told] = []
    size = chance.choice(BATCHES)
    for item in items:
        if isinstance(item, Order):
            made.append([item])
            continue
        events.append(item)
        if len(events) >= size:
            made.append(events)
            events, size = [], chance.choice(BATCHES)
    return [*made, events] if events else made
