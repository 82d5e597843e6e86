"""The stage: a platform that listens, and a world that plays to it. What watches or receives is added by others."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import uvicorn

from cardtrail.errors import SettingError, StoreUnavailable
from cardtrail.platform.app import Platform, build, server_of
from cardtrail.platform.settings import Settings
from cardtrail.sandbox.admit import ISSUER_ID, admit
from cardtrail.sandbox.call import Caller, client
from cardtrail.sandbox.feed import Feed
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.server import HOST
from cardtrail.sandbox.subscribe import NETWORK, STEPS, TIMEOUT
from cardtrail.sandbox.wire.answers import AnswerWire
from cardtrail.sandbox.wire.events import EventWire
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.line import LineProtocol
from cardtrail.sandbox.wire.record import Recorder
from cardtrail.sandbox.world.begin import begin_of
from cardtrail.sandbox.world.book import Book, shipped_book
from cardtrail.sandbox.world.clock import VirtualClock, coming_monday
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.world import World

PORT = 8080
"""The port that is tried first where none is asked for."""
PORTS = 20
"""How many ports are tried from there."""
MAX_PORT = 65_535
DRAIN_SECONDS = 3
SPEED = 10_000.0
"""How fast time passes where nobody says: a day in nine seconds, a card's whole way in a minute or so."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What decides what is played: every choice by the seed, how fast time passes, and the stories.

    `begin` is when time begins, µs; None is the coming Monday morning, or where an earlier run had come to. Where time
    is `paused`, it stands there until somebody moves it.
    """

    seed: int = 1
    speed: float = SPEED
    book: Book = msgspec.field(default_factory=shipped_book)
    begin: int | None = None
    paused: bool = False


class Stage:
    """A platform behind a wire that can fail on purpose, and its world; to be opened once.

    `recorder` writes down what crosses the wire; `alone` is what it is to the platform.
    """

    def __init__(
        self, settings: Settings, script: Script, recorder: Recorder | None = None, *, alone: bool = True
    ) -> None:
        now = time.time_ns() // 1_000
        begin = coming_monday(now) if script.begin is None else script.begin
        self.clock = VirtualClock(begin, script.speed, paused=script.paused)
        self.world = World(script.book, script.seed, self.clock, self.clock.touch)
        self.platform = Platform(settings, self.clock, self.world, alone=alone)
        if script.begin is None:
            self.clock.reach(begin_of(settings.database, now))
        self.faults = Faults(script.seed)
        self.recorder = recorder
        self.world.wire = EventWire(self.faults, recorder)
        self.wire = AnswerWire(build(self.platform), self.platform, self.faults, recorder)
        self.root = f"http://{HOST}:{settings.port}"
        self._seed = script.seed

    @asynccontextmanager
    async def open(self, listening: socket.socket) -> AsyncIterator["Cast"]:
        """Serve for as long as the block lasts, and play when the player is told to. Raises StoreUnavailable."""
        try:
            parties = await admit(self.platform.db)
        except BaseException:
            self.platform.db.close()
            raise
        async with serving(self.platform, listening, self.wire) as served, client() as http:
            issuer, producer = (Caller(http, self.root, party) for party in parties)
            await asyncio.gather(issuer.renew(), producer.renew())
            player = Player(self.world, self.clock, Feed(ISSUER_ID, issuer, producer, self._seed))
            yield Cast(issuer, producer, player, served)


class Cast:
    """Who plays on an open stage: the bank's and the producer's calls, the player, and the task that serves."""

    def __init__(self, issuer: Caller, producer: Caller, player: Player, serving: asyncio.Task[None]) -> None:
        self.issuer = issuer
        self.producer = producer
        self.player = player
        self.serving = serving


@asynccontextmanager
async def serving(
    platform: Platform, listening: socket.socket, wire: AnswerWire | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Serve, behind a wire, for as long as the block lasts; gives the task that serves. Raises StoreUnavailable."""
    server = server_of(platform, wire, http=LineProtocol)
    task = asyncio.create_task(_serve(server, listening))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.01)
        if task.done():
            task.result()
        yield task
    finally:
        server.should_exit = True
        if wire is not None:
            await wire.close()
        await task


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        await server.serve([listening])
    except SystemExit:
        raise StoreUnavailable("the platform has not started; sandbox.log tells why") from None


def settings_of(folder: Folder, port: int) -> Settings:
    """Return the settings of a platform that may call this machine, and soon notices that its receiver is back."""
    return Settings(
        database=folder.database, host=HOST, port=port, drain_seconds=DRAIN_SECONDS,
        egress_allow=NETWORK, egress_http=True, delivery_timeout=TIMEOUT, delivery_steps=STEPS,
    )  # fmt: skip


def listen(port: int | None) -> socket.socket:
    """Return a socket that listens on the port asked for, or on the first that is free. Raises SettingError."""
    if port is not None and not 0 <= port <= MAX_PORT:
        raise SettingError(f"port: 0 to {MAX_PORT} expected, not {port}")
    for each in range(PORT, PORT + PORTS) if port is None else [port]:
        with suppress(OSError):
            return socket.create_server((HOST, each))
    tried = str(port) if port is not None else f"{PORT} to {PORT + PORTS - 1}"
    raise SettingError(f"port: cannot listen on {tried}; something else may be there: choose another with --port")
