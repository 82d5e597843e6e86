"""One round: real processes of both sides on one engine, told a seed's stories through faulty proxies, and killed."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from cardtrail.files.box import box_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoint import Config, Endpoint, Mode, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.store import open_store
from tests.desk import execute
from tests.engines import OwnServer
from tests.following import keep_log
from tests.prove import house
from tests.prove.evidence import Evidence, Heard, evidence_of, reading_of
from tests.prove.house import Place, Program, Ways
from tests.prove.laws import violations
from tests.prove.proxy import ASKING, NOTIFYING, Proxy
from tests.prove.story import ISSUERS, Told, batches, disturbed, stories
from tests.prove.teller import Teller
from tests.serving import free_port, register_parties

TELLING = 6.0
"""About how long the stories are told, seconds; everything is killed meanwhile."""
SETTLING = 45.0
"""Longest wait until nothing moves any more, seconds."""
LEAST, MOST = 40, 150
"""Cards of a round."""
DOWN = 0.6
"""Longest time that a killed program stays down, seconds."""
CRASHES = 0.35
"""In how many of the rounds on PostgreSQL the server itself is stopped without a goodbye."""

ALONE = 0.4
"""How many of the issuers' programs do not reconcile by themselves."""


class Size(NamedTuple):
    """How much a round is: how many cards, and how long it is told, seconds."""

    least: int = LEAST
    most: int = MOST
    telling: float = TELLING


class Outcome(NamedTuple):
    """What a round came to."""

    seed: int
    engine: str
    cards: int
    events: int
    orders: int
    notifications: int
    kills: int
    crashes: int
    faults: int
    missed: int
    """Orders that a mirror had wrong when the one pass began."""
    repaired: int
    """Changes of the mirrors that an answer told, that pass included."""
    seconds: float
    violations: list[str]
    evidence: Evidence

    @property
    def line(self) -> str:
        """All of it in one line."""
        return (
            f"seed {self.seed} {self.engine}: {self.cards} cards, {self.orders} orders, {self.events} events,"
            f" {self.notifications} notifications, {self.kills} kills, {self.crashes} crashes of the database,"
            f" {self.faults} faults, {self.missed} wrong before the pass, {self.repaired} repaired in all,"
            f" {self.seconds:.1f} s: {len(self.violations) or 'no'} violation{'s' * (len(self.violations) != 1)}"
        )


class Scene:
    """The programs and proxies of a round."""

    def __init__(self, place: Place, seed: int) -> None:
        self.place = place
        self.chance = Random(f"{seed}|scene")
        ports = [free_port() for _ in range(2 if place.engine == "postgres" else 1)]
        self.told = Proxy(f"{seed}|told", ports, ASKING)
        self.asked = Proxy(f"{seed}|asked", ports, ASKING)
        self.receivers = {issuer_id: free_port() for issuer_id in ISSUERS}
        self.notified = {
            issuer_id: Proxy(f"{seed}|{issuer_id}", [port], NOTIFYING) for issuer_id, port in self.receivers.items()
        }
        if place.engine == "postgres":
            self.platforms = [
                house.serving(place, "serve-1", ports[0], delivers=True),
                house.serving(place, "serve-2", ports[1], delivers=self.chance.random() < 0.5),
                house.delivering(place),
            ]
        else:
            self.platforms = [house.serving(place, "serve-1", ports[0], delivers=True)]
        self.kits: dict[str, dict[str, str]] = {}
        self.issuers: list[Program] = []
        self.reader: list[Program] = []

    @property
    def proxies(self) -> list[Proxy]:
        return [self.told, self.asked, *self.notified.values()]

    @property
    def programs(self) -> list[Program]:
        return [*self.platforms, *self.issuers, *self.reader]

    async def furnish(self) -> None:
        """Register everybody; after that all programs can be started."""
        secrets = await asyncio.to_thread(self._register)
        for issuer_id, secret in secrets.items():
            pull = self.chance.choice((1, 2, 30, 300))
            kit = house.kit_of(self.place, issuer_id, Ways(self.asked.port, self.receivers[issuer_id]), secret, pull)
            self.kits[issuer_id] = kit
            # Some only receive: whatever never arrives is wrong in their mirrors until the one pass.
            alone = {"CARDTRAIL_KIT_SERVER": ""} if self.chance.random() < ALONE else {}
            self.issuers.append(house.receiving(self.place, issuer_id, kit | alone))
        self.reader.append(house.reading(self.place, self.asked.port))

    def _register(self) -> dict[str, str]:
        self.place.secret.write_bytes(b64encode(bytes(32)))
        register_parties(self.place.platform)
        keep_log(self.place.platform, pictures=True)
        db = open_store(self.place.platform)
        try:
            endpoints = Endpoints(db, box_of(str(self.place.secret), self.place.platform), wall_clock)
            return {issuer_id: asyncio.run(endpoints.add(self._endpoint(issuer_id), Secrets(), "test"))[1]
                    for issuer_id in ISSUERS}  # fmt: skip
        finally:
            db.close()

    def _endpoint(self, issuer_id: str) -> Endpoint:
        config = Config(
            url=f"http://127.0.0.1:{self.notified[issuer_id].port}", rate=1_000,
            mode=self.chance.choice((Mode.NEWEST, Mode.NEWEST, Mode.EVERY_STEP)),
            batch_size=self.chance.choice((1, 5, 100)), concurrency=self.chance.choice((1, 4, 8)),
        )  # fmt: skip
        return Endpoint(issuer_id=issuer_id, endpoint_id="main", config=config)


