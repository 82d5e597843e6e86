"""Law 4 where the platform has a feed: after one pass the mirror has all orders as they are, whatever happened before.

The platform is the strict server's world with a feed, batches and sequences in front of it. It is restored at any
moment: then its numbers begin where they were, other things happen than before, and its cursors are of another epoch.
"""

import asyncio
import copy
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.db import Database
from cardtrail.errors import RemoteCursorExpired, RemoteError, StoreUnavailable
from cardtrail.issuer.answers import Page
from cardtrail.issuer.ask import Asker
from cardtrail.issuer.lease import acquire
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.passes import RESUME_WITHIN
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.issuer.standing import Observed
from cardtrail.issuer.store import open_store
from cardtrail.protocol.reading import Envelope, operation_of
from tests.property.cardlore import said_by
from tests.property.test_reconcile_laws import ISSUER, Clock, Line
from tests.strict.plots import PLOTS, Json
from tests.strict.stream import Losses, Stream
from tests.strict.world import DAY, Told, World

CARDS = 5
PAGE = 3
"""Operations in a page of this feed, so that a pass has many."""
BEATS = ("nothing", "nothing", "step", "step", "hear", "fail", "kill", "restore")


class State:
    """All that a platform knows, and that a restore puts back."""

    def __init__(self, seed: int, plots: tuple[str, ...]) -> None:
        self.world = World(CARDS, seed, plots=plots)
        self.number = 0
        self.sequences: Counter[str] = Counter()
        self.newest: dict[str, tuple[int, bytes]] = {}
        """By operation: the number of its newest change, and the picture."""

    def take(self, told: Told) -> bytes:
        """Number a change; return its picture with the sequence."""
        self.number += 1
        self.sequences[told.operation_id] += 1
        picture = json.loads(told.element) | {"cardtrail": {"sequence": self.sequences[told.operation_id]}}
        element = msgspec.json.encode(picture)
        self.newest[told.operation_id] = (self.number, element)
        return element


class Platform:
    """What the reconciler asks: a feed, batches, and single cards, with what happens between question and answer."""

    def __init__(self, mirror: AsyncMirror, drawn: "Drawn") -> None:
        self.mirror = mirror
        self.line = Line(mirror.db)
        self.beats: list[str] = []
        self.state = State(drawn.seed, drawn.plots)
        self.epoch = 0
        self._chance = Random(f"{drawn.seed}:restore")
        self._saved = [copy.deepcopy(self.state)]
        self._stream = Stream(drawn.losses, drawn.seed)
        self._strict = drawn.strict
        self._arrived: list[bytes] = []

    # ── what happens ──

    def step(self, steps: int = 1) -> None:
        """Let things happen, and notify of them, in the strict form or in the full one."""
        for _ in range(steps):
            self.state.world.advance(1, self._tell)
            if self._chance.random() < 0.2:
                self._saved.append(copy.deepcopy(self.state))

    def _tell(self, told: Told) -> None:
        element = self.state.take(told)
        self._arrived += self._stream.push(msgspec.json.encode(said_by(element)) if self._strict else element)

    def restore(self) -> None:
        """Go back to a state that was saved; from then on chance has it otherwise.

        What was under way is lost: a notification from before a restore that arrives after the next pass is believed
        for its higher sequence, and nothing in it tells that it is of another epoch (docs/reconcile.md).
        """
        self.epoch += 1
        self._stream.flush()
        self._arrived.clear()
        self.state = copy.deepcopy(self._chance.choice(self._saved))
        self.state.world._chance.seed(f"{self.epoch}:world")

    async def hear(self, most: int = 1) -> None:
        """Let the mirror hear what has arrived."""
        elements, self._arrived = self._arrived[:most], self._arrived[most:]
        observed = [Observed(operation_of(element), "notification", self.mirror.clock()) for element in elements]
        if observed:
            await self.mirror.take(ISSUER, observed, mark=None, sightings=())

    async def stop_faults(self) -> None:
        """Let everything arrive that is not lost."""
        self.beats = []
        self._arrived += self._stream.flush()
        await self.hear(len(self._arrived))

    async def _between(self) -> None:
        beat = self.beats.pop(0) if self.beats else "nothing"
        if beat == "step":
            self.step()
        elif beat == "hear":
            await self.hear()
        elif beat == "restore":
            self.restore()
        elif beat in {"fail", "kill"}:
            self.line.is_cut |= beat == "kill"
            raise RemoteError("no answer", status=503)

    # ── what is answered ──

    def _latest(self, card_id: str) -> bytes | None:
        newest = self.state.world.newest(card_id)
        return None if newest is None else self.state.newest[json.loads(newest)["operationId"]][1]

    def _history(self, card_id: str) -> list[bytes]:
        return [each for _, each in self.state.newest.values() if operation_of(each).card_id == card_id]

    async def ask(self, card_id: str, *, with_history: bool = False) -> bytes | None:
        await self._between()
        latest = self._latest(card_id)
        told = [] if latest is None else self._history(card_id) if with_history else [latest]
        await self._between()
        return b'{"operations":[%b]}' % b",".join(told) if told else None

    async def ask_many(self, card_ids: Sequence[str]) -> Envelope:
        await self._between()
        found = [latest for card_id in card_ids if (latest := self._latest(card_id)) is not None]
        await self._between()
        return Envelope([msgspec.Raw(each) for each in found])

    async def changes(self, since: str | None = None, *, limit: int = 1_000, wait: int = 0) -> Page:
        del limit, wait
        await self._between()
        epoch, _, after = (since or f"{self.epoch}:0").partition(":")
        if int(epoch) != self.epoch:
            raise RemoteCursorExpired("restored", status=410)
        waiting = sorted(each for each in self.state.newest.values() if each[0] > int(after))
        page = waiting[:PAGE]
        cursor = f"{self.epoch}:{page[-1][0] if page else after}"
        await self._between()
        return Page([msgspec.Raw(element) for _, element in page], cursor, len(waiting) > PAGE)


