"""Stories of one card for hypothesis: one to three orders and whatever sites, carriers and clocks make of them.

Times come from a short list around the requests, so that equal instants, skewed clocks and edges of windows are
common; sources, operations and parcels are few, so that events meet.
"""

from typing import Any

from hypothesis import strategies as st

from cardtrail.core.event import CarrierEvent, CarrierKind, Event, ProductionEvent, ProductionKind, Retraction
from cardtrail.core.order import SECOND
from cardtrail.core.status import ShipmentStatus

BEGIN = 1_767_600_000 * SECOND
DAY = 86_400
ABOUT: dict[str, Any] = {"issuer_id": "ISSUER0001", "card_id": "card-1"}
OPERATIONS = ["op-1", "op-2", "op-3"]
PARCELS: list[dict[str, Any]] = [
    {"carrier": "dhl", "tracking_number": "P1"}, {"carrier": "dhl", "tracking_number": "P2"},
    {"carrier": "ups", "tracking_number": "P1"},
]  # fmt: skip
MAX_EVENTS = 24

_around = [-3_600, -601, -600, -30, 0, 1, 30, 600, 601, 3_600]
seconds = st.one_of(
    st.builds(int.__add__, st.sampled_from([0, 30, DAY, 10 * DAY]), st.sampled_from(_around)),
    st.integers(0, 12 * DAY),
    st.sampled_from([-61 * DAY, -20 * DAY, 50 * DAY, 181 * DAY, 400 * DAY]),
)
"""When something happened, in seconds after the first request."""
delays = st.sampled_from([0, 1, 60, DAY, -30, -601, -DAY])
"""How much later we heard of it; negative where the source's clock is ahead."""
sources = st.sampled_from(["site:a", "site:b", "carrier:a", "api:a", "operator:o"])
words = st.sampled_from([None, "Teleported", *(status.value for status in ShipmentStatus)])
named = st.sampled_from([ABOUT, *(ABOUT | {"operation_id": name} for name in [*OPERATIONS, "op-9"])])
bare = {"issuer_id": None, "card_id": None}
seen_about = st.one_of(named, st.sampled_from([*PARCELS, *(ABOUT | parcel for parcel in PARCELS)]))
parcels = st.sampled_from([{}, *PARCELS, {"carrier": "dhl"}])


@st.composite
def _times(draw: st.DrawFn) -> dict[str, Any]:
    at = BEGIN + draw(seconds) * SECOND
    return {"source": draw(sources), "occurred_at": at, "recorded_at": at + draw(delays) * SECOND}


@st.composite
def site_events(draw: st.DrawFn) -> ProductionEvent:
    """Return what a site may say, steps, holds and nonsense alike."""
    kind = draw(st.sampled_from([kind for kind in ProductionKind if kind is not ProductionKind.REQUESTED]))
    told: dict[str, Any] = {}
    if kind in {ProductionKind.SHIPPED, ProductionKind.DONE}:
        told = draw(parcels) | {"distribution_channel": draw(st.sampled_from([None, None, "INSTANT"]))}
    if kind in {ProductionKind.FAILED, ProductionKind.HELD, ProductionKind.CANCELED}:
        told = {"reason": draw(st.sampled_from([None, "x"])), "final": draw(st.booleans())}
    return ProductionEvent(event_id="", kind=kind, **(draw(_times()) | draw(named) | told))


@st.composite
def scans(draw: st.DrawFn) -> CarrierEvent:
    """Return what a carrier may say, of a card, an operation or a parcel."""
    kind = draw(st.sampled_from([CarrierKind.SCANNED, CarrierKind.SCANNED, CarrierKind.SCANNED, CarrierKind.RETURNED]))
    return CarrierEvent(event_id="", kind=kind, status=draw(words), **(draw(_times()) | draw(seen_about)))


@st.composite
def retractions(draw: st.DrawFn) -> Retraction:
    """Return what takes back an event of the story, or one that never comes."""
    target = f"e{draw(st.integers(0, MAX_EVENTS + 2))}"
    named_source = draw(st.one_of(st.none(), sources))
    return Retraction(event_id="", retracts=target, retracted_source=named_source, **(draw(_times()) | ABOUT))


@st.composite
def _request(draw: st.DrawFn, number: int, operation_id: str | None) -> ProductionEvent:
    times = draw(_times())
    if number == 0:
        times |= {"occurred_at": BEGIN, "recorded_at": BEGIN + SECOND}
    channel = draw(st.sampled_from([None, "INSTANT", "CENTRAL"]))
    about = ABOUT | {"operation_id": operation_id, "distribution_channel": channel}
    return ProductionEvent(event_id="", kind=ProductionKind.REQUESTED, **(times | about))


def _numbered(event: Event, number: int) -> Event:
    members = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event)(**(members | {"event_id": f"e{number}"}))


@st.composite
def stories(draw: st.DrawFn, *, most_orders: int = 3, retracted: bool = True) -> list[Event]:
    """Return the events of a card, each with a key of its own, in no particular order."""
    count = draw(st.integers(1, most_orders))
    names = [draw(st.sampled_from([name, None])) for name in OPERATIONS[:count]]
    requests = [draw(_request(number, name)) for number, name in enumerate(names)]
    kinds = [site_events(), scans(), site_events(), scans(), retractions()][: 5 if retracted else 4]
    others: list[Event] = draw(st.lists(st.one_of(kinds), max_size=MAX_EVENTS - count))
    return [_numbered(event, number) for number, event in enumerate([*requests, *others])]
