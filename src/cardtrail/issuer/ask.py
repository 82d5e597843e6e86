"""Asking for cards and taking in what is answered: from a list of cards to one transaction of the mirror.

Every question has a ticket of the mirror from before it, so its answer wins over all that was observed before, and over
nothing that came since. An answer of exactly the bytes of the last one, of a card of which nothing was heard since, is
not even decoded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from typing import Protocol, TypeVar

from cardtrail.errors import RemoteError, RemoteForbidden, RemoteUnauthorized
from cardtrail.issuer.answers import Page
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.round import Heard, Round, Wanted
from cardtrail.issuer.standing import CHANGING, Outcome
from cardtrail.issuer.take import Asked, Batch, Confirmed
from cardtrail.protocol.reading import Envelope

MANY = 1_000
"""Most cards in one call where the server reads batches."""
WORKERS = 32
"""Questions under way at once for one list of cards, where each card is a call of its own."""

NO_LEASE = 0
"""In place of a fence; those of leases begin with 1."""
T = TypeVar("T")


class Source(Protocol):
    """What the reconciler asks: `AsyncClient`, of any server of the published contract."""

    async def ask(self, card_id: str, *, with_history: bool = False) -> bytes | None:
        """Return the body of a card's answer, None for 404; of all its orders `with_history`. Raises RemoteError."""
        ...

    async def ask_many(self, card_ids: Sequence[str]) -> Envelope:
        """Return the operations of many cards by one call; what is missing is unknown. Raises RemoteError."""
        ...

    async def changes(self, since: str | None = None, *, limit: int = 1_000, wait: int = 0) -> Page:
        """Return a page of the changes feed. Raises RemoteCursorExpired or RemoteError."""
        ...


async def insisted(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call, and once more where its token was refused, a new one included. Raises RemoteError."""
    try:
        return await call()
    except RemoteUnauthorized:
        return await call()


class Asker:
    """Asks for cards of one issuer and keeps what is answered, under the lease of `fence`, or under none."""

    def __init__(self, issuer_id: str, source: Source, mirror: AsyncMirror, fence: int, *, many: bool) -> None:
        self.issuer_id = issuer_id
        self.source = source
        self.mirror = mirror
        self.fence = fence
        self.many = many
        """Whether the server reads batches."""

    async def ask(self, cards: Sequence[Wanted], *, with_history: bool = False) -> Heard:
        """Ask for cards, MANY at most where the server reads batches; what was answered is kept in any case.

        `with_history` asks for all orders of each card, one card a call, where the server knows them.
        Raises RemoteUnauthorized, RemoteForbidden, Outage, LeaseLost or StoreUnavailable.
        """
        if not cards:
            return Heard()
        this = Round(await self.mirror.ticket(self.issuer_id), with_history=with_history)
        try:
            await (self._by_batch if self.many and not with_history else self._one_by_one)(this, cards)
        finally:
            outcomes = await self._keep(this)
        changed = {each.operation.card_id for each in outcomes if isinstance(each, CHANGING)}
        answers = [each.answer for each in this.asked.values()]
        asked = len(answers) + len(this.same)
        return Heard(this.calls, asked, answers.count("unknown"), answers.count("failed"), len(changed))

    async def ask_now(self, card_id: str) -> Heard:
        """Ask for one card because a person wants to know; what nobody answers, or nobody knows, is not kept.

        Raises RemoteError or StoreUnavailable.
        """
        this = Round(await self.mirror.ticket(self.issuer_id))
        body = await insisted(lambda: self.source.ask(card_id))
        if body is None and not await self._keeps(card_id):
            return Heard(calls=1, asked=1, unknown=1)
        this.answer(Wanted(card_id), body, self.mirror.clock())
        outcomes = await self._keep(this)
        answers = [each.answer for each in this.asked.values()]
        changed = sum(isinstance(each, CHANGING) for each in outcomes)
        return Heard(1, 1, answers.count("unknown"), answers.count("failed"), changed)

    async def _keeps(self, card_id: str) -> bool:
        """Tell whether the mirror keeps or expects a card."""
        row = await self.mirror.db.read(lambda tx: tx.one("card", issuer_id=self.issuer_id, card_id=card_id))
        return row is not None

    async def _one_by_one(self, this: Round, cards: Sequence[Wanted]) -> None:
        waiting = iter(cards)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(WORKERS, len(cards))):
                    workers.create_task(self._work(this, waiting))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        for wanted in chain(waiting, this.aside):  # one after the other, so that a token that ends costs one question
            if error := await self._refusal(this, wanted):
                this.give_up(wanted, error)
        this.end()

    async def _work(self, this: Round, waiting: Iterator[Wanted]) -> None:
        """Ask for cards until one is refused: so many questions at once are too many for tokens that end."""
        for wanted in waiting:
            if error := await self._refusal(this, wanted):
                this.put_aside(wanted, error)
                return

    async def _refusal(self, this: Round, wanted: Wanted) -> RemoteUnauthorized | None:
        """Ask for a card and keep its answer; return why it was refused, if it was. Raises RemoteForbidden, Outage."""
        this.calls += 1
        try:
            body = await self.source.ask(wanted.card_id, with_history=this.with_history)
        except RemoteForbidden:
            raise
        except RemoteUnauthorized as error:
            return error
        except RemoteError as error:
            this.fail(wanted, error)
        else:
            this.answer(wanted, body, self.mirror.clock())
        return None

    async def _by_batch(self, this: Round, cards: Sequence[Wanted]) -> None:
        this.calls += 1
        card_ids = [wanted.card_id for wanted in cards]
        page = await insisted(lambda: self.source.ask_many(card_ids))
        known = this.take(page.elements, self.mirror.clock(), frozenset(card_ids))
        # Where something could not be read, a card that is missing may be just that one.
        missing = "failed" if this.sightings else "unknown"
        this.asked |= {each.card_id: Asked("found" if each.card_id in known else missing) for each in cards}

    async def _keep(self, this: Round) -> list[Outcome]:
        if not this.asked and not this.same:
            return []
        now, again = self.mirror.clock(), self.mirror.schedule.again
        confirmed = [
            Confirmed(each.card_id, each.digest or b"", each.asks + 1, again(each.knowledge, each.asks + 1, now))
            for each in this.same
        ]
        return await self.mirror.put(self.issuer_id, Batch(
            now=now, observed=this.observed, asked=this.asked, confirmed=confirmed, ticket=this.ticket,
            sightings=this.sightings, fence=self.fence or None,
        ))  # fmt: skip


def asking(issuer_id: str, source: Source, mirror: AsyncMirror) -> Callable[[str], Awaitable[Heard]]:
    """Return what asks for one card because a person wants to know, beside any reconciler.

    It needs no lease: tickets decide whose answer is later, and a lease only keeps two from doing the same work. It
    raises as `Asker.ask_now`.
    """
    return Asker(issuer_id, source, mirror, NO_LEASE, many=False).ask_now
