"""Events as they come over the wire, for tests: small, valid, and with an id of their own."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from tests.serving import ISSUER

BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
_numbers = count(1)


def event(kind: str, card_id: str | None = None, *, hours: float = 0, **members: Any) -> dict[str, Any]:
    """Return an event `hours` after the beginning; a carrier's where the kind is one of a carrier."""
    source = "carrier:dhl" if kind in {"scanned", "returned"} else "site:north"
    about = {"issuerId": ISSUER, "cardId": card_id} if card_id is not None else {}
    return {
        "eventId": f"event-{next(_numbers)}", "source": source, "kind": kind,
        "occurredAt": (BEGIN + timedelta(hours=hours)).isoformat(), **about, **members,
    }  # fmt: skip
