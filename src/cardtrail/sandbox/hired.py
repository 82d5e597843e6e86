"""A platform for a test: started in a thread of its own, ordered from, moved through time, broken, and ended.

The blocking face of a `Stage`. Time stands still until it is moved, and begins on the same Monday always, so that a
test comes out the same on whatever day it runs.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cardtrail.core.order import SECOND
from cardtrail.issuer.client import Client
from cardtrail.platform.ledger import MAX_LISTED, Ledger, Selection
from cardtrail.platform.outbox import NotificationState
from cardtrail.protocol.reading import Operation
from cardtrail.protocol.token import TOKEN_PATH, PrivateKey
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.aside import Aside
from cardtrail.sandbox.call import BASE_PATH
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.inlet import Inlet
from cardtrail.sandbox.stage import Cast, Script, Stage, listen, settings_of
from cardtrail.sandbox.wire.kinds import TABLE
from cardtrail.sandbox.wire.record import Exchange, Recorder, exchanges_of
from cardtrail.sandbox.world.book import Book, book_with, shipped_book
from cardtrail.sandbox.world.clock import wire_instant
from cardtrail.sandbox.world.span import span_of, speed_of
from cardtrail.sandbox.world.verbs import Scan, Verb
from cardtrail.sandbox.world.world import Wish

R = TypeVar("R")

BEGIN = int(datetime(2035, 1, 1, 6, tzinfo=UTC).timestamp()) * SECOND
"""When time begins in a test: on a Monday morning, ahead of real time."""
PATIENCE = 60.0
"""Longest wait for one call, seconds."""
LOOK_SECONDS = 0.01
"""Between two looks whether everything has been delivered."""
MAX_RECEIVERS = 20


class _Inside:
    """What lives in the thread."""

    def __init__(self, stage: Stage, cast: Cast, recorder: Recorder) -> None:
        self.stage = stage
        self.cast = cast
        self.recorder = recorder
        self.inlets: list[Inlet] = []


@asynccontextmanager
async def _opened(folder: Folder, seed: int, book: Book) -> AsyncIterator[_Inside]:
    with closing(listen(0)) as listening, closing(Recorder(folder.path)) as recorder:
        settings = settings_of(folder, listening.getsockname()[1])
        stage = Stage(settings, Script(seed=seed, speed=1.0, book=book, begin=BEGIN), recorder, alone=False)
        stage.clock.pause()
        async with stage.open(listening) as cast:
            inside = _Inside(stage, cast, recorder)
            playing = asyncio.create_task(cast.player.run())
            try:
                yield inside
            finally:
                playing.cancel()
                await asyncio.gather(playing, *(inlet.close() for inlet in inside.inlets), return_exceptions=True)


class HiredPlatform:
    """A platform with its sites and carriers, for the time of a test; `close` it in the end.

    `folder` takes its store and the record of what crossed the wire. Every call has a time-out, and raises what went
    wrong in the platform's own thread, too.
    """

    def __init__(self, folder: Path, seed: int = 1, scenarios: Path | str | None = None) -> None:
        book = shipped_book() if scenarios is None else book_with(Path(scenarios))
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Folder(folder)
        self._aside = Aside(lambda: _opened(self._folder, seed, book), "cardtrail_platform")
        self._inside = self._aside.start()
        self._clients = contextlib.ExitStack()
        self.clock = HiredClock(self)
        self.faults = HiredFaults(self)

    def close(self) -> None:
        """End it."""
        self._clients.close()
        self._aside.stop()

    # ── where it is, and who asks ──

    @property
    def url(self) -> str:
        """The base URL of the published contract."""
        return self._inside.stage.root + BASE_PATH

    @property
    def token_url(self) -> str:
        """Where tokens are fetched."""
        return self._inside.stage.root + TOKEN_PATH

    @property
    def issuer_id(self) -> str:
        """The issuer that the tests play."""
        return ISSUER_ID

    @property
    def key(self) -> PrivateKey:
        """The issuer's private key, `key.as_pem(private=True)` for a client of your own."""
        return self._inside.cast.issuer.party.key

    @property
    def kid(self) -> str:
        """The id of that key."""
        return self._inside.cast.issuer.party.kid

    def client(self) -> Client:
        """Return a client of the issuer kit; it is closed with the platform."""
        return self._clients.enter_context(Client(self.url, ISSUER_ID, key=self.key, kid=self.kid))

    # ── cards ──

    def order(self, card_id: str, request_id: str | None = None) -> str:
        """Order a card; return its operation's id. An id that begins with `sbx-` picks the scenario."""
        wish = Wish(card_id, request_id or f"hired-{time.monotonic_ns()}")

        async def place() -> str:
            await self._inside.cast.player.order(wish)
            return self._inside.stage.world.course(ISSUER_ID, card_id).order.operation_id

        return self._call(place, f"order {card_id}")

    def status(self, card_id: str) -> Operation:
        """Return the on-demand answer's operation. Raises RemoteError."""
        with Client(self.url, ISSUER_ID, key=self.key, kid=self.kid) as client:
            return client.production_status(card_id)

    def ship(self, card_id: str) -> None:
        """Hand the card to the carrier now. As all that happens to cards: raises NotFound, or Conflict if too late."""
        self._act(card_id, Verb.SHIP)

    def deliver(self, card_id: str) -> None:
        """Deliver the card now."""
        self._act(card_id, Verb.DELIVER)

    def return_(self, card_id: str) -> None:
        """Bring the card back now."""
        self._act(card_id, Verb.RETURN)

    def fail(self, card_id: str) -> None:
        """Have personalization fail now, or an attempt of delivery once the card is shipped."""
        self._act(card_id, Verb.FAIL)

    def hold(self, card_id: str) -> None:
        """Put the order on hold."""
        self._act(card_id, Verb.HOLD)

    def release(self, card_id: str) -> None:
        """Go on with an order on hold."""
        self._act(card_id, Verb.RELEASE)

    def cancel(self, card_id: str) -> None:
        """Cancel the order."""
        self._act(card_id, Verb.CANCEL)

    def scan(self, card_id: str, *, status: str | None = None, code: str | None = None) -> None:
        """Have the carrier scan the letter now: the story's next scan, or what is given."""
        self._act(card_id, Verb.SCAN, Scan(status=status, code=code))

    def _act(self, card_id: str, verb: Verb, scan: Scan | None = None) -> None:
        self._call(lambda: self._inside.cast.player.act(ISSUER_ID, card_id, verb, scan), f"{verb} {card_id}")

    # ── notifications ──

    def notify(self, url: str) -> str:
        """Have notifications sent to a receiver of yours, through the wire; return the secret that it verifies with.

        `url` is what comes before `/notifications/d1/v2/…`. Raises InputError.
        """

        async def add() -> str:
            stage, number = self._inside.stage, len(self._inside.inlets) + 1
            if number > MAX_RECEIVERS:
                raise ValueError(f"at most {MAX_RECEIVERS} receivers")
            inlet = Inlet(
                url, f"receiver-{number}", endpoints=stage.platform.endpoints, faults=stage.faults,
                recorder=self._inside.recorder,
            )  # fmt: skip
            self._inside.inlets.append(inlet)
            return await inlet.open()

        return self._call(add, f"notify {url}")

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until no notification is pending or kept back by a fault. Raises TimeoutError saying how many are."""
        deadline = time.monotonic() + timeout
        while waiting := self._call(self._waiting, "settle"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"settle: {waiting} notifications are not delivered after {timeout:g} s")
            time.sleep(LOOK_SECONDS)

    async def _waiting(self) -> int:
        pending = Selection(state=NotificationState.PENDING)
        entries = await Ledger(self._inside.stage.platform.db).entries(ISSUER_ID, pending, most=MAX_LISTED)
        return len(entries) + sum(inlet.held for inlet in self._inside.inlets)

    @property
    def sent(self) -> Sequence[Exchange]:
        """All that has crossed the wire, in order; `hop` says where."""
        path = self._inside.recorder.path
        return list(exchanges_of(path)) if path.exists() else []

    def _call(self, make: Callable[[], Coroutine[Any, Any, R]], what: str) -> R:
        return self._aside.call(make, PATIENCE, what)


class HiredClock:
    """The time of a hired platform."""

    def __init__(self, platform: HiredPlatform) -> None:
        self._platform = platform

    @property
    def now(self) -> datetime:
        """What time it is there, UTC."""
        return datetime.fromisoformat(wire_instant(self._platform._inside.stage.clock()))  # noqa: SLF001 -- its own half

    def advance(self, span: str | timedelta) -> int:
        """Let time pass, such as `3d`; return how much happened, all of it recorded by then. Raises InputError."""
        micros = span_of(span) if isinstance(span, str) else round(span.total_seconds() * SECOND)
        happened: int = self._do(lambda player: player.advance(micros))
        return happened

    def pause(self) -> None:
        """Let time stand still, as it does in the beginning."""
        self._do(lambda player: _done(player.clock.pause))

    def resume(self) -> None:
        """Let time pass by itself."""
        self._do(lambda player: _done(player.clock.resume))

    def speed(self, speed: str) -> None:
        """Let time pass so fast, such as `1000x`. Raises InputError."""
        wanted = speed_of(speed)
        self._do(lambda player: _done(lambda: player.clock.run(wanted)))

    def _do(self, make: Any) -> Any:
        player = self._platform._inside.cast.player  # noqa: SLF001 -- its own half
        return self._platform._call(lambda: make(player), "the clock")  # noqa: SLF001 -- as above


class HiredFaults:
    """Faults on the wire of a hired platform; docs/faults.md lists them."""

    def __init__(self, platform: HiredPlatform) -> None:
        self._platform = platform

    @contextmanager
    def __call__(self, kind: str, at: str | None = None, **told: Any) -> Iterator[None]:
        """Have a fault strike for as long as the block lasts, told as `set` is."""
        self.set(kind, at, **told)
        try:
            yield
        finally:
            self.clear(kind, at)

    def set(
        self, kind: str, at: str | None = None, *, rate: float = 1.0, cards: Collection[str] = (),
        seconds: float | None = None,
    ) -> None:  # fmt: skip
        """Switch a fault on: on which hop, for which part of the messages or which cards. Raises InputError."""
        self._do(lambda faults: faults.set(kind, at, rate=rate, cards=cards, seconds=seconds))

    def clear(self, kind: str | None = None, at: str | None = None) -> None:
        """Switch a fault off, or all."""
        self._do(lambda faults: faults.clear(kind, at))

    @property
    def struck(self) -> dict[str, int]:
        """How often each fault has struck in all, by `kind@hop`."""
        pairs = [(about.kind, hop) for about in TABLE for hop in about.hops]
        counts: list[int] = self._do(lambda faults: [faults.struck(*pair) for pair in pairs])
        return {f"{kind}@{hop}": count for (kind, hop), count in zip(pairs, counts, strict=True) if count}

    def _do(self, work: Any) -> Any:
        faults = self._platform._inside.stage.faults  # noqa: SLF001 -- its own half
        return self._platform._call(lambda: _done(lambda: work(faults)), "the faults")  # noqa: SLF001 -- as above


async def _done(work: Any) -> Any:
    """Do something that waits for nothing, in the thread where it must be done."""
    return work()
