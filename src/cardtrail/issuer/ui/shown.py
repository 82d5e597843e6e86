"""What templates are given of a card: its orders in words, with what the visitor may not see marked.

The mirror believes the newest picture of an order, so all that it says was told by that one; only when a status was
reached, and who told of that first, is known from before.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from cardtrail.issuer.due import Why
from cardtrail.issuer.keep import WITH_FEED
from cardtrail.issuer.mirror import Held
from cardtrail.issuer.standing import ON_HOLD, Known, Step, Told, is_published
from cardtrail.issuer.ui.card import CardSeen
from cardtrail.pages.words import headline_of, mood_of, when, word_of
from cardtrail.protocol.reading import Checkpoint, Operation

PERSONAL: Final = frozenset({
    "details.shipment.trackingNumber", "details.shipment.trackingUrl", "details.shipment.message", "error",
})  # fmt: skip
"""Members that are personal data, or free texts that may be."""
WORDS: Final = frozenset({"details.status", "details.shipment.status", "details.reason"})
"""Members that are words as published, or else may be free texts, too."""
NOT_PUBLISHED: Final = "not published"
"""Shown in place of a word that nobody has published to who may not see personal data."""
_HEARD: Final = {
    Told.NOTIFIED: "a notification told it", Told.ANSWERED: "an answer told it: no notification had",
    Told.INFERRED: "it must have been passed on the way",
}  # fmt: skip
_BY: Final = {Told.NOTIFIED: "notification", Told.ANSWERED: "answer", Told.INFERRED: "nobody"}
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
        "mood": mood_of(known.operation_status, known.stage), "sealed": False, "known": known,
        "headline": _headline(known, operation.reason, personal=personal), "forgotten_at": known.forgotten_at,
        "because": [_because(known, name, value, personal=personal) for name, value in _values(operation)],
        "timeline": [_step(each, personal=personal) for each in known.timeline], "taken_back": (),
        "checkpoints": [_seen(each, personal=personal) for each in operation.checkpoints],
    }  # fmt: skip


def _headline(known: Known, reason: str | None, *, personal: bool) -> str:
    shipment = known.shipment_status and _word(known.shipment_status, personal=personal)
    return headline_of(_word(known.stage, personal=personal), shipment, reason) or known.operation


def _word(word: str, *, personal: bool) -> str:
    """Return a status, or that it is none that was published where it may be a text about somebody."""
    return word if personal or not word or is_published(word) else NOT_PUBLISHED


def _seen(checkpoint: Checkpoint, *, personal: bool) -> Checkpoint:
    status = _word(checkpoint.status, personal=personal)
    return msgspec.structs.replace(checkpoint, status=status, code=checkpoint.code if personal else None)


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
        "member": member, "shown": value, "hidden": not personal and _may_be_personal(member, value), "because": rule,
        "source": known.source if step is None else _BY[step.told], "event_id": "", "clamped": False,
        "happened_at": None if step is None else step.happened_at,
        "received_at": known.learned_at if step is None else step.learned_at,
    }  # fmt: skip


def _may_be_personal(member: str, value: str) -> bool:
    return member in PERSONAL or (member in WORDS and not is_published(value) and not value.startswith(ON_HOLD))


def _reached(known: Known, word: str) -> Step | None:
    return next((step for step in reversed(known.timeline) if step.word == word), None)


def _step(step: Step, *, personal: bool) -> dict[str, Any]:
    late = f", notified late, {when(step.notified_at)}" if step.notified_at is not None else ""
    return {
        "text": word_of(_word(step.word, personal=personal)), "at": step.happened_at, "kind": step.told.value,
        "source": f"learned {when(step.learned_at)}{late}", "event_id": "",
    }  # fmt: skip


def asking_shown(seen: CardSeen, *, asks: bool) -> dict[str, Any]:
    """Return what the page tells of asking for a card: `next_at` is None where it is not asked for by itself.

    `asks`: there is somebody to ask.
    """
    card = seen.card
    by_feed = seen.has_feed and Why(card.priority) not in WITH_FEED and card.answer != "failed"
    is_open = card.state in {"expected", "open"} and not by_feed
    return {
        "state": card.state, "checked_at": card.checked_at, "asks": card.asks, "answer": card.answer,
        "by_feed": by_feed, "known_at": card.known_at, "expected_at": card.expected_at,
        "next_at": card.due_at if is_open and asks else None, "why": WHY.get(Why(card.priority), "") if is_open else "",
    }  # fmt: skip
