"""A mirror that is kept right, and the platform that it asks, at a time that moves only when a test says so."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from cardtrail.db import Row
from cardtrail.errors import NotOffered, RemoteCursorExpired, RemoteError, RemoteUnauthorized
from cardtrail.issuer.answers import Features, Page
from cardtrail.issuer.ask import Asker
from cardtrail.issuer.budget import Limits
from cardtrail.issuer.expect import Expected, expect
from cardtrail.issuer.keep import Keeper, Pace
from cardtrail.issuer.lease import held
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.ration import Ration
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.issuer.round import Heard
from cardtrail.issuer.standing import Observed
from cardtrail.protocol.reading import Envelope, operation_of
from tests.desk import execute

ISSUER = "BANK000001"
SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
START = 1_793_491_200 * SECOND
"""2026-11-01T00:00:00Z, a Sunday."""


def picture(card_id: str, stage: str = "CARD_PROD_READY", **members: object) -> bytes:
    return msgspec.json.encode(
        {
            "operationId": f"op-{card_id}", "operation": "PRODUCE", "status": "PENDING",
            "startTime": "2026-11-01T00:00:00.000Z", "cardId": card_id, "details": {"status": stage},
        } | members
    )  # fmt: skip


def page(*elements: bytes, cursor: str, more: bool = False) -> Page:
    return Page([msgspec.Raw(each) for each in elements], cursor, more)


class Platform:
    """What a server says; it has a feed where `pages` has something, and counts what it is asked."""

    def __init__(self) -> None:
        self.cards: dict[str, bytes] = {}
        self.older: dict[str, list[bytes]] = {}
        """Older orders of cards, which only a history tells."""
        self.asked: list[str] = []
        self.pages: list[Page] | None = None
        self.since: list[str | None] = []
        self.batch = False
        self.down = False
        self.refusing: dict[str, int] = {}
        """How often each card, or `batch`, or `feed`, is refused yet, whatever the token; `all` is for every card."""

        self.meanwhile: Callable[[], Awaitable[None] | None] = lambda: None
        """What happens while a card is asked for."""

    def refuse(self, *names: str) -> None:
        """Raise RemoteUnauthorized as long as one of these is refused."""
        for name in names:
            if self.refusing.get(name, 0) > 0:
                self.refusing[name] -= 1
                raise RemoteUnauthorized("HTTP 401, and again with a new token", status=401)

    async def features(self, *, again: bool = False) -> Features:
        del again
        return Features(feed=self.pages is not None, batch=self.batch)

    async def ask(self, card_id: str, *, with_history: bool = False) -> bytes | None:
        self.asked.append(f"{card_id} with history" if with_history else card_id)
        if (happening := self.meanwhile()) is not None:
            await happening
        self.refuse(card_id, "all")
        if self.down:
            raise RemoteError("no answer", status=503)
        element = self.cards.get(card_id)
        elements = [*([] if element is None else [element]), *(self.older.get(card_id, []) if with_history else [])]
        return b'{"operations":[%b]}' % b",".join(elements) if elements else None

    async def ask_many(self, card_ids: Sequence[str]) -> Envelope:
        if not self.batch:
            raise NotOffered("no batch")
        self.asked.append(f"{len(card_ids)} at once")
        self.refuse("batch")
        return Envelope([msgspec.Raw(self.cards[each]) for each in card_ids if each in self.cards])

    async def changes(self, since: str | None = None, *, limit: int = 1_000, wait: int = 0) -> Page:
        del limit, wait
        self.since.append(since)
        self.refuse("feed")
        if self.pages is None:
            raise NotOffered("no feed")
        if since == "expired":
            raise RemoteCursorExpired("restored", status=410)
        return self.pages.pop(0) if self.pages else Page([], since or "end", more=False)


class Site:
    """A mirror, a platform and a keeper, at a time that moves only when it is told to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = START
        self.mirror = AsyncMirror.open(url)
        self.mirror.clock = lambda: self.now
        self.platform = Platform()
        self.done: list[Heard] = []

    def keeper(self, per_second: float = 100.0, per_day: int = 1_000_000, pull_seconds: float = 30.0) -> Keeper:
        pace = Pace(limits=Limits(per_second=per_second, per_day=per_day), pull_seconds=pull_seconds)
        return Keeper(ISSUER, self.platform, self.mirror, pace, self.done.append)

    @asynccontextmanager
    async def leased(self) -> AsyncIterator[int]:
        async with held(self.mirror.db, ISSUER) as fence:
            yield fence

    async def expect(self, count: int) -> None:
        await expect(self.mirror, ISSUER, [Expected(f"card-{number:05d}") for number in range(count)])

    async def hear(self, *elements: bytes, mark: str | None = None) -> None:
        observed = [Observed(operation_of(each), "notification", self.now) for each in elements]
        await self.mirror.take(ISSUER, observed, mark=mark, sightings=[])

    def rows(self, text: str) -> list[Row]:
        return execute(self.url, text)

    async def sweep(self, *, again: bool = False, per_day: int = 1_000_000) -> Heard:
        """Run one pass over all open cards."""
        async with self.leased() as fence:
            asker = Asker(ISSUER, self.platform, self.mirror, fence, many=self.platform.batch)
            return await Reconciler(asker, ration=Ration(self.mirror, ISSUER, per_day)).sweep(again=again)

    async def pull(self, *, again: bool = False, per_day: int = 1_000_000) -> Heard:
        """Read the feed to its end, or make a full pass."""
        async with self.leased() as fence:
            asker = Asker(ISSUER, self.platform, self.mirror, fence, many=self.platform.batch)
            return await Reconciler(asker, ration=Ration(self.mirror, ISSUER, per_day)).pull(again=again)
