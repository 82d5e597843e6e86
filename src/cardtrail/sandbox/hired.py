"""A platform for hire: the sandbox's stage beside a program without an event loop, such as a test.

It starts in some tens of milliseconds, serves on a free port of this machine, and has a store of its own. Time stands
still until it is moved, and begins on the same Monday morning every time. Every call that waits has a time-out.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, Unpack

import msgspec

from cardtrail.errors import InputError
from cardtrail.issuer.client import Client
from cardtrail.issuer.link import Options
from cardtrail.protocol.codec import input_error_of
from cardtrail.protocol.reading import Operation
from cardtrail.protocol.token import TOKEN_PATH
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.aside import Aside
from cardtrail.sandbox.call import BASE_PATH
from cardtrail.sandbox.scene import Scene, scene_in
from cardtrail.sandbox.stage import Script
from cardtrail.sandbox.wire.faults import Fault
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.record import Exchange, exchanges_of, older_of
from cardtrail.sandbox.world.book import book_with, shipped_book
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.simulate import BEGIN
from cardtrail.sandbox.world.span import span_of, speed_of
from cardtrail.sandbox.world.verbs import Scan, Verb

R = TypeVar("R")

PATIENCE = 15.0
"""Longest wait for a call that does not say another one, seconds: more than a fault on a notification lasts unless it
is told to."""
ADVANCE_SECONDS = 60.0
"""Longest wait for time to pass where none is named, seconds: some thousand cards live through a month in it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SINGLE = timedelta(microseconds=1)

Make = Callable[[], Coroutine[Any, Any, R]]


