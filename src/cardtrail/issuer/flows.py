"""Every call of the client, as a flow: one text for both clients. Contract sections 1, 8 and 11."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from cardtrail.errors import BadAnswer, CardtrailError, InputError, NotOffered, RemoteError, RemoteNotFound
from cardtrail.issuer.answers import (
    Features,
    Notification,
    Notifications,
    NotOrdered,
    Ordered,
    Replayed,
    kept,
    read,
)
from cardtrail.issuer.refusal import bad_answer
from cardtrail.issuer.session import Session
from cardtrail.issuer.steps import Flow, Plan, Request, Response
from cardtrail.protocol.codec import CARD_ID, MAX_BATCH, instant, timestamp
from cardtrail.protocol.reading import Envelope, Operation, envelope_of, operation_of, operations_of

T = TypeVar("T")
MAX_LIMIT = 1_000
"""Most operations or notifications that a page is asked for."""
MAX_WAIT = 30
"""Longest time that the other side is asked to wait for a change, seconds."""
MAX_CURSOR = 1_024
"""Longest cursor, characters; ours are shorter."""

BATCHES_AHEAD = 2
"""How many calls for 1,000 cards each are at work at a time: one is answered while the other is read."""
SINGLES_AHEAD = 2
"""How many calls for one card are begun for each that may be made at once, so that none waits for the order."""
CARD = "card_id"
"""How a wrong id is named."""
_UNTRIED_PATH = frozenset({400, 403, 404, 405, 501})
"""How servers answer a path that they do not have: a gateway says 403, a router that takes its word for an id 400."""
_NO_SUCH_PATH = frozenset({404, 405, 501})
_PROBE = "probe"
"""The id of a card that is asked for to see whether cards can be asked for together."""

Answered = tuple[str, Operation | CardtrailError]
"""A card's id, and its newest operation or why there is none."""


class _Unknown(Struct):
    unknown: list[str]


class _Owned(Struct, rename="camel"):
    card_id: str


# ── on demand ────────────────────────────────────────────────────────────────────────────────────────────────


def ask(session: Session, card_id: str) -> Flow[bytes | None]:
    """Return the body of the answer about a card as it came; None where the card is not known. Raises RemoteError."""
    try:
        return (yield from session.call("GET", _status_url(session, card_id)))[1].body
    except RemoteNotFound:
        return None


def production_status(session: Session, card_id: str) -> Flow[Operation]:
    """Return the operation of the card's latest order. Raises RemoteNotFound and other RemoteErrors."""
    request, response = yield from session.call("GET", _status_url(session, card_id))
    operations = _understood(request, response, _operations)
    if not operations:
        raise _nothing_of(request, response)
    _check_owner(request, response, card_id, operations)
    return max(operations, key=_age)


def history(session: Session, card_id: str) -> Flow[list[Operation]]:
    """Return the operations of all orders of the card, newest first. Raises RemoteNotFound and other RemoteErrors."""
    request, response = yield from session.call("GET", f"{_status_url(session, card_id)}?history=true")
    operations = _understood(request, response, _operations)
    _check_owner(request, response, card_id, operations)
    return sorted(operations, key=_age, reverse=True)


def status_or_error(session: Session, card_id: str) -> Flow[Answered]:
    """Return what is known of a card, or why nothing is."""
    try:
        return card_id, (yield from production_status(session, card_id))
    except CardtrailError as error:
        return card_id, error


def _status_url(session: Session, card_id: str) -> str:
    return f"{session.root}/physicalCards/{_card(card_id)}/productionStatus"


def _age(operation: Operation) -> int:
    return operation.start_time or 0


def _nothing_of(request: Request, response: Response) -> RemoteNotFound:
    text = f"{request.method} {request.url}: HTTP {response.status}, without an order"
    return RemoteNotFound(text, status=response.status, correlation_id=request.correlation_id)


def _check_owner(request: Request, response: Response, card_id: str, operations: Sequence[Operation]) -> None:
    if any(each.card_id != card_id for each in operations):
        raise bad_answer(request, response, "it tells of another card")


# ── many cards ───────────────────────────────────────────────────────────────────────────────────────────────


def ask_many(session: Session, card_ids: Sequence[str]) -> Flow[Envelope]:
    """Return the latest operation of each of 1 to 1,000 cards, unread; what is missing is not known.

    Raises NotOffered and other RemoteErrors.
    """
    return _understood(*(yield from _batch_get(session, card_ids)), envelope_of)


def _batch_get(session: Session, card_ids: Sequence[str]) -> Flow[tuple[Request, Response]]:
    if not 1 <= len(card_ids) <= MAX_BATCH:
        raise InputError("card_ids", f"1 to {MAX_BATCH} ids")
    body = msgspec.json.encode({"cardIds": [_card(each) for each in card_ids]})
    url = f"{session.root}/physicalCards/productionStatus:batchGet"
    return (yield from _extension(session.call("POST", url, body), _NO_SUCH_PATH))


