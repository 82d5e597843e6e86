"""What is counted as orders move, in the transaction that moves them, so that no page ever counts orders.

The counters of an issuer are written under the lock of its change number, which every transaction that publishes
anything of the issuer has: so no two of them wait for each other, and what is counted is what was published.
"""

from collections import Counter
from datetime import UTC, date, datetime

from cardtrail.core.business import QUARTERS, quarters_between
from cardtrail.core.order import SECOND, Order
from cardtrail.core.place import IN_POST, Place, dwelt
from cardtrail.core.status import ProductionStatus
from cardtrail.db import Row

HOUR = 3_600 * SECOND
MAX_DWELL = 90 * QUARTERS
"""A dwell of more business days is counted as this one, in quarters of a day."""
MAX_LATE = 60
"""Days by which a promise is missed; more are counted as this one, and as many too early likewise."""
_OUT = IN_POST | {ProductionStatus.SHIPPED.value, ProductionStatus.RETURNED.value}


class Moves:
    """What has moved in one transaction."""

    def __init__(self) -> None:
        self._counts = Counter[Row]()

    def note(self, issuer_id: str, before: Place | None, order: Order, now: Place, at: int) -> None:
        """Note that an order is now at a place, and where it was; `at` is when that was recorded, µs."""
        if before is not None and before.name == now.name:
            return
        self._counts[issuer_id, "standing", 0, now.name, "", "", "", 0] += 1
        self._counts[issuer_id, "passage", at // HOUR, now.name, "", "", "", 0] += 1
        if before is not None:
            self._counts[issuer_id, "standing", 0, before.name, "", "", "", 0] -= 1
            self._note_dwell(issuer_id, before, order, now)
        if now.name in _OUT and (before is None or before.name not in _OUT):
            self._note_promise(issuer_id, order, at)

    def _note_dwell(self, issuer_id: str, before: Place, order: Order, now: Place) -> None:
        span = dwelt(before, order, now)
        if span is not None:
            quarters = min(quarters_between(before.since, now.since), MAX_DWELL)
            self._counts[issuer_id, "dwell", 0, before.name, before.site, before.channel, before.carrier, quarters] += 1

    def _note_promise(self, issuer_id: str, order: Order, at: int) -> None:
        shipped = next((step.at for step in order.timeline if step.status == ProductionStatus.SHIPPED), None)
        due = _date_of(order.due_date)
        if shipped is None or due is None:
            return
        days = (datetime.fromtimestamp(shipped / SECOND, UTC).date() - due).days
        days = max(-MAX_LATE, min(MAX_LATE, days))
        self._counts[issuer_id, "promise", at // HOUR // 24 * 24, "", order.production_site or "", "", "", days] += 1

    def found(self, issuer_id: str, now: Place) -> None:
        """Note that an order is at a place, and has been since before anybody counted."""
        self._counts[issuer_id, "standing", 0, now.name, "", "", "", 0] += 1

    def rows(self) -> list[Row]:
        """Return what to add to the counters, in the order of their keys."""
        return [(*key, count) for key, count in sorted(self._counts.items()) if count]


def row_of(place: Place) -> Row:
    """Return a place as it is stored with its order."""
    return place.name, place.since, int(place.is_watched), place.site, place.channel, place.carrier


def _date_of(text: str | None) -> date | None:
    """Return the date that a due date begins with; it may be an instant, too."""
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None
