"""When a card of the mirror is to be asked for next: from what the mirror keeps to what the policy needs, and back."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from cardtrail.issuer.due import MOST_DOUBLINGS, RETRY, CardKnowledge, Due, Why, due_of
from cardtrail.issuer.dwell import Dwell
from cardtrail.issuer.rows import Card
from cardtrail.issuer.standing import Known

SKEW = 600_000_000
"""How far the issuer's clock may be ahead of the platform's, µs, for an order to be recognised as the expected one."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CardKnowledge).decode


class Plan(NamedTuple):
    """A card's state, and when it is to be asked for next, and how urgently."""

    state: str
    priority: int
    due_at: int


class Schedule:
    """Plans when cards are asked for, by usual dwell times."""

    def __init__(self, dwell: Dwell) -> None:
        self._dwell = dwell

    def set(self, card: Card, orders: Sequence[Known], now: int) -> None:
        """Plan a card anew from its orders, and keep what the plan was made from; `now` in µs."""
        newest = newest_of(orders)
        if newest is None or _is_expected_anew(card, newest):
            knowledge = CardKnowledge("", "", "", card.expected_at or card.known_at)
        else:
            knowledge = knowledge_of(newest)
        card.knowledge = _encode(knowledge)
        asked = replace(
            knowledge, asked_at=card.checked_at or 0, asks=card.asks, unknown=card.answer == "unknown",
            looked=_is_looked_at(card, newest),
        )  # fmt: skip
        due = due_of(asked, now, self._dwell)
        if card.answer == "failed":  # nothing was learned, so nothing ends, and the next ask waits its turn
            due = Due(now + (RETRY << min(card.asks, MOST_DOUBLINGS)), min(due.why, Why.SWEEP))
        card.state, card.priority, card.due_at = _plan(due, is_open=newest is not None)

    def again(self, knowledge: bytes, asks: int, now: int) -> Plan:
        """Plan a card anew that was asked for just now and is as it was: `asks` times by now.

        Nothing was heard of it since the answer before, which was the same, so this one is a look at what it says.
        """
        known = replace(_decode(knowledge), asked_at=now, asks=asks, looked=True)
        return _plan(due_of(known, now, self._dwell), is_open=True)


def _plan(due: Due, *, is_open: bool) -> Plan:
    return Plan(_STATES.get(due.why) or ("open" if is_open else "expected"), int(due.why), due.at)


_STATES = {Why.SETTLED: "settled", Why.SILENT: "silent"}


def newest_of(orders: Sequence[Known]) -> Known | None:
    """Return a card's newest order, the one that an answer is about."""
    return max(orders, key=lambda each: (each.start_time or 0, each.number), default=None)


def _is_looked_at(card: Card, newest: Known | None) -> bool:
    """Return whether a question was answered that counts as a look at what the card's newest order says."""
    return newest is not None and card.answer != "failed" and card.asked_no >= newest.look_from


def _is_expected_anew(card: Card, newest: Known) -> bool:
    """Return whether the issuer has ordered the card again since its newest order that is known."""
    return card.expected_at is not None and (newest.start_time or 0) < card.expected_at - SKEW


def knowledge_of(order: Known) -> CardKnowledge:
    """Return what an order says that bears on asking for its card."""
    return CardKnowledge(
        order.stage, order.shipment_status or "", order.operation_status, order.learned_at, due_date=order.due_date,
        held=order.held, tracked=order.tracked, doubtful=order.doubtful,
    )  # fmt: skip