class Hired:
    """The platform, and what sites, carriers and the bank do there. Methods are for one thread at a time."""

    def __init__(self, aside: Aside[Scene], scene: Scene) -> None:
        self._aside = aside
        self._scene = scene
        self._clients: list[Client] = []
        self._party = scene.cast.issuer.party
        self.clock = HiredClock(aside, scene)
        """Its time."""
        self.faults = HiredFaults(aside, scene)
        """What goes wrong on its wire."""

    # ── what an issuer is told ──

    @property
    def url(self) -> str:
        """Where an issuer asks and orders: what stands before `/issuers/`."""
        return self._scene.stage.root + BASE_PATH

    @property
    def token_url(self) -> str:
        """Where it fetches its tokens."""
        return self._scene.stage.root + TOKEN_PATH

    @property
    def issuer_id(self) -> str:
        """The issuer that the platform knows."""
        return ISSUER_ID

    @property
    def key(self) -> str:
        """The issuer's private key, PEM."""
        return self._party.key.as_pem(private=True).decode()

    @property
    def kid(self) -> str:
        """The name under which the platform knows the key."""
        return self._party.kid

    def client(self, **options: Unpack[Options]) -> Client:
        """Return a client of the issuer, which is closed with the platform; `options` are its own."""
        client = Client(self.url, ISSUER_ID, key=self.key, kid=self.kid, **options)
        self._clients.append(client)
        return client

    # ── cards ──

    def order(self, card_id: str, request_id: str | None = None, *, scenario: str | None = None) -> str:
        """Order a card, whatever the faults; return the id of its operation. Raises InputError or Conflict.

        All goes well with the card, unless `scenario` or a magic id such as `sbx-returned-1` asks for another story. A
        request id that asks for none lets the seed decide.
        """
        return self._call(lambda: self._scene.order(card_id, request_id, scenario), "order")

    def status(self, card_id: str) -> Operation:
        """Return a card's newest operation as the platform has it, whatever the faults. Raises NotFound."""
        return self._call(lambda: self._scene.newest(card_id), "status")

    def ship(self, card_id: str) -> Sequence[Event]:
        """Have the site hand the card over now; return what was reported. Raises NotFound or Conflict."""
        return self._act(card_id, Verb.SHIP)

    def deliver(self, card_id: str) -> Sequence[Event]:
        """Have the card delivered now, shipped before if it was not. Returns and raises as `ship`."""
        return self._act(card_id, Verb.DELIVER)

    def return_(self, card_id: str) -> Sequence[Event]:
        """Have the card brought back now, shipped before if it was not. Returns and raises as `ship`."""
        return self._act(card_id, Verb.RETURN)

    def fail(self, card_id: str) -> Sequence[Event]:
        """Have personalization fail, or once shipped an attempt of delivery. Returns and raises as `ship`."""
        return self._act(card_id, Verb.FAIL)

    def hold(self, card_id: str) -> Sequence[Event]:
        """Have the order put on hold. Returns and raises as `ship`."""
        return self._act(card_id, Verb.HOLD)

    def release(self, card_id: str) -> Sequence[Event]:
        """Have the site go on with an order on hold. Returns and raises as `ship`."""
        return self._act(card_id, Verb.RELEASE)

    def cancel(self, card_id: str) -> Sequence[Event]:
        """Have the order canceled before it is shipped. Returns and raises as `ship`."""
        return self._act(card_id, Verb.CANCEL)

    def scan(
        self, card_id: str, *, status: str | None = None, code: str | None = None, message: str | None = None,
        location: str | None = None,
    ) -> Sequence[Event]:  # fmt: skip
        """Have the carrier scan the letter: its story's next scan, or what is given. Returns and raises as `ship`."""
        given = {"status": status, "code": code, "message": message, "location": location}
        try:
            scan = msgspec.convert(given, Scan)
        except msgspec.ValidationError as error:
            raise input_error_of(error) from None
        return self._act(card_id, Verb.SCAN, scan)

    def _act(self, card_id: str, verb: Verb, scan: Scan | None = None) -> Sequence[Event]:
        player = self._scene.cast.player
        return self._call(lambda: player.act(ISSUER_ID, card_id, verb, scan), verb)

    # ── receivers ──

    def notify(self, url: str) -> str:
        """Have the issuer notified below `url` from now on; return what its receiver verifies signatures with.

        The platform posts to `url` and `/notifications/d1/v2/issuers/{issuer_id}/cards`. Raises InputError.
        """
        return self._call(lambda: self._scene.notify(url), "notify")

    def secrets(self, url: str) -> list[str]:
        """Return what the receiver at `url` verifies with by now, newest first: a rotation makes a second one."""
        return self._call(lambda: self._scene.secrets(url), "secrets")

    def settle(self, timeout: float = PATIENCE) -> None:
        """Wait until nothing is to be delivered any more. Raises TimeoutError that says what waits, and why."""
        self._call(lambda: self._scene.settle(timeout), "settle", timeout + PATIENCE)

    @property
    def sent(self) -> list[Exchange]:
        """All that has crossed the wire until now, in order, both halves of each exchange."""
        files = older_of(self._scene.recorder.path), self._scene.recorder.path
        return [exchange for file in files if file.exists() for exchange in exchanges_of(file)]

    def _call(self, make: Make[R], what: str, timeout: float = PATIENCE) -> R:
        return self._aside.call(make, timeout, what)

    def close(self) -> None:
        """End its clients, then itself. Raises what has broken it meanwhile."""
        try:
            for client in self._clients:
                client.close()
        finally:
            self._aside.stop()


