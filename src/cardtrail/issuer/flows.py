"""What the client asks about cards, as flows: one text for both clients. Contract sections 1 and 11.

Orders are in `ordering`, notifications in `ledger`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from cardtrail.errors import BadAnswer, CardtrailError, InputError, NotOffered, RemoteError, RemoteNotFound
from cardtrail.issuer.answers import Features
from cardtrail.issuer.check import (
    CARD,
    NO_SUCH_PATH,
    UNTRIED_PATH,
    checked_card,
    extension,
    is_card,
    no_card,
    short_text,
    understood,
    within,
)
from cardtrail.issuer.refusal import bad_answer
from cardtrail.issuer.session import Session
from cardtrail.issuer.steps import Flow, Plan, Request, Response
from cardtrail.protocol.codec import MAX_BATCH
from cardtrail.protocol.reading import Envelope, Operation, envelope_of, operation_of, operations_of

MAX_LIMIT = 1_000
"""Most operations that a page is asked for."""
MAX_WAIT = 30
"""Longest time that the other side is asked to wait for a change, seconds."""
MAX_CURSOR = 1_024
"""Longest cursor, characters; ours are shorter."""
BATCHES_AHEAD = 2
"""How many calls for 1,000 cards each are at work at a time: one is answered while the other is read."""
SINGLES_AHEAD = 2
"""How many calls for one card are begun for each that may be made at once, so that none waits for the order."""
_PROBE = "probe"
"""The id of a card that is asked for to see whether cards can be asked for together."""

Answered = tuple[str, Operation | CardtrailError]
"""A card's id, and its newest operation or why there is none."""


class _Unknown(Struct):
    unknown: list[str]


class _Owned(Struct, rename="camel"):
    card_id: str


# ── on demand ────────────────────────────────────────────────────────────────────────────────────────────────


def ask(session: Session, card_id: str, *, with_history: bool = False) -> Flow[bytes | None]:
    """Return the body of the answer about a card as it came; None where the card is not known. Raises RemoteError."""
    url = f"{_status_url(session, card_id)}{'?history=true' if with_history else ''}"
    try:
        return (yield from session.call("GET", url))[1].body
    except RemoteNotFound:
        return None


def production_status(session: Session, card_id: str) -> Flow[Operation]:
    """Return the operation of the card's latest order. Raises RemoteNotFound and other RemoteErrors."""
    request, response = yield from session.call("GET", _status_url(session, card_id))
    operations = understood(request, response, _operations)
    if not operations:
        raise _nothing_of(request, response)
    _check_owner(request, response, card_id, operations)
    return max(operations, key=_age)


def history(session: Session, card_id: str) -> Flow[list[Operation]]:
    """Return the operations of all orders of the card, newest first. Raises RemoteNotFound and other RemoteErrors."""
    request, response = yield from session.call("GET", f"{_status_url(session, card_id)}?history=true")
    operations = understood(request, response, _operations)
    _check_owner(request, response, card_id, operations)
    return sorted(operations, key=_age, reverse=True)


def status_or_error(session: Session, card_id: str) -> Flow[Answered]:
    """Return what is known of a card, or why nothing is."""
    try:
        return card_id, (yield from production_status(session, card_id))
    except CardtrailError as error:
        return card_id, error


def _status_url(session: Session, card_id: str) -> str:
    return f"{session.root}/physicalCards/{checked_card(card_id)}/productionStatus"


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
    return understood(*(yield from _batch_get(session, card_ids)), envelope_of)


def _batch_get(session: Session, card_ids: Sequence[str]) -> Flow[tuple[Request, Response]]:
    if not 1 <= len(card_ids) <= MAX_BATCH:
        raise InputError("card_ids", f"1 to {MAX_BATCH} ids")
    body = msgspec.json.encode({"cardIds": [checked_card(each) for each in card_ids]})
    url = f"{session.root}/physicalCards/productionStatus:batchGet"
    return (yield from extension(session.call("POST", url, body), NO_SUCH_PATH))


def plan_of(session: Session) -> Flow[Plan[str, list[Answered]]]:
    """Return how very many cards are asked for. Raises RemoteError where the other side cannot be asked now."""
    if (yield from _has(session, "batch", _probe_batch)):
        return Plan(MAX_BATCH, partial(status_of_each, session), BATCHES_AHEAD)
    return Plan(1, partial(one_by_one, session), SINGLES_AHEAD * session.link.concurrency)


def status_of_each(session: Session, card_ids: Sequence[str]) -> Flow[list[Answered]]:
    """Return what is known of 1 to 1,000 cards, or why nothing is, in their order, by one call if it can be."""
    good = [each for each in card_ids if is_card(each)]
    if not good:
        return [(each, no_card(CARD)) for each in card_ids]
    try:
        request, response = yield from _batch_get(session, good)
        found = understood(request, response, _by_card)
    except NotOffered:  # no more
        session.features.pop("batch", None)
        return (yield from one_by_one(session, card_ids))
    except CardtrailError as error:
        return [(each, error if is_card(each) else no_card(CARD)) for each in card_ids]
    name = request.correlation_id
    return [(each, _one_of(found, each, name) if is_card(each) else no_card(CARD)) for each in card_ids]


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
            yield from extension(probe(session), UNTRIED_PATH)
            session.features[name] = True
        except (NotOffered, BadAnswer):
            session.features[name] = False
    return session.features[name]


def _probe_feed(session: Session) -> Flow[object]:
    return changes(session, None, 1, 0)


def _probe_batch(session: Session) -> Flow[object]:
    return understood(*(yield from _batch_get(session, [_PROBE])), _by_card)


# ── the feed ─────────────────────────────────────────────────────────────────────────────────────────────────


def changes(session: Session, since: str | None, limit: int, wait: int) -> Flow[Envelope]:
    """Return a page of what changed after a cursor, from the beginning without one. Raises NotOffered and RemoteErrors.

    Where there is nothing yet, the other side waits up to `wait` seconds for something.
    """
    query: dict[str, object] = {"limit": within("limit", limit, 1, MAX_LIMIT)}
    if since is not None:
        query["since"] = short_text("since", since, MAX_CURSOR)
    if within("wait", wait, 0, MAX_WAIT):
        query["wait"] = wait
    url = f"{session.root}/physicalCards/operations?{urlencode(query)}"
    request, response = yield from extension(session.call("GET", url, longer=wait), NO_SUCH_PATH)
    return understood(request, response, _page)


def _page(body: bytes) -> Envelope:
    page = envelope_of(body)
    if page.cursor is None:
        raise InputError("cursor", "missing")
    return page


def _operations(body: bytes) -> list[Operation]:
    return operations_of(envelope_of(body).elements)
