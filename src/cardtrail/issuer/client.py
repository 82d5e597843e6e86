"""The client of the published contract: `AsyncClient` for event loops, `Client` for threads; both drive `flows`."""

import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from random import random
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from cardtrail import __version__
from cardtrail.issuer import flows, ledger, ordering
from cardtrail.issuer.answers import Features, Notifications, NotOrdered, Ordered, Page, Replayed
from cardtrail.issuer.check import Moment
from cardtrail.issuer.drive import AsyncDriver, Driver
from cardtrail.issuer.flows import Answered
from cardtrail.issuer.link import Options, link_of
from cardtrail.issuer.send import AsyncSender, Sender
from cardtrail.issuer.session import Session
from cardtrail.protocol.reading import Envelope, Operation
from cardtrail.protocol.token import PrivateKey

T = TypeVar("T")

_SENT_BY = f"cardtrail/{__version__}"


class AsyncClient:
    """Asks a server of the published contract about the cards of one issuer, and orders them, from an event loop.

    `base_url` ends before `/issuers/` (`https://api.d1.thalescloud.io/banking/v1`); `key` is the issuer's private key
    as PEM, as JWK or as it was read, `kid` its name at the server. `allow_http` lets it speak without TLS to others
    than this machine. Raises InputError naming the argument that is wrong.

    It belongs to one event loop. Every method raises InputError for what it was given, and RemoteError for what the
    other side did or did not do; what may pass has been tried again before that, where it could do no harm.
    """

    def __init__(
        self, base_url: str, issuer_id: str, *, key: PrivateKey | str, kid: str,
        allow_http: bool = False, **options: Unpack[Options],
    ) -> None:  # fmt: skip
        link = link_of(base_url, issuer_id, key, kid, allow_http=allow_http, **options)
        self._session = Session(link, time.monotonic, _wall, random)
        self._driver = AsyncDriver(self._session, AsyncSender(link, _SENT_BY))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._session.link!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection; calls that are under way fail."""
        await self._driver.close()

    async def production_status(self, card_id: str) -> Operation:
        """Return where the card's latest order stands. Raises RemoteNotFound for a card without one."""
        return await self._driver.run(flows.production_status(self._session, card_id))

    async def production_history(self, card_id: str) -> list[Operation]:
        """Return all orders of the card, newest first; only the latest where the server knows no history."""
        return await self._driver.run(flows.history(self._session, card_id))

    async def production_status_many(
        self, card_ids: Iterable[str] | AsyncIterable[str]
    ) -> AsyncGenerator[Answered, None]:
        """Yield each id, in the order given, with its latest order or with the error that took its place.

        Cards are asked for together where the server offers that, else one by one and many at once. However many
        there are, no more than some thousand are held at a time. Who leaves early ends the calls that are under way by
        `aclose`, or by `contextlib.aclosing`.
        """
        plan = await self._driver.run(flows.plan_of(self._session))
        async with aclosing(self._driver.each(card_ids, plan)) as all_answers:
            async for answers in all_answers:
                for each in answers:
                    yield each

    async def ask(self, card_id: str, *, with_history: bool = False) -> bytes | None:
        """Return the answer about a card as it came, unread, or None for a card without an order.

        `with_history` asks for all its orders, where the server knows them.
        """
        return await self._driver.run(flows.ask(self._session, card_id, with_history=with_history))

    async def ask_many(self, card_ids: Sequence[str]) -> Envelope:
        """Return the latest operations of 1 to 1,000 cards by one call, unread; what is missing has no order.

        Raises NotOffered.
        """
        return await self._driver.run(flows.ask_many(self._session, card_ids))

    async def features(self, *, again: bool = False) -> Features:
        """Return which extensions the server has; found out by asking, at the first time or `again`."""
        return await self._driver.run(flows.features(self._session, again=again))

    async def changes(self, since: str | None = None, *, limit: int = flows.MAX_LIMIT, wait: int = 0) -> Page:
        """Return what changed after the cursor `since`, from the beginning without one.

        Where there is nothing yet, the server waits up to `wait` seconds for something. Raises NotOffered, or
        RemoteCursorExpired for a cursor that is worth nothing any more: begin again without one.
        """
        return Page.of(await self._driver.run(flows.changes(self._session, since, limit, wait)))

    async def read_changes(self, since: str | None, limit: int) -> Envelope:
        """Return a page of what changed after the cursor, unread. Raises what `changes` raises."""
        return await self._driver.run(flows.changes(self._session, since, limit, 0))

    async def order_card(self, card_id: str, order: Mapping[str, Any]) -> Ordered:
        """Order a card; `order` is the body as the contract has it.

        With an `issuerRequestId` in it the call may be repeated freely, and is. Raises RemoteConflict if that id was
        used with other content.
        """
        return await self._driver.run(ordering.order_card(self._session, card_id, order))

    async def order_cards(self, orders: Sequence[Mapping[str, Any]]) -> list[Ordered | NotOrdered]:
        """Order 1 to 1,000 cards, each order with its `cardId`; return one result for each, at its place."""
        return await self._driver.run(ordering.order_cards(self._session, orders))

    async def notifications(  # noqa: PLR0913 -- all that a selection can be made of
        self, *, state: str | None = None, since: Moment | None = None, until: Moment | None = None,
        card_id: str | None = None, endpoint_id: str | None = None, after: str | None = None, limit: int = 100,
    ) -> Notifications:  # fmt: skip
        """Return what was sent and what was not, oldest first; read on with `next` as `after`. Raises NotOffered.

        Times are `datetime` with a zone, or µs UTC.
        """
        selection = ledger.selection_of(
            state=state, since=since, until=until, card_id=card_id, endpoint_id=endpoint_id, after=after
        )
        return await self._driver.run(ledger.notifications(self._session, selection, limit))

    async def replay(  # noqa: PLR0913 -- all that a selection can be made of
        self, *, notification_ids: Sequence[str] | None = None, state: str | None = None,
        since: Moment | None = None, until: Moment | None = None,
        card_id: str | None = None, endpoint_id: str | None = None,
        never_attempted: bool = False, exact: bool = False, dry_run: bool = False,
    ) -> Replayed:  # fmt: skip
        """Have notifications sent again: these, or those of a selection, or what was `never_attempted`.

        The newest of each order goes out, or with `exact` what is stored. `dry_run` only counts. Raises NotOffered.
        """
        selection = ledger.selection_of(
            state=state, since=since, until=until, card_id=card_id, endpoint_id=endpoint_id,
            notificationIds=notification_ids, neverAttempted=never_attempted or None, exact=exact or None,
            dryRun=dry_run or None,
        )  # fmt: skip
        return await self._driver.run(ledger.replay(self._session, selection))