async def play(seed: int, place: Place, server: OwnServer | None, size: Size = Size()) -> Outcome:  # noqa: B008 -- frozen
    """Play a round in an empty folder on empty databases."""
    began, chance = time.monotonic(), Random(f"{seed}|round")
    cards = chance.randint(size.least, size.most)
    items = disturbed(await asyncio.to_thread(stories, seed, cards), chance)
    made = batches(items, chance)
    async with opened(place, seed) as scene:
        teller = Teller(scene.told.port, made, Random(f"{seed}|teller"), size.telling)
        crash = server if server is not None and Random(f"{seed}|crash").random() < CRASHES else None
        await _together(teller.run(), *_trouble(scene, chance, size.telling, crash))
        for proxy in scene.proxies:
            await proxy.quiet()
        await _settled(scene)
        for program in scene.issuers:
            await program.stop()
        missed = await asyncio.to_thread(_missed, place)
        passes = [house.reconciling(place, issuer_id, kit) for issuer_id, kit in scene.kits.items()]
        await asyncio.gather(*(program.run() for program in passes))
        for program in scene.reader:
            await program.stop()
        evidence = await asyncio.to_thread(evidence_of, place, seed, _heard(scene, teller))
        found = await asyncio.to_thread(violations, evidence)
        return Outcome(
            seed=seed, engine=place.engine, cards=cards, events=sum(isinstance(each, Told) for each in items),
            orders=len(evidence.orders), notifications=len(evidence.ledger),
            kills=sum(program.kills for program in scene.programs), crashes=int(crash is not None),
            faults=sum(sum(proxy.faults.values()) for proxy in scene.proxies), missed=missed,
            repaired=await asyncio.to_thread(_repaired, place), seconds=time.monotonic() - began,
            violations=found, evidence=evidence,
        )  # fmt: skip


@asynccontextmanager
async def opened(place: Place, seed: int) -> AsyncIterator[Scene]:
    """Open the proxies and start all programs, and end them with the block."""
    scene = Scene(place, seed)
    async with AsyncExitStack() as stack:
        for proxy in scene.proxies:
            await stack.enter_async_context(proxy)
        await scene.furnish()
        try:
            await asyncio.gather(*(program.start() for program in scene.programs))
            yield scene
        finally:
            await asyncio.gather(*(program.kill() for program in scene.programs), return_exceptions=True)