class HiredClock:
    """The platform's time, which only goes ahead."""

    def __init__(self, aside: Aside[Scene], scene: Scene) -> None:
        self._aside = aside
        self._clock = scene.stage.clock
        self._player = scene.cast.player

    @property
    def now(self) -> datetime:
        """What time it is there, UTC."""
        return _EPOCH + self._do(lambda: timedelta(microseconds=self._clock()))

    def advance(self, span: str | timedelta, *, timeout: float = ADVANCE_SECONDS) -> int:
        """Let a span such as `3d` or `1d12h` pass; return how much has happened: the platform has recorded it all.

        What is to be delivered of it may be under way yet: `settle` waits for that. Raises InputError.
        """
        micros = span_of(span) if isinstance(span, str) else span // _SINGLE
        return self._aside.call(lambda: self._player.advance(micros), timeout, "advance")

    def pause(self) -> None:
        """Let time stand still, as it does in the beginning."""
        self._do(self._clock.pause)

    def resume(self) -> None:
        """Let time pass by itself, as fast as it last did; at first that is 10000 times as fast as real time."""
        self._do(self._clock.resume)

    def speed(self, speed: str) -> None:
        """Let time pass by itself, so fast: `1x`, `1000x` or `max`. Raises InputError."""
        wanted = speed_of(speed)
        self._do(lambda: self._clock.run(wanted))

    def _do(self, work: Callable[[], R]) -> R:
        return self._aside.call(lambda: _done(work), PATIENCE, "clock")


class HiredFaults:
    """What goes wrong on the platform's wire; `cardtrail sandbox fault` lists the kinds, and where each is possible."""

    def __init__(self, aside: Aside[Scene], scene: Scene) -> None:
        self._aside = aside
        self._faults = scene.stage.faults

    def set(  # noqa: PLR0913 -- what a fault can be told
        self, kind: str, at: str | None = None, *, rate: float = 1.0, cards: Iterable[str] = (),
        seconds: float | None = None, count: int | None = None,
    ) -> Fault:  # fmt: skip
        """Switch a fault on, at a hop: `notifications`, `answers` or `events`; return it, who counts its strikes.

        It strikes this part of the messages, of these `cards` or of all, and ends after `count` strikes. What `seconds`
        is depends on the kind. Raises InputError naming what is wrong.
        """
        named = tuple(cards)
        if isinstance(cards, str):
            raise InputError("cards", "a list of ids expected")
        return self._do(lambda: self._faults.set(kind, at, rate=rate, cards=named, seconds=seconds, count=count))

    def clear(self, kind: str | None = None, at: str | None = None) -> int:
        """Switch off all faults, or those of a kind, of a hop; return how many were on. Raises InputError."""
        return self._do(lambda: self._faults.clear(kind, at))

    @property
    def struck(self) -> Counter[str]:
        """How often each kind has struck since the platform began, whether it is still on or not."""
        return self._do(self._count)

    @contextmanager
    def __call__(  # noqa: PLR0913 -- what a fault can be told
        self, kind: str, at: str | None = None, *, rate: float = 1.0, cards: Iterable[str] = (),
        seconds: float | None = None, count: int | None = None,
    ) -> Iterator[Fault]:  # fmt: skip
        """Switch a fault on for as long as the block lasts. Gives and raises as `set`."""
        fault = self.set(kind, at, rate=rate, cards=cards, seconds=seconds, count=count)
        try:
            yield fault
        finally:
            self.clear(fault.kind, fault.hop)

    def _count(self) -> Counter[str]:
        return +Counter({kind.value: sum(self._faults.struck(kind, hop) for hop in Hop) for kind in Kind})

    def _do(self, work: Callable[[], R]) -> R:
        return self._aside.call(lambda: _done(work), PATIENCE, "faults")


async def _done(work: Callable[[], R]) -> R:
    return work()


@contextmanager
def hired(folder: Path, *, seed: int = 1, scenarios: Path | None = None) -> Iterator[Hired]:
    """Give a platform with an empty store in `folder` for as long as the block lasts.

    `seed` decides every choice; `scenarios` is a file with stories, sites and carriers of one's own. Raises
    SettingError, and in the end what has broken it meanwhile.
    """
    book = shipped_book() if scenarios is None else book_with(scenarios)
    script = Script(seed=seed, book=book, begin=BEGIN, paused=True)
    aside = Aside(lambda: scene_in(folder, script), "the platform of the test")
    platform = Hired(aside, aside.start())
    try:
        yield platform
    finally:
        platform.close()
