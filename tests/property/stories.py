"""Stories of one card for hypothesis: one to three orders and whatever sites, carriers and clocks make of them.

Times come from a short list around the requests, so that equal instants, skewed clocks and edges of windows are
common; sources, operations and parcels are few, so that events meet.
"""

from itertools import product
from typing import Any

from hypothesis import strategies as st

from cardtrail.core.event import CarrierEvent, CarrierKind, Event, ProductionEvent, ProductionKind, Retraction
from cardtrail.core.order import SECOND
from cardtrail.core.status import ShipmentStatus

BEGIN = 1_767_600_000 * SECOND
DAY = 86_400
MAX_EVENTS = 24
ABOUT: dict[str, Any] = {"issuer_id": "ISSUER0001", "card_id": "card-1"}
OPERATIONS = ["op-1", "op-2", "op-3"]

_Members = dict[str, Any]
_PARCELS: list[_Members] = [
    {"carrier": "dhl", "tracking_number": "P1"}, {"carrier": "dhl", "tracking_number": "P2"},
    {"carrier": "ups", "tracking_number": "P1"},
]  # fmt: skip
_NAMED: list[_Members] = [ABOUT, ABOUT, ABOUT, *(ABOUT | {"operation_id": name} for name in [*OPERATIONS, "op-9"])]
_SOURCES = ["site:a", "site:b", "carrier:a", "api:a", "operator:o"]


def _site_members() -> list[_Members]:
    """Return everything a site may say, steps, holds and nonsense alike; requests aside."""
    told: list[_Members] = [{"kind": kind} for kind in ProductionKind if kind is not ProductionKind.REQUESTED]
    told += [{"kind": ProductionKind.SHIPPED, **parcel} for parcel in [*_PARCELS, {"carrier": "dhl"}]]
    told += [{"kind": ProductionKind.DONE, **_PARCELS[0]}, {"kind": ProductionKind.HELD, "reason": "x"}]
    told += [{"kind": ProductionKind.DONE, "distribution_channel": "INSTANT"}]
    told += [{"kind": ProductionKind.FAILED, "final": True}, {"kind": ProductionKind.FAILED, "error_code": "E"}]
    return [about | members for about, members in product(_NAMED, told)]


def _scan_members() -> list[_Members]:
    """Return everything a carrier may say, of a card, an operation or a parcel."""
    told: list[_Members] = [{"kind": CarrierKind.SCANNED, "status": status.value} for status in ShipmentStatus]
    told += [{"kind": CarrierKind.SCANNED, "status": word} for word in ("Teleported", None, "Delivered")]
    told += [{"kind": CarrierKind.RETURNED}]
    about = [*_NAMED, *_PARCELS, *_PARCELS, *(ABOUT | parcel for parcel in _PARCELS)]
    return [about | members for about, members in product(about, told)]


_instants = [
    BEGIN + (start + around) * SECOND
    for start in (0, 30, DAY, 10 * DAY) for around in (-3_600, -601, -600, -30, 0, 1, 30, 600, 601, 3_600)
] + [BEGIN + day * DAY * SECOND for day in (-61, -20, 2, 3, 4, 5, 11, 12, 50, 181, 400)]  # fmt: skip
_delays = [delay * SECOND for delay in (0, 1, 60, DAY, -30, -601, -DAY)]
"""How much later we heard of it; negative where the source's clock is ahead."""


def _happened(source: str, at: int, delay: int) -> _Members:
    return {"source": source, "event_id": "", "occurred_at": at, "recorded_at": at + delay}


_TIMES = [_happened(*one) for one in product(_SOURCES, _instants, _delays)]
_times = st.sampled_from(_TIMES)


def _site(members: _Members, times: _Members) -> ProductionEvent:
    return ProductionEvent(**members, **times)


def _scan(members: _Members, times: _Members) -> CarrierEvent:
    return CarrierEvent(**members, **times)


def _retraction(number: int, source: str | None, times: _Members) -> Retraction:
    return Retraction(retracts=f"e{number}", retracted_source=source, **ABOUT, **times)


site_events = st.builds(_site, st.sampled_from(_site_members()), _times)
scans = st.builds(_scan, st.sampled_from(_scan_members()), _times)
retractions = st.builds(_retraction, st.integers(0, MAX_EVENTS + 2), st.sampled_from([None, *_SOURCES]), _times)


def _request(members: tuple[str | None, str | None], times: _Members) -> ProductionEvent:
    told: _Members = {"operation_id": members[0], "distribution_channel": members[1]}
    return ProductionEvent(kind=ProductionKind.REQUESTED, **ABOUT, **told, **times)


_named = st.sampled_from([*product([None, *OPERATIONS], [None, "INSTANT"])])
_first = st.builds(_request, _named, st.just(_happened("site:a", BEGIN, SECOND)))
_more = st.lists(st.builds(_request, _named, _times), max_size=2)


def changed(event: Event, **members: Any) -> Event:
    """Return an event with other members."""
    return type(event)(**({name: getattr(event, name) for name in event.__struct_fields__} | members))


def _numbered(events: list[Event]) -> list[Event]:
    return [changed(event, event_id=f"e{number}") for number, event in enumerate(events)]


def _story(first: ProductionEvent, more: list[ProductionEvent], others: list[Event]) -> list[Event]:
    return _numbered([first, *more, *others])


_others = st.lists(st.one_of(site_events, scans, site_events, scans, retractions), max_size=MAX_EVENTS - 3)
_standing = st.lists(st.one_of(site_events, scans), max_size=MAX_EVENTS - 1)
stories = st.builds(_story, _first, _more, _others)
"""The events of a card with one to three orders, each with a key of its own, in no particular order."""
stories_of_one_order = st.builds(_story, _first, st.just([]), _standing)
"""The same with one order, and nothing is taken back."""