class Client:
    """What AsyncClient is, for threads: as many as like may share one. Close it, or use it in a `with` block."""

    def __init__(
        self, base_url: str, issuer_id: str, *, key: PrivateKey | str, kid: str,
        allow_http: bool = False, **options: Unpack[Options],
    ) -> None:  # fmt: skip
        link = link_of(base_url, issuer_id, key, kid, allow_http=allow_http, **options)
        self._session = Session(link, time.monotonic, _wall, random)
        self._driver = Driver(self._session, Sender(link, _SENT_BY))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._session.link!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection; calls that are under way fail."""
        self._driver.close()

    def production_status(self, card_id: str) -> Operation:
        """As `AsyncClient.production_status`."""
        return self._driver.run(flows.production_status(self._session, card_id))

    def production_history(self, card_id: str) -> list[Operation]:
        """As `AsyncClient.production_history`."""
        return self._driver.run(flows.history(self._session, card_id))

    def production_status_many(self, card_ids: Iterable[str]) -> Iterator[Answered]:
        """As `AsyncClient.production_status_many`, on threads of its own while it lasts."""
        plan = self._driver.run(flows.plan_of(self._session))
        for answers in self._driver.each(card_ids, plan):
            yield from answers

    def ask(self, card_id: str, *, with_history: bool = False) -> bytes | None:
        """As `AsyncClient.ask`."""
        return self._driver.run(flows.ask(self._session, card_id, with_history=with_history))

    def ask_many(self, card_ids: Sequence[str]) -> Envelope:
        """As `AsyncClient.ask_many`."""
        return self._driver.run(flows.ask_many(self._session, card_ids))

    def features(self, *, again: bool = False) -> Features:
        """As `AsyncClient.features`."""
        return self._driver.run(flows.features(self._session, again=again))

    def changes(self, since: str | None = None, *, limit: int = flows.MAX_LIMIT, wait: int = 0) -> Page:
        """As `AsyncClient.changes`."""
        return Page.of(self._driver.run(flows.changes(self._session, since, limit, wait)))

    def read_changes(self, since: str | None, limit: int) -> Envelope:
        """As `AsyncClient.read_changes`."""
        return self._driver.run(flows.changes(self._session, since, limit, 0))

    def order_card(self, card_id: str, order: Mapping[str, Any]) -> Ordered:
        """As `AsyncClient.order_card`."""
        return self._driver.run(ordering.order_card(self._session, card_id, order))

    def order_cards(self, orders: Sequence[Mapping[str, Any]]) -> list[Ordered | NotOrdered]:
        """As `AsyncClient.order_cards`."""
        return self._driver.run(ordering.order_cards(self._session, orders))

    def notifications(  # noqa: PLR0913 -- all that a selection can be made of
        self, *, state: str | None = None, since: Moment | None = None, until: Moment | None = None,
        card_id: str | None = None, endpoint_id: str | None = None, after: str | None = None, limit: int = 100,
    ) -> Notifications:  # fmt: skip
        """As `AsyncClient.notifications`."""
        selection = ledger.selection_of(
            state=state, since=since, until=until, card_id=card_id, endpoint_id=endpoint_id, after=after
        )
        return self._driver.run(ledger.notifications(self._session, selection, limit))

    def replay(  # noqa: PLR0913 -- all that a selection can be made of
        self, *, notification_ids: Sequence[str] | None = None, state: str | None = None,
        since: Moment | None = None, until: Moment | None = None,
        card_id: str | None = None, endpoint_id: str | None = None,
        never_attempted: bool = False, exact: bool = False, dry_run: bool = False,
    ) -> Replayed:  # fmt: skip
        """As `AsyncClient.replay`."""
        selection = ledger.selection_of(
            state=state, since=since, until=until, card_id=card_id, endpoint_id=endpoint_id,
            notificationIds=notification_ids, neverAttempted=never_attempted or None, exact=exact or None,
            dryRun=dry_run or None,
        )  # fmt: skip
        return self._driver.run(ledger.replay(self._session, selection))


def _wall() -> int:
    return time.time_ns() // 1_000
