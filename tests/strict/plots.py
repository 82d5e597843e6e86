"""What becomes of a card order on the strict server: plots, their beats, and the picture that a beat leaves.

Written from the published contract alone (sections 2 to 4 of its description): the published form has no number that
rises, so a hold that is released, a chip that is done again and a second attempt at the door lead back to pictures
that were there before.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]
SECOND = 1_000_000
DUE_DAYS = 5
"""From an order to its `dueDate`."""

PLOTS: dict[str, str] = {
    "happy": "requested prepared ready ongoing done shipped announced moving out delivered",
    "plain": "requested ready ongoing done shipped",
    "refused": "requested refused",
    "rework": "requested prepared ready ongoing trouble ongoing trouble ongoing done shipped moving out delivered",
    "broken": "requested prepared ready ongoing trouble broken",
    "hold": "requested prepared ready held released ongoing held released done shipped moving delivered",
    "canceled": "requested prepared !UPDATE_ORDER canceled",
    "stopped": "requested prepared ready held canceled",
    "kept": "requested prepared ready !UPDATE_REFUSED ongoing done shipped moving out delivered !ACTIVATE",
    "returned": "requested prepared ready ongoing done shipped moving out missed stuck returned",
    "attempts": "requested prepared ready ongoing done shipped moving out missed out missed out delivered !ACTIVATE",
    "pickup": "requested prepared ready ongoing done shipped moving missed pickup delivered",
    "redirected": "requested prepared ready ongoing done shipped moving out rerouted moving out delivered",
    "strange": "requested prepared ready lasered ongoing done shipped beamed delivered",
    "paused": "requested prepared paused ready ongoing done shipped moving delivered",
    "instant": "requested ready handed",
}
"""The beats of each plot in order. A beat with an exclamation mark is a notification of its own, which says something
of the card and nothing of its order."""

_BEATS: dict[str, Json] = {
    "requested": {"stage": "CARD_PROD_REQUESTED"},
    "prepared": {"stage": "DATA_PREPARED", "dated": True},
    "refused": {
        "stage": "DATA_EXCEPTION", "status": "FAILED", "errorCode": "DATA_INVALID", "error": "the name is too long",
    },
    "ready": {"stage": "CARD_PROD_READY", "status": "PENDING", "dated": True},
    "ongoing": {"stage": "CARD_PROD_ONGOING", "reason": None},
    "trouble": {"stage": "CARD_PROD_EXCEPTION", "reason": "the chip does not answer"},
    "broken": {"status": "FAILED", "errorCode": "CHIP_MUTE", "error": "no card could be made"},
    "held": {"reason": "ON_HOLD: waiting for card bodies"},
    "released": {"reason": None},
    "done": {"stage": "CARD_PROD_DONE"},
    "handed": {"stage": "CARD_PROD_DONE", "status": "SUCCESSFUL"},
    "shipped": {"stage": "CARD_SHIPPED", "status": "SUCCESSFUL", "parcel": 1},
    "canceled": {
        "stage": "CARD_PROD_CANCELED", "status": "FAILED", "reason": None,
        "errorCode": "ORDER_CANCELED", "error": "cancelled by the issuer",
    },
    "announced": {"shipment": ("InfoReceived", "The sender has announced the letter")},
    "moving": {"shipment": ("InTransit", "On its way")},
    "out": {"shipment": ("OutForDelivery", "Will come today")},
    "missed": {"shipment": ("AttemptFail", "Nobody could take the letter")},
    "pickup": {"shipment": ("AvailableForPickup", "Waits at the post office")},
    "stuck": {"shipment": ("Exception", "Goes back to the sender")},
    "delivered": {"shipment": ("Delivered", "Delivered")},
    "returned": {"stage": "CARD_RETURNED"},
    "rerouted": {"parcel": 2, "shipment": ("InfoReceived", "Another letter was announced in its place")},
    "lasered": {"stage": "CARD_PROD_LASERED", "extra": {"laser": {"watts": 40, "passes": [1, 2]}}},
    "beamed": {"shipment": ("Teleported", "Not a status that anybody has published")},
    "paused": {"status": "ON_ICE"},
}  # fmt: skip
_CARRIERS = ("deutsch-post", "la-poste-colissimo", "ups", "singapore-post")


class Habits(NamedTuple):
    """How a picture is written down, which no reader may depend on; drawn by an order's seed."""

    names_inside: bool
    """`inputFileName` and `issuerRequestId` inside of `details` rather than beside it; both are published."""
    date_time: bool
    """`dueDate` as a date-time."""
    backwards: bool
    """Members in another order."""
    extra: bool
    """Members that nobody has published."""
    deprecated: bool
    """`consumerId` is there."""
    carrier: str

    @classmethod
    def draw(cls, chance: Random) -> "Habits":
        """Draw the habits of an order."""
        inside, dated, backwards, extra, deprecated = (
            chance.random() < often for often in (0.2, 0.05, 0.05, 0.05, 0.1)
        )
        return cls(inside, dated, backwards, extra, deprecated, chance.choice(_CARRIERS))