def plan_of(session: Session) -> Flow[Plan[str, list[Answered]]]:
    """Return how very many cards are asked for. Raises RemoteError where the other side cannot be asked now."""
    if (yield from _has(session, "batch", _probe_batch)):
        return Plan(MAX_BATCH, partial(status_of_each, session), BATCHES_AHEAD)
    return Plan(1, partial(one_by_one, session), SINGLES_AHEAD * session.link.concurrency)


def status_of_each(session: Session, card_ids: Sequence[str]) -> Flow[list[Answered]]:
    """Return what is known of 1 to 1,000 cards, or why nothing is, in their order, by one call if it can be."""
    good = [each for each in card_ids if _is_card(each)]
    if not good:
        return [(each, _no_card(CARD)) for each in card_ids]
    try:
        request, response = yield from _batch_get(session, good)
        found = _understood(request, response, _by_card)
    except NotOffered:  # no more
        session.features.pop("batch", None)
        return (yield from one_by_one(session, card_ids))
    except CardtrailError as error:
        return [(each, error if _is_card(each) else _no_card(CARD)) for each in card_ids]
    name = request.correlation_id
    return [(each, _one_of(found, each, name) if _is_card(each) else _no_card(CARD)) for each in card_ids]


def one_by_one(session: Session, card_ids: Sequence[str]) -> Flow[list[Answered]]:
    """Return what is known of some cards, or why nothing is, by a call for each."""
    answers: list[Answered] = []
    for each in card_ids:
        answers += [(yield from status_or_error(session, each))]
    return answers


def _by_card(body: bytes) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = dict.fromkeys(msgspec.json.decode(body, type=_Unknown).unknown)
    for element in envelope_of(body).elements:
        try:
            found[msgspec.json.decode(element, type=_Owned).card_id] = bytes(element)
        except msgspec.DecodeError:  # nobody's
            continue
    return found


def _one_of(found: Mapping[str, bytes | None], card_id: str, correlation_id: str) -> Operation | RemoteError:
    kind: type[RemoteError] = BadAnswer
    why = "the answer says nothing of it"
    if (element := found.get(card_id)) is not None:
        try:
            return operation_of(element)
        except InputError as error:
            why = str(error)
    elif card_id in found:
        kind, why = RemoteNotFound, "the other side knows of no order"
    return kind(f"{card_id}: {why} (correlation id {correlation_id})", correlation_id=correlation_id)


# ── what the other side has ──────────────────────────────────────────────────────────────────────────────────


def features(session: Session, *, again: bool = False) -> Flow[Features]:
    """Return which extensions the other side has, asking `again` if so told. Raises RemoteError where none can tell."""
    if again:
        session.features.clear()
    feed = yield from _has(session, "feed", _probe_feed)
    batch = yield from _has(session, "batch", _probe_batch)
    return Features(feed, batch)


def _has(session: Session, name: str, probe: Callable[[Session], Flow[object]]) -> Flow[bool]:
    if name not in session.features:
        try:
            yield from _extension(probe(session), _UNTRIED_PATH)
            session.features[name] = True
        except (NotOffered, BadAnswer):
            session.features[name] = False
    return session.features[name]


def _probe_feed(session: Session) -> Flow[object]:
    return changes(session, None, 1, 0)


def _probe_batch(session: Session) -> Flow[object]:
    return _understood(*(yield from _batch_get(session, [_PROBE])), _by_card)


def _extension(flow: Flow[T], missing: frozenset[int]) -> Flow[T]:
    """Run a call of an extension; these statuses mean that there is none. Raises NotOffered."""
    try:
        return (yield from flow)
    except RemoteError as error:
        if error.status not in missing:
            raise
        raise NotOffered(
            str(error), status=error.status, error_code=error.error_code, correlation_id=error.correlation_id
        ) from None


# ── the feed ─────────────────────────────────────────────────────────────────────────────────────────────────


def changes(session: Session, since: str | None, limit: int, wait: int) -> Flow[Envelope]:
    """Return a page of what changed after a cursor, from the beginning without one. Raises NotOffered and RemoteErrors.

    Where there is nothing yet, the other side waits up to `wait` seconds for something.
    """
    query: dict[str, object] = {"limit": _within("limit", limit, 1, MAX_LIMIT)}
    if since is not None:
        query["since"] = _text("since", since, MAX_CURSOR)
    if _within("wait", wait, 0, MAX_WAIT):
        query["wait"] = wait
    url = f"{session.root}/physicalCards/operations?{urlencode(query)}"
    request, response = yield from _extension(session.call("GET", url, longer=wait), _NO_SUCH_PATH)
    return _understood(request, response, _page)


def _page(body: bytes) -> Envelope:
    page = envelope_of(body)
    if page.cursor is None:
        raise InputError("cursor", "missing")
    return page


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────


def order_card(session: Session, card_id: str, order: Mapping[str, Any]) -> Flow[Ordered]:
    """Order a card. Raises RemoteConflict, other RemoteErrors, or InputError.

    It is repeated after what may pass if the order has an `issuerRequestId`, which makes that safe.
    """
    url = f"{session.root}/physicalCards/{_card(card_id)}/operations:production"
    request, response = yield from session.call("POST", url, _encoded("order", order), is_safe=_has_key(order))
    return _understood(request, response, lambda body: _ordered(body, card_id))


