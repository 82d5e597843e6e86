"""Orders in: reserve, connect, confirm, answer.

The operation's id is made first and is the connector's idempotency key. A reservation is invisible; the connector is
called outside any transaction; only a confirmed order exists. So a crash at any point leaves neither a lost order
(the client had no 202 and tries again, the same request resumes the same operation) nor a phantom one.
"""

import asyncio
import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cardtrail.core.event import ProductionEvent, ProductionKind
from cardtrail.db import Database, Transaction
from cardtrail.errors import CardtrailError, Conflict, InputError, ParsingError, StoreUnavailable
from cardtrail.platform.connector import CardOrder, ProductionConnector
from cardtrail.platform.held import Outcome
from cardtrail.platform.ingest import Ingest, stored
from cardtrail.platform.refuse import MAX_ORDERS
from cardtrail.protocol.codec import MAX_DEPTH, CardId, Line, Name, input_error_of

CONNECT_SECONDS = 15.0
"""Longest wait for the connector."""
MAX_CONNECTS = 16
"""Orders of one batch on their way to the connector at once."""
MAX_ENCRYPTED = 16_384
"""Longest `encryptedData`, characters."""

_JWE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){3}\.[A-Za-z0-9_-]+")
_CHANNELS = frozenset({"THALES", "INSTANT", "CENTRAL"})
_OWN = frozenset({"encryptedData", "cardId"})


class OrderIn(msgspec.Struct, rename="camel"):
    """What we need of an order; everything else is the connector's business."""

    distribution_channel: str
    encrypted_data: str | None = None
    issuer_request_id: Name | None = None
    card_id: CardId | None = None
    consumer_id: Line | None = None
    card_product_id: Line | None = None


class Reservation(msgspec.Struct, frozen=True):
    """An order that has its operation id; `confirmed` when production has it."""

    operation_id: str
    reserved_at: int
    confirmed: bool


class Wanted(msgspec.Struct, frozen=True):
    """An order as read: what we keep, a hash of its content, and what only the connector may see."""

    card_id: str
    channel: str
    issuer_request_id: str | None
    fingerprint: bytes
    content: bytes
    encrypted_data: str

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return f"Wanted(card_id={self.card_id!r})"


def wanted_of(members: object, card_id: str | None) -> Wanted:
    """Check one order. Raises InputError naming the field; never repeats a value of `encryptedData`."""
    if not isinstance(members, dict):
        raise InputError("", "an object is expected")
    order = _typed({**members, "cardId": card_id} if card_id is not None else members)
    name = order.card_id
    if name is None:
        raise InputError("cardId", "is required")
    if order.distribution_channel not in _CHANNELS:
        raise InputError("distributionChannel", "THALES, INSTANT or CENTRAL", "FIELD_INVALID_VALUE")
    encrypted = order.encrypted_data or ""
    if len(encrypted) > MAX_ENCRYPTED:
        raise InputError("encryptedData", f"at most {MAX_ENCRYPTED} characters")
    if order.encrypted_data is not None and not _JWE.fullmatch(encrypted):
        raise InputError("encryptedData", "not a compact JWE", "CRYPTO_ERROR")
    kept = {member: value for member, value in members.items() if member not in _OWN}
    content = msgspec.json.encode(kept, order="sorted")
    fingerprint = hashlib.blake2b(name.encode() + b"|" + content, digest_size=16).digest()
    return Wanted(name, order.distribution_channel, order.issuer_request_id, fingerprint, content, encrypted)


def _typed(members: dict[str, Any]) -> OrderIn:
    try:
        return msgspec.convert(members, OrderIn)
    except msgspec.ValidationError as error:
        raise input_error_of(error) from None


def members_of(body: bytes) -> Any:
    """Decode a JSON body of bounded depth. Raises ParsingError."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        text = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ParsingError(text[:200]) from None
    if _is_too_deep(decoded):
        raise ParsingError(f"nested deeper than {MAX_DEPTH}")
    return decoded


def _is_too_deep(value: object) -> bool:
    """Tell whether objects and lists are nested deeper than the limit."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner = [part for part in level if isinstance(part, dict | list)]
        if not inner:
            return False
        level = [child for part in inner for child in (part.values() if isinstance(part, dict) else part)]
    return any(isinstance(part, dict | list) for part in level)


