"""Asking for cards and taking in what is answered: from a list of cards to one transaction of the mirror.

Every question has a ticket of the mirror from before it, so its answer wins over all that was observed before, and over
nothing that came since. An answer of exactly the bytes of the last one, of a card of which nothing was heard since, is
not even decoded.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

import msgspec

from cardtrail.errors import InputError, RemoteError, RemoteForbidden, RemoteUnauthorized
from cardtrail.issuer.answers import Page
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.standing import CHANGING, Observed, Outcome
from cardtrail.issuer.take import Asked, Batch, Confirmed, Sighting
from cardtrail.protocol.reading import Envelope, envelope_of, operation_of

MANY = 1_000
"""Most cards in one call where the server reads batches."""
WORKERS = 32
"""Questions under way at once for one list of cards, where each card is a call of its own."""
OUTAGE = 20
"""So many calls in a row that fail are an outage: it is not for the remaining cards to find that out."""

_log = logging.getLogger("cardtrail.issuer")


class Outage(RemoteError):
    """The server does not answer any more; what was learned until then is kept."""


class Source(Protocol):
    """What the reconciler asks: `AsyncClient`, of any server of the published contract."""

    async def ask(self, card_id: str) -> bytes | None:
        """Return the body of a card's answer, None for 404. Raises RemoteError."""
        ...

    async def ask_many(self, card_ids: Sequence[str]) -> Envelope:
        """Return the operations of many cards by one call; what is missing is unknown. Raises RemoteError."""
        ...

    async def changes(self, since: str | None = None, *, limit: int = 1_000, wait: int = 0) -> Page:
        """Return a page of the changes feed. Raises RemoteCursorExpired or RemoteError."""
        ...


class Wanted(NamedTuple):
    """A card to be asked for; the columns of its table tell what the others mean.

    `digest` is of its last answer, None where that must be read again in any case.
    """

    card_id: str
    asked_no: int = 0
    digest: bytes | None = None
    asks: int = 0
    knowledge: bytes = b""


class Heard(msgspec.Struct, frozen=True):
    """What asking for some cards came to. `changed` are cards of which the mirror had been wrong."""

    calls: int = 0
    asked: int = 0
    unknown: int = 0
    failed: int = 0
    changed: int = 0

    def __add__(self, other: "Heard") -> "Heard":
        return Heard(*(getattr(self, name) + getattr(other, name) for name in Heard.__struct_fields__))


class _Round:
    """The answers of one list of cards."""

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.observed: list[Observed] = []
        self.asked: dict[str, Asked] = {}
        self.same: list[Wanted] = []
        """Cards whose answer has the bytes of the last one."""
        self.sightings: list[Sighting] = []
        self.calls = 0
        self.failures = 0
        """Calls in a row that failed."""

    def answer(self, wanted: Wanted, body: bytes | None, now: int) -> None:
        """Keep the body of a card's answer."""
        digest = self._news(wanted, body)
        if digest is None or body is None:
            return
        try:
            elements = envelope_of(body).elements
        except InputError as error:
            self.sightings.append(Sighting("answer", str(error), body))
            self.asked[wanted.card_id] = Asked("failed")
            return
        self._understand(wanted, elements, digest, now)

    def _news(self, wanted: Wanted, content: bytes | None) -> bytes | None:
        """Return the digest of an answer that has to be read; keep one that needs not."""
        self.failures = 0
        if content is None:
            self.asked[wanted.card_id] = Asked("unknown")
            return None
        digest = digest_of(content)
        if digest != wanted.digest:
            return digest
        self.same.append(wanted)
        return None

    def _understand(self, wanted: Wanted, elements: Sequence[msgspec.Raw | bytes], digest: bytes, now: int) -> None:
        found = self.take(elements, now)
        known = any(each.operation.card_id == wanted.card_id for each in found)
        self.asked[wanted.card_id] = Asked("found", digest) if known else Asked("failed")

    def take(self, elements: Sequence[msgspec.Raw | bytes], now: int) -> list[Observed]:
        """Keep the operations of an answer; what cannot be read of it is kept as a sighting."""
        found = []
        for element in elements:
            try:
                found.append(Observed(operation_of(element), "answer", now, self.ticket))
            except InputError as error:
                self.sightings.append(Sighting("element", str(error), bytes(element)))
        self.observed += found
        return found

    def fail(self, wanted: Wanted, error: RemoteError) -> None:
        """Keep that a card was not answered. Raises Outage where nothing seems to be any more."""
        self.asked[wanted.card_id] = Asked("failed")
        self.failures += 1
        _log.warning("not answered: card %s: %s", wanted.card_id, error)
        if self.failures >= OUTAGE:
            # They count as not asked for, so that a pass which is gone on with asks for them again.
            self.asked = {card_id: asked for card_id, asked in self.asked.items() if asked.answer != "failed"}
            raise Outage(f"{self.failures} calls in a row have failed; the last: {error}", status=error.status)