def order_cards(session: Session, orders: Sequence[Mapping[str, Any]]) -> Flow[list[Ordered | NotOrdered]]:
    """Order 1 to 1,000 cards, each order with its `cardId`; each is taken or refused by itself, at its place.

    Raises RemoteError or InputError where all are refused.
    """
    if not 1 <= len(orders) <= MAX_BATCH:
        raise InputError("orders", f"1 to {MAX_BATCH} orders")
    for place, order in enumerate(orders):
        _card(order.get("cardId"), f"orders[{place}].cardId")
    url = f"{session.root}/physicalCards/operations:production"
    body = _encoded("orders", {"cards": orders})
    request, response = yield from session.call("POST", url, body, is_safe=all(map(_has_key, orders)))
    return _understood(request, response, lambda body: _results(body, len(orders)))


def _has_key(order: Mapping[str, Any]) -> bool:
    return bool(order.get("issuerRequestId"))


def _encoded(field: str, content: object) -> bytes:
    try:
        return msgspec.json.encode(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(field, f"it cannot be written as JSON: {type(error).__name__}") from None


def _ordered(body: bytes, card_id: str) -> Ordered:
    members = msgspec.json.decode(body)
    return kept({"cardId": card_id} | members if isinstance(members, dict) else members, Ordered)


class _Results(Struct):
    results: list[dict[str, Any]]


def _results(body: bytes, expected: int) -> list[Ordered | NotOrdered]:
    results = msgspec.json.decode(body, type=_Results).results
    if len(results) != expected:
        raise InputError("results", f"{expected} expected, {len(results)} came")
    return [kept(each, Ordered) if "operationId" in each else kept(each, NotOrdered) for each in results]


# ── notifications ────────────────────────────────────────────────────────────────────────────────────────────


class _Ledger(Struct):
    notifications: list[dict[str, Any]]
    next: str | None = None


Moment = datetime | int
"""A time with its zone, or µs UTC."""


def notifications(session: Session, selection: Mapping[str, object], limit: int) -> Flow[Notifications]:
    """Return a page of what was sent and what was not, oldest first. Raises NotOffered and other RemoteErrors."""
    query = {"limit": _within("limit", limit, 1, MAX_LIMIT), **selection}
    url = f"{session.root}/notifications?{urlencode(query)}"
    request, response = yield from _extension(session.call("GET", url), _NO_SUCH_PATH)
    return _understood(request, response, _ledger)


def replay(session: Session, selection: Mapping[str, object]) -> Flow[Replayed]:
    """Have notifications sent again. Raises NotOffered and other RemoteErrors."""
    url = f"{session.root}/notifications:replay"
    call = session.call("POST", url, _encoded("replay", selection), is_safe=selection.get("dryRun") is True)
    request, response = yield from _extension(call, _NO_SUCH_PATH)
    return _understood(request, response, lambda body: read(body, Replayed))


def selection_of(
    *, state: str | None = None, since: Moment | None = None, until: Moment | None = None,
    card_id: str | None = None, endpoint_id: str | None = None, **more: object,
) -> dict[str, object]:  # fmt: skip
    """Return which notifications are meant, in the wire's words. Raises InputError."""
    selection = {
        "state": None if state is None else state.upper(),
        "since": None if since is None else _moment("since", since),
        "until": None if until is None else _moment("until", until),
        "cardId": None if card_id is None else _card(card_id),
        "endpointId": endpoint_id, **more,
    }  # fmt: skip
    return {name: value for name, value in selection.items() if value is not None}


def _ledger(body: bytes) -> Notifications:
    found = msgspec.json.decode(body, type=_Ledger)
    return Notifications(tuple([kept(each, Notification) for each in found.notifications]), found.next)


# ── what is sent, and what came ──────────────────────────────────────────────────────────────────────────────


def _operations(body: bytes) -> list[Operation]:
    return operations_of(envelope_of(body).elements)


def _understood(request: Request, response: Response, read_body: Callable[[bytes], T]) -> T:
    """Return what a success says. Raises BadAnswer."""
    try:
        return read_body(response.body)
    except (InputError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_answer(request, response, f"it is not as the contract says: {error}") from None


def _card(card_id: object, field: str = CARD) -> str:
    if not isinstance(card_id, str) or not CARD_ID.fullmatch(card_id):
        raise _no_card(field)
    return card_id


def _is_card(card_id: object) -> bool:
    return isinstance(card_id, str) and CARD_ID.fullmatch(card_id) is not None


def _no_card(field: str) -> InputError:
    return InputError(field, "1 to 48 of A-Z a-z 0-9 _ -")


def _within(field: str, number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise InputError(field, f"{least} to {most}", "FIELD_INVALID_VALUE")
    return number


def _text(field: str, text: str, most: int) -> str:
    if not 0 < len(text) <= most or not text.isprintable():
        raise InputError(field, f"1 to {most} printable characters")
    return text


def _moment(field: str, moment: Moment) -> str:
    return timestamp(moment if isinstance(moment, int) else instant(moment, field))
