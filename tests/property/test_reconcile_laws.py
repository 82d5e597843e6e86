"""Law 4: whatever was lost, came twice or out of order, after one pass of the reconciler the mirror is the platform.

The platform is the strict server's world without its wire, so that notifications, changes and failures can come between
any two of the reconciler's steps.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.db import Database, Transaction
from cardtrail.errors import NotOffered, RemoteError, StoreUnavailable
from cardtrail.issuer.answers import Page
from cardtrail.issuer.ask import Asker
from cardtrail.issuer.expect import Expected, expect
from cardtrail.issuer.lease import acquire
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.passes import RESUME_WITHIN
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.issuer.standing import Observed
from cardtrail.issuer.store import open_store
from cardtrail.protocol.reading import Envelope, operation_of
from tests.strict.plots import PLOTS, Json
from tests.strict.stream import Losses, Stream
from tests.strict.world import BEGIN, DAY, Told, World

T = TypeVar("T")
ISSUER = "ISSUER0001"
CARDS = 6
BEATS = ("nothing", "nothing", "nothing", "step", "step", "hear", "fail", "kill")


class Line:
    """A process's line to its database, which is cut when the process is killed: nothing more is written."""

    def __init__(self, db: Database) -> None:
        self.is_cut = False
        self._db = db

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._db.read(work)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        if self.is_cut:
            raise StoreUnavailable("killed")
        return await self._db.transact(work)


class Play:
    """A platform, the way of its notifications, and a mirror that hears what arrives."""

    def __init__(self, mirror: AsyncMirror, world: World, losses: Losses, seed: int) -> None:
        self.mirror = mirror
        self.world = world
        self.line = Line(mirror.db)
        self.beats: list[str] = []
        """What happens between the next steps of the reconciler."""
        self._stream = Stream(losses, seed)
        self._arrived: list[bytes] = []
        self._ordered: dict[str, int] = {}

    def step(self, steps: int = 1) -> None:
        """Let things happen at the platform, and send what it notifies of on its way."""
        self.world.advance(steps, self._send)

    def _send(self, told: Told) -> None:
        self._arrived += self._stream.push(told.element)
        operation = json.loads(told.element)
        if operation["operation"] == "PRODUCE" and operation["details"]["status"] == "CARD_PROD_REQUESTED":
            self._ordered[told.card_id] = self.world.now

    async def hear(self, most: int = 1) -> None:
        """Let the mirror hear what has arrived."""
        elements, self._arrived = self._arrived[:most], self._arrived[most:]
        observed = [Observed(operation_of(element), "notification", self.mirror.clock()) for element in elements]
        if observed:
            await self.mirror.take(ISSUER, observed, mark=None, sightings=())

    async def between(self) -> None:
        """Do what comes between two steps of the reconciler. Raises RemoteError."""
        beat = self.beats.pop(0) if self.beats else "nothing"
        if beat == "step":
            self.step()
        elif beat == "hear":
            await self.hear()
        elif beat in {"fail", "kill"}:
            self.line.is_cut |= beat == "kill"
            raise RemoteError("no answer", status=503)

    async def stop_faults(self) -> None:
        """Let everything arrive that is not lost, and have the issuer say what it has ordered."""
        self._arrived += self._stream.flush()
        await self.hear(len(self._arrived))
        await expect(self.mirror, ISSUER, [Expected(card_id, at) for card_id, at in self._ordered.items()])


class Platform:
    """What the reconciler asks: a server of the published contract alone."""

    def __init__(self, play: Play) -> None:
        self._play = play

    async def ask(self, card_id: str, *, with_history: bool = False) -> bytes | None:
        assert not with_history
        await self._play.between()
        answer = self._play.world.answer(card_id)
        await self._play.between()
        return answer

    async def ask_many(self, _card_ids: Sequence[str]) -> Envelope:
        raise NotOffered("no batch")

    async def changes(self, since: str | None = None, *, limit: int = 1_000, wait: int = 0) -> Page:
        raise NotOffered(f"no feed, since {since}, {limit} a page, waiting {wait}")


async def sweep(play: Play) -> None:
    """Run one pass of a reconciler that may be killed."""
    fence = await acquire(play.mirror.db, ISSUER, "test")
    assert fence is not None
    play.line = Line(play.mirror.db)
    mirror = AsyncMirror(cast("Database", play.line), play.mirror.clock)
    await Reconciler(Asker(ISSUER, Platform(play), mirror, fence, many=False)).sweep()


async def differences(play: Play) -> dict[str, tuple[Json | None, Json | None, bool]]:
    """What the mirror and the platform say of the cards of which they differ, or of which the mirror is in doubt."""
    wrong = {}
    for card_id, newest in play.world.truth():
        held = await play.mirror.card(ISSUER, card_id)
        says = json.loads(held[0].operation.raw) if held else None
        so = None if newest is None else json.loads(newest)
        doubtful = bool(held and held[0].known.doubtful)
        if says != so or doubtful:
            wrong[card_id] = (says, so, doubtful)
    return wrong


