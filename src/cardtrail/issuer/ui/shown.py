"""What templates are given of a card: its orders in words, with what the visitor may not see marked.

The mirror believes the newest picture of an order, so all that it says was told by that one; only when a status was
reached, and who told of that first, is known from before.
"""

from collections.abc import Iterator
from typing import Any, Final

from cardtrail.issuer.due import Why
from cardtrail.issuer.keep import WITH_FEED
from cardtrail.issuer.mirror import Held
from cardtrail.issuer.standing import Known, Step, Told
from cardtrail.issuer.ui.card import CardSeen
from cardtrail.pages.words import headline_of, mood_of, when, word_of
from cardtrail.protocol.reading import Operation

PERSONAL: Final = frozenset({
    "details.shipment.trackingNumber", "details.shipment.trackingUrl", "details.shipment.message",
})  # fmt: skip
"""Members that are personal data."""
_HEARD: Final = {
    Told.NOTIFIED: "a notification told it", Told.ANSWERED: "an answer told it: no notification had",
    Told.INFERRED: "it must have been passed on the way",
}  # fmt: skip
WHY: Final = {
    Why.DOUBTFUL: "its reports contradict each other",
    Why.OVERDUE: "it has been where it is for longer than usual then",
    Why.PAST_DUE_DATE: "its due date has passed then",
    Why.UNHEARD: "nothing was heard of it yet",
    Why.LAST_LOOK: "it has ended, and is looked at once more",
    Why.SWEEP: "it was not answered last time",
}
"""Why a card is asked for, as what follows `because`."""


def order_shown(held: Held, *, personal: bool) -> dict[str, Any]:
    """Return what the page of a card shows of one order."""
    known, operation = held.known, held.operation
    return {
        "operation_id": known.operation_id, "kind": known.operation, "status": known.operation_status.lower(),
        "mood": mood_of(known.operation_status), "sealed": False, "known": known,
        "headline": headline_of(known.stage, known.shipment_status, operation.reason) or known.operation,
        "because": [_because(known, name, value, personal=personal) for name, value in _values(operation)],
        "timeline": [_step(each) for each in known.timeline], "taken_back": (), "checkpoints": operation.checkpoints,
    }  # fmt: skip


def _values(operation: Operation) -> Iterator[tuple[str, str]]:
    shipment = operation.shipment
    named = {
        "status": operation.status, "details.status": operation.stage, "details.reason": operation.reason,
        "details.dueDate": operation.due_date, "details.productionSite": operation.production_site,
        "startTime": _instant(operation.start_time), "endTime": _instant(operation.end_time),
        "details.issuerRequestId": operation.issuer_request_id, "errorCode": operation.error_code,
        "error": operation.error, "cardtrail.estimatedDelivery": operation.estimated_delivery,
    }  # fmt: skip
    if shipment is not None:
        named |= {
            "details.shipment.status": shipment.status, "details.shipment.carrier": shipment.carrier,
            "details.shipment.trackingNumber": shipment.tracking_number,
            "details.shipment.trackingUrl": shipment.tracking_url, "details.shipment.message": shipment.message,
        }  # fmt: skip
    return ((name, value) for name, value in named.items() if value)


def _instant(at: int | None) -> str:
    return "" if at is None else f"{when(at)} UTC"


def _because(known: Known, member: str, value: str, *, personal: bool) -> dict[str, Any]:
    step = _reached(known, value) if member in {"details.status", "details.shipment.status"} else None
    rule = "the newest picture says so" if step is None else _HEARD[step.told]
    return {
        "member": member, "shown": value, "hidden": member in PERSONAL and not personal, "because": rule,
        "source": known.source if step is None else step.told.value, "event_id": "", "clamped": False,
        "happened_at": None if step is None else step.happened_at,
        "received_at": known.learned_at if step is None else step.learned_at,
    }  # fmt: skip


def _reached(known: Known, word: str) -> Step | None:
    return next((step for step in reversed(known.timeline) if step.word == word), None)


def _step(step: Step) -> dict[str, Any]:
    late = f", notified late, {when(step.notified_at)}" if step.notified_at is not None else ""
    return {
        "text": word_of(step.word), "at": step.happened_at, "kind": step.told.value,
        "source": f"learned {when(step.learned_at)}{late}", "event_id": "",
    }  # fmt: skip


def asking_shown(seen: CardSeen) -> dict[str, Any]:
    """Return what the page tells of asking for a card: `next_at` is None where it is not asked for by itself."""
    card = seen.card
    by_feed = seen.has_feed and Why(card.priority) not in WITH_FEED and card.answer != "failed"
    is_open = card.state in {"expected", "open"} and not by_feed
    return {
        "state": card.state, "checked_at": card.checked_at, "asks": card.asks, "answer": card.answer,
        "by_feed": by_feed, "known_at": card.known_at, "expected_at": card.expected_at,
        "next_at": card.due_at if is_open else None, "why": WHY.get(Why(card.priority), "") if is_open else "",
    }  # fmt: skip
