"""When a card of the mirror is to be asked for next."""

from collections.abc import Sequence

from cardtrail.issuer.rows import Card
from cardtrail.issuer.standing import Known


def scheduled(card: Card, orders: Sequence[Known], now: int) -> None:
    """Set a card's state, priority and due time from its orders; `now` in µs."""
    card.state = "open" if orders else "expected"
    card.priority, card.due_at = (0, now) if any(order.doubtful for order in orders) else (4, now)