class Orders:
    """Takes orders. `clock` gives domain time in µs; ids are made here, so that a rerun meets its own."""

    def __init__(
        self, db: Database, ingest: Ingest, connector: ProductionConnector, new_id: Callable[[], str] | None = None
    ) -> None:
        self._db = db
        self._ingest = ingest
        self._connector = connector
        self._new_id = new_id or (lambda: f"op-{uuid.uuid4().hex}")

    async def order(
        self, issuer_id: str, wanted: Sequence[Wanted | InputError], cause: str = ""
    ) -> list[str | CardtrailError]:
        """Order cards of an issuer in a call; each gets its operation id, or its own error. Raises StoreUnavailable."""
        good = [order for order in wanted if isinstance(order, Wanted)]
        outcomes = iter(await self._order_good(issuer_id, good, cause))
        return [next(outcomes) if isinstance(order, Wanted) else order for order in wanted]

    async def _order_good(self, issuer_id: str, wanted: list[Wanted], cause: str) -> list[str | CardtrailError]:
        ids = [self._new_id() for _ in wanted]
        now = self._ingest.clock()
        reserved = await self._db.transact(lambda tx: [
            _reserve(tx, issuer_id, order, operation_id, now)
            for order, operation_id in zip(wanted, ids, strict=True)
        ])  # fmt: skip
        gate = asyncio.Semaphore(MAX_CONNECTS)
        placed = await asyncio.gather(*(
            self._place(issuer_id, order, place, gate) for order, place in zip(wanted, reserved, strict=True)
        ))  # fmt: skip
        fresh = {
            place: order for order, place, outcome in zip(wanted, reserved, placed, strict=True)
            if isinstance(place, Reservation) and isinstance(outcome, str) and not place.confirmed
        }  # fmt: skip
        refused = await self._confirm(issuer_id, fresh, cause)
        return [refused.get(outcome, outcome) if isinstance(outcome, str) else outcome for outcome in placed]

    async def _place(
        self, issuer_id: str, order: Wanted, reserved: Reservation | Conflict, gate: asyncio.Semaphore
    ) -> str | CardtrailError:
        if isinstance(reserved, Conflict):
            return reserved
        if reserved.confirmed:
            return reserved.operation_id
        card = CardOrder(
            operation_id=reserved.operation_id, issuer_id=issuer_id, card_id=order.card_id,
            encrypted_data=order.encrypted_data, content=order.content,
        )  # fmt: skip
        try:
            async with gate, asyncio.timeout(CONNECT_SECONDS):
                await self._connector.place(card)
        except Exception:  # noqa: BLE001 -- a connector may raise anything; its text could hold what must not be told
            return StoreUnavailable("production does not take the order now", 5)
        return reserved.operation_id

    async def _confirm(
        self, issuer_id: str, placed: dict[Reservation, Wanted], cause: str
    ) -> dict[str, CardtrailError]:
        """Make the orders exist: their `requested` events go the way of all events. Return those that may not.

        An event's content depends only on the reservation, so a resumed confirmation meets its own event.
        """
        now = self._ingest.clock()
        items = [
            stored("api:orders", _requested(issuer_id, place, order, now), cause) for place, order in placed.items()
        ]

        def work(tx: Transaction) -> list[Outcome]:
            outcomes = self._ingest.record(tx, items)
            told = zip(placed, outcomes, strict=True)
            good = [place.operation_id for place, outcome in told if outcome.result != "rejected"]
            tx.each("confirm_orders", [(issuer_id, operation_id) for operation_id in good])
            return outcomes

        outcomes = await self._db.transact(work) if placed else []
        return {
            place.operation_id: Conflict(outcome.text or "")
            for place, outcome in zip(placed, outcomes, strict=True) if outcome.result == "rejected"
        }  # fmt: skip


def _requested(issuer_id: str, place: Reservation, order: Wanted, now: int) -> ProductionEvent:
    return ProductionEvent(
        source="api:orders", event_id=place.operation_id, kind=ProductionKind.REQUESTED,
        occurred_at=place.reserved_at, recorded_at=max(now, place.reserved_at),
        issuer_id=issuer_id, card_id=order.card_id, operation_id=place.operation_id,
        issuer_request_id=order.issuer_request_id, distribution_channel=order.channel,
    )  # fmt: skip


def _reserve(tx: Transaction, issuer_id: str, order: Wanted, operation_id: str, now: int) -> Reservation | Conflict:
    """Reserve an operation id, or find the one that the same request had before."""
    added = tx.run(
        "reserve_order", issuer_id=issuer_id, operation_id=operation_id, card_id=order.card_id,
        issuer_request_id=order.issuer_request_id, fingerprint=order.fingerprint, reserved_at=now,
    )  # fmt: skip
    if added:
        if (tx.one("count_orders", issuer_id=issuer_id, card_id=order.card_id) or (0,))[0] > MAX_ORDERS:
            tx.run("drop_order", issuer_id=issuer_id, operation_id=operation_id)
            return Conflict(f"cardId: a card takes {MAX_ORDERS} orders")
        return Reservation(operation_id, now, confirmed=False)
    row = tx.one(
        "find_order", issuer_id=issuer_id, operation_id=operation_id, issuer_request_id=order.issuer_request_id
    )
    if row is None:
        raise StoreUnavailable("the order was reserved and is gone")
    known, fingerprint, state, reserved_at = row
    if bytes(fingerprint) != order.fingerprint:
        return Conflict("issuerRequestId: used before for an order with other content")
    return Reservation(known, reserved_at, confirmed=state == "CONFIRMED")