class Pass(NamedTuple):
    """How much happens before a pass, how much of it is heard, what comes between its steps, and how long it rested."""

    steps: int
    heard: int
    beats: list[str]
    rest: int
    again: bool


class Drawn(NamedTuple):
    """What hypothesis draws; `strict` is the form of notifications, `batch` whether the platform reads batches.

    `restored` says whether it is restored at last, `rest` how long a pass that did not end has rested then.
    """

    seed: int
    plots: tuple[str, ...]
    losses: Losses
    passes: list[Pass]
    last: int
    strict: bool
    batch: bool
    restored: bool
    rest: int


async def pull(platform: Platform, *, many: bool, again: bool = False) -> None:
    """Run one pass of a reconciler that may be killed."""
    fence = await acquire(platform.mirror.db, ISSUER, "test")
    assert fence is not None
    platform.line = Line(platform.mirror.db)
    mirror = AsyncMirror(cast("Database", platform.line), platform.mirror.clock)
    await Reconciler(Asker(ISSUER, platform, mirror, fence, many=many)).pull(again=again)


async def differences(platform: Platform) -> dict[str, tuple[Json | None, Json, bool]]:
    """What the mirror and the platform say of the orders of which they differ, or of which the mirror is in doubt."""
    wrong = {}
    for _, element in platform.state.newest.values():
        so = operation_of(element)
        held = {each.known.operation_id: each for each in await platform.mirror.card(ISSUER, so.card_id)}
        mine = held.get(so.operation_id)
        says = None if mine is None else said_by(mine.operation.raw)
        doubtful = mine is not None and mine.known.doubtful
        if says != said_by(element) or doubtful:
            wrong[so.operation_id] = (says, said_by(element), doubtful)
    return wrong


@pytest.fixture(scope="module")
def new_url(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    folder: Path = tmp_path_factory.mktemp("mirrors")
    numbers = count(1)
    return lambda: f"sqlite:///{folder}/mirror-{next(numbers)}.db"


passes = st.lists(
    st.builds(
        Pass, st.integers(0, 30), st.integers(0, 30), st.lists(st.sampled_from(BEATS), max_size=30),
        st.sampled_from([0, RESUME_WITHIN, 2 * RESUME_WITHIN]), st.booleans(),
    ),
    max_size=4,
)  # fmt: skip
drawn_things = st.builds(
    Drawn,
    seed=st.integers(0, 2**16),
    plots=st.sampled_from([tuple(PLOTS), ("hold", "rework", "attempts", "redirected")]),
    losses=st.builds(
        Losses, lost=st.sampled_from([0.0, 0.3, 0.9]), doubled=st.sampled_from([0.0, 0.3]),
        window=st.sampled_from([0, 3, 30]),
    ),
    passes=passes, last=st.integers(0, 40), strict=st.booleans(), batch=st.booleans(), restored=st.booleans(),
    rest=st.sampled_from([0, DAY]),
)  # fmt: skip


@given(drawn=drawn_things)
def test_after_one_pass_over_the_feed_the_mirror_has_all_orders_as_they_are(
    new_url: Callable[[], str], drawn: Drawn
) -> None:
    async def main() -> None:
        clock = Clock()
        mirror = AsyncMirror(open_store(new_url()), clock)
        platform = Platform(mirror, drawn)
        try:
            for each in drawn.passes:
                platform.step(each.steps)
                await platform.hear(each.heard)
                platform.beats = list(each.beats)
                clock.now = max(clock.now, platform.state.world.now) + each.rest
                with suppress(StoreUnavailable, RemoteError):
                    await pull(platform, many=drawn.batch, again=each.again)
            platform.step(drawn.last)
            if drawn.restored:
                platform.restore()
            await platform.stop_faults()
            clock.now += drawn.rest
            await pull(platform, many=drawn.batch)

            assert await differences(platform) == {}
        finally:
            mirror.close()

    asyncio.run(main())