def instant(at: int) -> str:
    """Write an instant, µs UTC, as published."""
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{at // 1000 % 1000:03}Z"


def told_of(beats: Sequence[str]) -> Json:
    """Return what the beats of an order say together: a later one overrides an earlier one."""
    told: Json = {"status": "PENDING"}
    for beat in beats:
        told |= _BEATS.get(beat, {})
    return told


def picture_of(names: Mapping[str, str], beats: Sequence[str], times: tuple[int, int], habits: Habits) -> Json:
    """Return the operation that the beats so far leave. `times` are the start and the end of the order, µs."""
    told = told_of(beats)
    started, ended = times
    beside = {"inputFileName": names["file"], "issuerRequestId": names["request"]}
    details = _details_of(told, names, started, habits)
    picture: Json = {
        "operationId": names["operation"], "operation": "PRODUCE", "status": told["status"],
        "startTime": instant(started), "cardId": names["card"],
        "details": details | beside if habits.names_inside else details,
    }  # fmt: skip
    if told["status"] in {"SUCCESSFUL", "FAILED"}:
        picture["endTime"] = instant(ended)
    if told["status"] == "FAILED":
        picture |= {"errorCode": told["errorCode"], "error": told["error"]}
    if not habits.names_inside:
        picture |= beside
    if habits.extra:
        picture["priority"] = {"class": "express"}
    return {name: picture[name] for name in reversed(picture)} if habits.backwards else picture


def _details_of(told: Json, names: Mapping[str, str], started: int, habits: Habits) -> Json:
    details: Json = {"status": told["stage"]}
    if told.get("reason") is not None:
        details["reason"] = told["reason"]
    if told.get("dated"):
        due = datetime.fromtimestamp(started // SECOND, UTC) + timedelta(days=DUE_DAYS)
        details["dueDate"] = f"{due:%Y-%m-%d}T00:00:00.000Z" if habits.date_time else f"{due:%Y-%m-%d}"
        details["productionSite"] = "Site North"
    if "parcel" in told:
        details["shipment"] = _shipment_of(told, names, habits)
    if habits.deprecated:
        details["consumerId"] = "consumer-1"
    return {**details, **told.get("extra", {})}


def _shipment_of(told: Json, names: Mapping[str, str], habits: Habits) -> Json:
    number = f"T{names['operation']}-{told['parcel']}"
    shipment: Json = {
        "carrier": habits.carrier, "trackingNumber": number, "trackingUrl": f"https://track.example/{number}"
    }  # fmt: skip
    if "shipment" in told:
        shipment["status"], shipment["message"] = told["shipment"]
    return shipment


def aside_of(beat: str, names: Mapping[str, str], at: int) -> Json:
    """Return what a beat with an exclamation mark notifies: an operation of another kind about the same card."""
    refused = beat == "!UPDATE_REFUSED"
    kind = "UPDATE_ORDER" if refused else beat[1:]
    aside: Json = {
        "operationId": f"{names['operation']}-{kind[0]}", "operation": kind,
        "status": "FAILED" if refused else "SUCCESSFUL",
        "startTime": instant(at - SECOND), "endTime": instant(at), "cardId": names["card"],
    }  # fmt: skip
    return aside | ({"errorCode": "TOO_LATE", "error": "already at the site"} if refused else {})


encode = msgspec.json.encode
