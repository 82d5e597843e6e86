"""The wire for events: what becomes of a batch on its way from sites and carriers to the platform's ingest.

It works on events, whatever sends them: `on_events` says what to send now and what later, in whatever clock its caller
has. Faults of the call itself (500, a reset, …) happen where the call arrives: see `answers`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cardtrail.sandbox.wire.content import CODE, MEMBER, NEWS, SCAN_STATUS
from cardtrail.sandbox.wire.faults import Fault, Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.record import Recorder

MAX_PARCELS = 10_000
"""Most parcels of which is remembered whose cards are in them."""
MAX_HELD = 1_000
"""Most events that wait for the next one of their card."""

Event = dict[str, Any]
Struck = dict[Kind, Fault]

_KINDS = frozenset({
    Kind.DROP, Kind.UNKNOWN_STATUS, Kind.UNKNOWN_MEMBER, Kind.UNKNOWN_CARRIER, Kind.CLOCK_SKEW, Kind.DELAY,
    Kind.REORDER, Kind.DUPLICATE,
})  # fmt: skip


class Later(msgspec.Struct):
    """Events to be sent `seconds` from now, by `take`; it gives none where they went earlier, behind another one."""

    seconds: float
    events: list[Event]

    def take(self) -> list[Event]:
        """Return what is to be sent, once."""
        taken, self.events = self.events, []
        return taken


class Outgoing(msgspec.Struct, frozen=True):
    """What becomes of a batch."""

    now: list[Event]
    later: list[Later]


class EventWire:
    """The wire for events of one sandbox."""

    def __init__(self, faults: Faults, recorder: Recorder | None = None) -> None:
        self._faults = faults
        self._recorder = recorder
        self._parcels: dict[tuple[str, str], set[str]] = {}
        self._held: dict[str, Later] = {}

    def on_events(self, batch: list[Event]) -> Outgoing:
        """Return what to send now, in this order, and what later. Events are never changed in place.

        With no fault on them that is the batch. What is to be sent later is not kept here: who does not send it has
        lost it.
        """
        for event in batch:
            self._learn(event)
        if not self._faults.is_any and not self._held:
            return Outgoing(batch, [])
        outgoing = Outgoing([], [])
        for event in batch:
            self._send(event, outgoing)
        return outgoing

    def _send(self, event: Event, outgoing: Outgoing) -> None:
        cards = self._cards_of(event)
        struck = self._faults.strike(Hop.EVENTS, cards, _KINDS, lambda fault: self._applies(fault, event, cards))
        if struck and self._recorder is not None:
            self._recorder.note_event(event, struck)
        if Kind.DROP in struck:
            return
        sent = _changed(event, struck)
        copies = [sent, sent] if Kind.DUPLICATE in struck else [sent]
        if Kind.DELAY in struck:
            outgoing.later.append(Later(struck[Kind.DELAY].seconds, copies))
        elif Kind.REORDER in struck:
            outgoing.later.append(self._hold(cards, Later(struck[Kind.REORDER].seconds, copies)))
        else:
            outgoing.now.extend([*copies, *self._released(cards)])

    def _applies(self, fault: Fault, event: Event, cards: set[str]) -> bool:
        if fault.kind in (Kind.UNKNOWN_STATUS, Kind.UNKNOWN_CARRIER):
            return event.get("kind") == "scanned"
        if fault.kind is Kind.CLOCK_SKEW:
            return _instant_of(event) is not None
        if fault.kind is Kind.REORDER:
            self._forget()
            return bool(cards) and self._held.keys().isdisjoint(cards) and len(self._held) < MAX_HELD
        return True

    # ── reordering ──

    def _hold(self, cards: set[str], later: Later) -> Later:
        self._held.update(dict.fromkeys(cards, later))
        return later

    def _released(self, cards: set[str]) -> list[Event]:
        """Return what has waited for an event of one of these cards."""
        return [event for card in sorted(cards) if card in self._held for event in self._held.pop(card).take()]

    def _forget(self) -> None:
        """Forget what was sent since, because its time was up."""
        self._held = {card: later for card, later in self._held.items() if later.events}

    # ── cards ──

    def _learn(self, event: Event) -> None:
        """Remember which cards are in a parcel: a carrier's events name none."""
        parcel, card_id = _parcel_of(event), event.get("cardId")
        if parcel is None or not isinstance(card_id, str):
            return
        self._parcels.setdefault(parcel, set()).add(card_id)
        if len(self._parcels) > MAX_PARCELS:
            del self._parcels[next(iter(self._parcels))]

    def _cards_of(self, event: Event) -> set[str]:
        card_id, parcel = event.get("cardId"), _parcel_of(event)
        if isinstance(card_id, str):
            return {card_id}
        return set() if parcel is None else self._parcels.get(parcel, set())


def _parcel_of(event: Event) -> tuple[str, str] | None:
    carrier, number = event.get("carrier"), event.get("trackingNumber")
    return (carrier, number) if isinstance(carrier, str) and isinstance(number, str) else None


# ── changed events ──


def _changed(event: Event, struck: Struck) -> Event:
    """Return the event as it is sent."""
    for kind, fault in struck.items():
        event = _CHANGES[kind](event, fault) if kind in _CHANGES else event
    return event


def _unknown_status(event: Event, _: Fault) -> Event:
    return event | {"status": SCAN_STATUS}


def _unknown_member(event: Event, _: Fault) -> Event:
    return event | {MEMBER: NEWS}


def _unknown_code(event: Event, _: Fault) -> Event:
    """Nobody has mapped the code, so there is no status."""
    return {name: value for name, value in event.items() if name != "status"} | {"code": CODE}


def _skewed(event: Event, fault: Fault) -> Event:
    instant = _instant_of(event)
    try:
        at = None if instant is None else instant + timedelta(seconds=fault.seconds)
    except OverflowError:  # no calendar goes so far
        at = None
    return event if at is None else event | {"occurredAt": at.isoformat(timespec="milliseconds")}


_CHANGES: dict[Kind, Callable[[Event, Fault], Event]] = {
    Kind.UNKNOWN_STATUS: _unknown_status, Kind.UNKNOWN_MEMBER: _unknown_member, Kind.UNKNOWN_CARRIER: _unknown_code,
    Kind.CLOCK_SKEW: _skewed,
}  # fmt: skip


def _instant_of(event: Event) -> datetime | None:
    """Return when an event says that it occurred; None where it does not say so in a form that has a time zone."""
    told = event.get("occurredAt")
    try:
        instant = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return instant if instant is not None and instant.tzinfo is not None else None