def digest_of(body: bytes) -> bytes:
    """Return what tells two answers apart."""
    return blake2b(body, digest_size=16).digest()


class Asker:
    """Asks for cards of one issuer and keeps what is answered, under the lease of `fence`."""

    def __init__(self, issuer_id: str, source: Source, mirror: AsyncMirror, fence: int, *, many: bool) -> None:
        self.issuer_id = issuer_id
        self.source = source
        self.mirror = mirror
        self.fence = fence
        self.many = many
        """Whether the server reads batches."""

    async def ask(self, cards: Sequence[Wanted]) -> Heard:
        """Ask for cards, MANY at most where the server reads batches; what was answered is kept in any case.

        Raises RemoteUnauthorized, RemoteForbidden, Outage, LeaseLost or StoreUnavailable.
        """
        if not cards:
            return Heard()
        this = _Round(await self.mirror.ticket(self.issuer_id))
        try:
            await (self._by_batch(this, cards) if self.many else self._one_by_one(this, cards))
        finally:
            outcomes = await self._keep(this)
        changed = {each.operation.card_id for each in outcomes if isinstance(each, CHANGING)}
        answers = [each.answer for each in this.asked.values()]
        asked = len(answers) + len(this.same)
        return Heard(this.calls, asked, answers.count("unknown"), answers.count("failed"), len(changed))

    async def _one_by_one(self, this: _Round, cards: Sequence[Wanted]) -> None:
        waiting = iter(cards)
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(WORKERS, len(cards))):
                    workers.create_task(self._work(this, waiting))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _work(self, this: _Round, waiting: Iterator[Wanted]) -> None:
        for wanted in waiting:
            this.calls += 1
            try:
                body = await self.source.ask(wanted.card_id)
            except (RemoteUnauthorized, RemoteForbidden):
                raise
            except RemoteError as error:
                this.fail(wanted, error)
            else:
                this.answer(wanted, body, self.mirror.clock())

    async def _by_batch(self, this: _Round, cards: Sequence[Wanted]) -> None:
        this.calls += 1
        page = await self.source.ask_many([wanted.card_id for wanted in cards])
        known = {each.operation.card_id for each in this.take(page.elements, self.mirror.clock())}
        # Where something could not be read, a card that is missing may be just that one.
        missing = "failed" if this.sightings else "unknown"
        this.asked |= {each.card_id: Asked("found" if each.card_id in known else missing) for each in cards}

    async def _keep(self, this: _Round) -> list[Outcome]:
        if not this.asked and not this.same:
            return []
        now, again = self.mirror.clock(), self.mirror.schedule.again
        confirmed = [
            Confirmed(each.card_id, each.digest or b"", each.asks + 1, again(each.knowledge, each.asks + 1, now))
            for each in this.same
        ]
        return await self.mirror.put(self.issuer_id, Batch(
            now=now, observed=this.observed, asked=this.asked, confirmed=confirmed, ticket=this.ticket,
            sightings=this.sightings, fence=self.fence,
        ))  # fmt: skip
