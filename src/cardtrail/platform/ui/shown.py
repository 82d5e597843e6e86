"""What templates are given of a card: an order's account in words, with what the visitor may not see marked."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cardtrail.core.order import SKEW
from cardtrail.core.why import Account, Because
from cardtrail.pages.words import headline_of, meaning_of, mood_of, when, word_of
from cardtrail.platform.ui.card import OrderSeen

PERSONAL = frozenset({
    "details.shipment.trackingNumber", "details.shipment.trackingUrl", "details.shipment.message",
})  # fmt: skip
"""Members that are personal data."""
MOODS = {
    "DELIVERED": "good", "PENDING": "warn", "SUPERSEDED": "", "REFUSED": "bad", "DEAD": "bad", "WITHHELD": "warn",
}  # fmt: skip
"""How the state of a notification is marked."""
_INSTANTS = frozenset({"startTime", "endTime"})


def order_shown(order: OrderSeen, *, personal: bool) -> dict[str, Any]:
    """Return what the page of a card shows of one order."""
    picture = msgspec.json.decode(order.picture)
    details = picture.get("details") or {}
    status = str(picture.get("status", ""))
    account = order.account
    shown = {
        "operation_id": order.operation_id, "sequence": order.sequence, "changed_at": order.changed_at,
        "status": status.lower(), "mood": mood_of(status, str(details.get("status", ""))),
        "sealed": account is None, "headline": _headline(details),
    }  # fmt: skip
    if account is None:
        return shown
    return shown | {
        "because": [_because(each, personal=personal) for each in account.because if each.value is not None],
        "timeline": sorted(_timeline(account), key=lambda step: step["at"]),
        "taken_back": account.taken_back,
        "checkpoints": account.order.shipment.checkpoints if account.order.shipment else (),
    }


def _headline(details: Mapping[str, Any]) -> str:
    shipment = (details.get("shipment") or {}).get("status")
    return headline_of(str(details.get("status", "")), shipment, details.get("reason"))


def _because(each: Because, *, personal: bool) -> dict[str, Any]:
    value = each.value or ""
    return msgspec.structs.asdict(each) | {
        "because": meaning_of(each.reason),
        "shown": f"{when(int(value))} UTC" if each.member in _INSTANTS else value,
        "hidden": each.member in PERSONAL and not personal,
        "clamped": each.happened_at > each.received_at + SKEW,
    }


def _timeline(account: Account) -> Iterator[dict[str, Any]]:
    for step in account.order.timeline:
        yield {
            "text": word_of(step.status), "at": step.at, "kind": step.evidence.value, "source": step.source,
            "event_id": step.event_id,
        }  # fmt: skip
    for each in account.ignored:
        yield {
            "text": each.text, "at": each.at, "kind": "anomaly", "source": each.source, "event_id": each.event_id,
        }  # fmt: skip
