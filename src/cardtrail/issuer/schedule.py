"""When a card of the mirror is to be asked for next: from what the mirror keeps to what the policy needs, and back."""

from collections.abc import Callable, Sequence

from cardtrail.issuer.due import MOST_DOUBLINGS, RETRY, CardKnowledge, Due, Why, due_of
from cardtrail.issuer.dwell import Dwell
from cardtrail.issuer.rows import Card
from cardtrail.issuer.standing import Known

SKEW = 600_000_000
"""How far the issuer's clock may be ahead of the platform's, µs, for an order to be recognised as the expected one."""

Schedule = Callable[[Card, Sequence[Known], int], None]
"""Sets a card's state, priority and due time from its orders; the last is now, in µs."""


def schedule_of(dwell: Dwell) -> Schedule:
    """Return what schedules cards by these dwell times."""

    def schedule(card: Card, orders: Sequence[Known], now: int) -> None:
        newest = newest_of(orders)
        if newest is not None and not _is_expected_anew(card, newest):
            knowledge = knowledge_of(newest, card)
        else:
            knowledge = CardKnowledge(
                "", "", "", card.expected_at or card.known_at, card.checked_at or 0, card.asks,
                unknown=card.answer == "unknown",
            )  # fmt: skip
        due = due_of(knowledge, now, dwell)
        if card.answer == "failed":  # nothing was learned, so nothing ends, and the next ask waits its turn
            due = Due(now + (RETRY << min(card.asks, MOST_DOUBLINGS)), min(due.why, Why.SWEEP))
        card.priority, card.due_at = int(due.why), due.at
        card.state = _STATES.get(due.why) or ("open" if newest else "expected")

    return schedule


_STATES = {Why.SETTLED: "settled", Why.SILENT: "silent"}


def newest_of(orders: Sequence[Known]) -> Known | None:
    """Return a card's newest order, the one that an answer is about."""
    return max(orders, key=lambda each: (each.start_time or 0, each.number), default=None)


def _is_expected_anew(card: Card, newest: Known) -> bool:
    """Return whether the issuer has ordered the card again since its newest order that is known."""
    return card.expected_at is not None and (newest.start_time or 0) < card.expected_at - SKEW


def knowledge_of(order: Known, card: Card | None = None) -> CardKnowledge:
    """Return what bears on asking for a card whose newest order this is."""
    return CardKnowledge(
        order.stage, order.shipment_status or "", order.operation_status, order.learned_at,
        (card.checked_at or 0) if card else 0, card.asks if card else 0, order.due_date, order.held, order.tracked,
        order.doubtful, card is not None and card.answer == "unknown",
    )  # fmt: skip
