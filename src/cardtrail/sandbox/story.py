"""Stories: what a pretend site and a pretend carrier will report of one order, drawn by a seed and told as events."""

from collections.abc import Iterator
from datetime import date, timedelta
from enum import StrEnum
from random import Random

import msgspec

SITE = "site:demo"
CARRIER_SOURCE = "carrier:deutsch-post"
CARRIER = "deutsch-post"


class Story(StrEnum):
    """What becomes of an order."""

    HAPPY = "all goes well"
    REWORK = "the chip fails, personalization starts again"
    HOLD = "on hold for a while, then released"
    MISSED = "nobody at home at first"
    RETURNED = "back to the sender"


PLOTS = {
    Story.HAPPY: "prepared ready started done shipped announced collected sorted out delivered",
    Story.REWORK: "prepared ready started failed started done shipped announced collected out delivered",
    Story.HOLD: "prepared ready held released started done shipped announced collected out delivered",
    Story.MISSED: "prepared ready started done shipped collected sorted out missed out delivered",
    Story.RETURNED: "prepared ready started done shipped collected out missed unclaimed returned",
}
"""The beats of each story, in order."""

_SITE_BEATS: dict[str, dict[str, str]] = {
    "prepared": {},
    "ready": {},
    "started": {},
    "failed": {"errorCode": "CHIP_MUTE", "error": "the chip does not answer", "reason": "chip replaced, done again"},
    "held": {"reason": "waiting for card bodies"},
    "released": {},
    "done": {},
    "shipped": {},
}
_CARRIER_BEATS: dict[str, dict[str, str]] = {
    "announced": {"code": "ES", "status": "InfoReceived", "message": "The sender has announced the letter"},
    "collected": {"code": "AA", "status": "InTransit", "message": "Collected from the sender"},
    "sorted": {"code": "SC", "status": "InTransit", "message": "Sorted"},
    "out": {"code": "PO", "status": "OutForDelivery", "message": "On its way to the recipient"},
    "missed": {"code": "NA", "status": "AttemptFail", "message": "Nobody could take the letter"},
    "unclaimed": {"code": "RT", "status": "Exception", "message": "On its way back to the sender"},
    "returned": {"code": "RD", "message": "Given back to the sender"},
    "delivered": {"code": "ZU", "status": "Delivered", "message": "Delivered"},
}
_AT_THE_DOOR = frozenset({"out", "missed", "delivered"})
_CENTRES = ("Leipzig", "Speyer", "Lahr", "Hagen", "Börnicke")
_TOWNS = ("Köln", "Bremen", "Dresden", "Ulm", "Jena", "Lübeck")


class Ordered(msgspec.Struct, frozen=True):
    """An order that the platform has taken."""

    issuer_id: str
    card_id: str
    operation_id: str

    @property
    def short_id(self) -> str:
        """What its events are numbered by; no two orders share one."""
        return self.operation_id[-12:]

    @property
    def tracking_number(self) -> str:
        """The number of its letter."""
        return f"CT-{self.short_id.upper()}-DE"


def events_of(order: Ordered, story: Story, chance: Random, today: date) -> Iterator[dict[str, str]]:
    """Tell a story as events in the wire's form, all but `occurredAt`, which is known when each is sent."""
    centre, town = chance.choice(_CENTRES), chance.choice(_TOWNS)
    for number, beat in enumerate(PLOTS[story].split()):
        event = {"eventId": f"{order.short_id}.{number}"}
        if beat in _SITE_BEATS:
            yield event | _site_event(order, beat, today)
        else:
            yield event | _carrier_event(order, beat, today) | {"location": town if beat in _AT_THE_DOOR else centre}


def _site_event(order: Ordered, beat: str, today: date) -> dict[str, str]:
    event = {
        "source": SITE, "kind": beat, "issuerId": order.issuer_id, "cardId": order.card_id,
        "operationId": order.operation_id, **_SITE_BEATS[beat],
    }  # fmt: skip
    if beat == "prepared":
        event |= {"dueDate": (today + timedelta(days=2)).isoformat(), "productionSite": "Demo Nord"}
    if beat == "shipped":
        event |= {"carrier": CARRIER, "trackingNumber": order.tracking_number}
    return event


def _carrier_event(order: Ordered, beat: str, today: date) -> dict[str, str]:
    """A carrier knows the letter, and neither card nor order."""
    event = {
        "source": CARRIER_SOURCE, "kind": "returned" if beat == "returned" else "scanned",
        "carrier": CARRIER, "trackingNumber": order.tracking_number, **_CARRIER_BEATS[beat],
    }  # fmt: skip
    if beat == "announced":
        event["estimatedDelivery"] = (today + timedelta(days=3)).isoformat()
    return event