class Clock:
    """A clock that stands unless it is told to go on; it shows the world's time."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> int:
        return self.now


@pytest.fixture(scope="module")
def new_url(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    folder: Path = tmp_path_factory.mktemp("mirrors")
    numbers = count(1)
    return lambda: f"sqlite:///{folder}/mirror-{next(numbers)}.db"


def run(url: str, play: Callable[[AsyncMirror, Clock], Awaitable[None]]) -> None:
    """Play with a mirror of its own."""

    async def main() -> None:
        clock = Clock()
        mirror = AsyncMirror(open_store(url), clock)
        try:
            await play(mirror, clock)
        finally:
            mirror.close()

    asyncio.run(main())


class Pass(NamedTuple):
    """How much happens before a pass of the reconciler, how much of it is heard, and what comes between its steps."""

    steps: int
    heard: int
    beats: list[str]


class Drawn(NamedTuple):
    """What hypothesis draws; `last` is how much happens at last, `informed` whether the mirror knows all cards."""

    seed: int
    plots: tuple[str, ...]
    losses: Losses
    passes: list[Pass]
    last: int
    informed: bool


drawn_losses = st.builds(
    Losses,
    lost=st.sampled_from([0.0, 0.3, 0.9]),
    doubled=st.sampled_from([0.0, 0.3]),
    window=st.sampled_from([0, 3, 30]),
)
drawn_beats = st.lists(st.sampled_from(BEATS), max_size=40)
drawn_plots = st.sampled_from([tuple(PLOTS), ("hold", "rework", "attempts")])
"""All, or those that lead back to pictures that were there before."""
drawn_passes = st.lists(st.builds(Pass, st.integers(0, 40), st.integers(0, 40), drawn_beats), max_size=3)


seeds = st.integers(0, 2**16)


@given(drawn=st.builds(Drawn, seeds, drawn_plots, drawn_losses, drawn_passes, st.integers(0, 60), st.booleans()))
def test_after_one_pass_the_mirror_is_the_platform(new_url: Callable[[], str], drawn: Drawn) -> None:
    async def play(mirror: AsyncMirror, clock: Clock) -> None:
        this = Play(mirror, World(CARDS, drawn.seed, plots=drawn.plots, never=0.2), drawn.losses, drawn.seed)
        if drawn.informed:
            await expect(mirror, ISSUER, [Expected(this.world.card_id(number)) for number in range(CARDS)])
        for each in drawn.passes:
            this.step(each.steps)
            await this.hear(each.heard)
            this.beats = list(each.beats)
            clock.now = this.world.now
            with suppress(StoreUnavailable, RemoteError):
                await sweep(this)
        this.beats = []
        this.step(drawn.last)
        await this.stop_faults()
        clock.now = this.world.now + RESUME_WITHIN + DAY
        await sweep(this)

        assert await differences(this) == {}

    run(new_url(), play)


# ── what these laws have found ──


def test_a_doubtful_answer_is_read_again_although_it_is_the_same(new_url: Callable[[], str]) -> None:
    async def play(mirror: AsyncMirror, _clock: Clock) -> None:
        this = Play(mirror, World(1, plots=("hold",)), Losses(), 0)
        this.step(3)  # requested, prepared, ready
        await this.hear(2)
        this.beats = ["step", "hear"]  # the answer says that it is held; before it comes, we hear that it is ready
        await sweep(this)

        assert await differences(this) == {}

    run(new_url(), play)


def test_an_answer_that_was_not_read_does_not_stand_for_what_was_heard_meanwhile(new_url: Callable[[], str]) -> None:
    async def play(mirror: AsyncMirror, _clock: Clock) -> None:
        this = Play(mirror, World(1, plots=("hold",)), Losses(), 0)
        this.step(4)  # requested, prepared, ready, held
        await this.hear(2)
        await sweep(this)
        this.beats = ["nothing", "hear"]  # the answer is the last one again; before it comes, we hear that it is ready
        await sweep(this)
        await sweep(this)

        assert await differences(this) == {}

    run(new_url(), play)


def test_a_refused_change_of_an_order_settles_no_card(new_url: Callable[[], str]) -> None:
    async def play(mirror: AsyncMirror, clock: Clock) -> None:
        this = Play(mirror, World(1, plots=("kept",)), Losses(), 0)
        this.step(4)  # requested, prepared, ready; and the change is refused
        await this.stop_faults()
        clock.now = this.world.now
        await sweep(this)
        await this.stop_faults()
        this.step()
        await sweep(this)

        assert await differences(this) == {}

    run(new_url(), play)
