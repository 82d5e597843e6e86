"""Orders of cards, as flows. Contract section 8."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from cardtrail.errors import InputError
from cardtrail.issuer.answers import NotOrdered, Ordered, kept
from cardtrail.issuer.check import checked_card, encoded, understood
from cardtrail.issuer.session import Session
from cardtrail.issuer.steps import Flow
from cardtrail.protocol.codec import MAX_BATCH


def order_card(session: Session, card_id: str, order: Mapping[str, Any]) -> Flow[Ordered]:
    """Order a card. Raises RemoteConflict, other RemoteErrors, or InputError.

    It is repeated after what may pass if the order has an `issuerRequestId`, which makes that safe.
    """
    url = f"{session.root}/physicalCards/{checked_card(card_id)}/operations:production"
    request, response = yield from session.call("POST", url, encoded("order", order), is_safe=_has_key(order))
    return understood(request, response, lambda body: _ordered(body, card_id))


def order_cards(session: Session, orders: Sequence[Mapping[str, Any]]) -> Flow[list[Ordered | NotOrdered]]:
    """Order 1 to 1,000 cards, each order with its `cardId`; each is taken or refused by itself, at its place.

    Raises RemoteError or InputError where all are refused.
    """
    if not 1 <= len(orders) <= MAX_BATCH:
        raise InputError("orders", f"1 to {MAX_BATCH} orders")
    for place, order in enumerate(orders):
        checked_card(order.get("cardId"), f"orders[{place}].cardId")
    url = f"{session.root}/physicalCards/operations:production"
    body = encoded("orders", {"cards": orders})
    request, response = yield from session.call("POST", url, body, is_safe=all(map(_has_key, orders)))
    return understood(request, response, lambda body: _results(body, len(orders)))


def _has_key(order: Mapping[str, Any]) -> bool:
    return bool(order.get("issuerRequestId"))


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