async def _together(*works: Awaitable[None]) -> None:
    """Do all at once; what fails ends the others, and is raised."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(_awaited(work))


async def _awaited(work: Awaitable[None]) -> None:
    await work


# ── trouble ──


def _trouble(scene: Scene, chance: Random, seconds: float, server: OwnServer | None) -> list[Awaitable[None]]:
    """Kill each program once or more while the stories are told, and perhaps the database's server."""
    works: list[Awaitable[None]] = []
    for program in scene.programs:
        times = sorted(chance.uniform(0.3, seconds) for _ in range(chance.choice((1, 1, 2, 3))))
        works.append(_killed(program, [(at, chance.uniform(0, DOWN)) for at in times]))
    if server is not None:
        works.append(_crashed(server, chance.uniform(1, seconds), chance.uniform(0, DOWN)))
    return works


async def _killed(program: Program, times: Sequence[tuple[float, float]]) -> None:
    began = time.monotonic()
    for at, pause in times:
        await asyncio.sleep(max(0.05, began + at - time.monotonic()))
        await program.kill()
        await asyncio.sleep(pause)
        await _started(program)


async def _started(program: Program) -> None:
    """Start it, again where it does not stay: a database that is down keeps nobody up."""
    deadline = time.monotonic() + SETTLING
    while True:
        try:
            await program.start()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.3)
        else:
            return


async def _crashed(server: OwnServer, at: float, pause: float) -> None:
    await asyncio.sleep(at)
    await asyncio.to_thread(server.crash)
    await asyncio.sleep(pause)
    await asyncio.to_thread(server.start)


# ── settling ──


async def _settled(scene: Scene) -> None:
    """Wait until nothing waits to be sent and the reader has read all; what does not come in time is for the laws."""
    await _until(lambda: not _waiting(scene.place.platform))
    await _until(lambda: _has_read(scene.place))


async def _until(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline:
        if await asyncio.to_thread(look):
            return True
        await asyncio.sleep(0.1)
    return False


def _waiting(url: str) -> bool:
    rows = execute(url, "SELECT (SELECT count(*) FROM notification WHERE state = 'PENDING'), count(*) FROM fanout")
    return rows != [(0, 0)]


def _has_read(place: Place) -> bool:
    rows = execute(place.platform, "SELECT issuer_id, operation_id, sequence FROM operation")
    wanted = {(issuer_id, name): number for issuer_id, name, number in rows}
    found: dict[Any, int] = {}
    for issuer_id in ISSUERS:
        for name, picture in reading_of(place, issuer_id).pictures.items():
            found[issuer_id, name] = json.loads(picture)["cardtrail"]["sequence"]
    return wanted == found


def _missed(place: Place) -> int:
    """Count the orders that mirrors have wrong, or not."""
    rows = execute(place.platform, "SELECT issuer_id, operation_id, sequence FROM operation")
    held = {
        (issuer_id, name): number
        for issuer_id, mirror in place.mirrors.items()
        for name, number in execute(mirror, "SELECT operation_id, sequence FROM operation")
    }
    return sum(held.get((issuer_id, name)) != number for issuer_id, name, number in rows)


def _repaired(place: Place) -> int:
    text = "SELECT count(*) FROM change WHERE source = 'answer'"
    return sum(execute(mirror, text)[0][0] for mirror in place.mirrors.values())


def _heard(scene: Scene, teller: Teller) -> Heard:
    return Heard(
        accepted=teller.accepted, known=teller.known,
        ordered={(each.issuer_id, each.card_id, each.request_id): names for each, names in teller.orders.items()},
        notified={issuer_id: proxy.sent for issuer_id, proxy in scene.notified.items()},
        carried={issuer_id: proxy.carried for issuer_id, proxy in scene.notified.items()},
    )  # fmt: skip


def place_of(folder: Path, engine: str, platform: str, mirrors: Sequence[str]) -> Place:
    """Return a place whose databases are new."""
    return Place(folder, engine, platform, dict(zip(ISSUERS, mirrors, strict=True)))
