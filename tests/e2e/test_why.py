"""Why is it this status: every state that the sandbox's stories bring a card to is explained by what was told."""

import asyncio
from collections.abc import Iterator

import pytest

from cardtrail.core.event import STAGE_OF, CarrierEvent, Event, ProductionEvent
from cardtrail.core.status import MOVING
from cardtrail.core.why import Account, Because, Reason, account_of
from cardtrail.db import Transaction
from cardtrail.platform.ingest import Ingest
from cardtrail.platform.orders import Orders
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.store import open_store
from cardtrail.protocol.codec import decode_events
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.hours import DAY, HOUR
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.simulate import BEGIN, Inside
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES
from cardtrail.sandbox.world.world import World

ISSUER = "DEMO-BANK1"
BOOK = shipped_book()
Looks = dict[str, list[tuple[Account, dict[tuple[str, str], Event]]]]
"""What was seen of each scenario's orders, look by look, with the events that there were."""


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> Looks:
    """Play every scenario, and look at its card every six hours."""
    db = open_store(f"sqlite:///{tmp_path_factory.mktemp('why')}/it.db")
    clock, seen = VirtualClock(BEGIN, AS_FAST_AS_IT_GOES), Looks()
    world = World(BOOK, 3, clock)
    ingest = Ingest(db, clock, lambda _party, _issuer: True, Outbox(clock))
    player = Player(world, clock, Inside(ISSUER, ingest, Orders(db, ingest, world)))

    def look(tx: Transaction) -> None:
        for name in BOOK.scenarios:
            rows = tx.all("events_of_card", issuer_id=ISSUER, card_id=f"sbx-{name}-1")
            events = decode_events([bytes(row[0]) for row in rows])
            known = {event.key: event for event in events}
            for operation in {event.operation_id for event in events if event.operation_id}:
                account = account_of(events, operation)
                assert account is not None
                seen.setdefault(name, []).append((account, known))

    async def play() -> None:
        for name in BOOK.scenarios:
            world.wish(BEGIN + 1, Wish(f"sbx-{name}-1", f"request-{name}"))
        while clock() < BEGIN + 40 * DAY:
            await player.advance(6 * HOUR)
            db.read_blocking(look)

    asyncio.run(play())
    db.close()
    return seen


def told(account: Account, member: str) -> Because:
    return next(each for each in account.because if each.member == member)


def says(event: Event, each: Because) -> bool:
    """Tell whether an event really says what it is said to have decided."""
    if each.member in ("status", "endTime", "startTime", "checkpoints", "errorCode"):
        return True  # follows from another member
    if isinstance(event, CarrierEvent):
        return carrier_says(event, each)
    assert isinstance(event, ProductionEvent)
    claims = {
        "details.status": "CARD_PROD_REQUESTED" if each.reason is Reason.REQUEST else STAGE_OF.get(event.kind),
        "details.reason": f"ON_HOLD: {event.reason}" if each.reason is Reason.HELD else event.reason,
        "details.dueDate": event.due_date, "details.productionSite": event.production_site,
        "details.shipment.carrier": event.carrier, "details.shipment.trackingNumber": event.tracking_number,
        "details.shipment.trackingUrl": event.tracking_url, "error": event.error,
        "inputFileName": event.input_file_name, "issuerRequestId": event.issuer_request_id,
    }  # fmt: skip
    return claims[each.member] == each.value


def carrier_says(event: CarrierEvent, each: Because) -> bool:
    if each.member == "details.status":
        return each.reason is Reason.RETURNED if event.kind == "returned" else event.shipment_status in MOVING
    if each.member == "details.shipment.status":
        return each.value == ("Exception" if event.kind == "returned" else event.status)
    claims = {
        "details.shipment.message": event.message, "details.shipment.trackingUrl": event.tracking_url,
        "estimatedDelivery": event.estimated_delivery, "details.shipment.carrier": event.carrier,
        "details.shipment.trackingNumber": event.tracking_number,
    }  # fmt: skip
    return claims[each.member] == each.value


def all_looks(looks: Looks) -> Iterator[tuple[Account, dict[tuple[str, str], Event]]]:
    for found in looks.values():
        yield from found


def test_each_value_is_explained_by_an_event_that_says_so(looks: Looks) -> None:
    values = 0
    for account, events in all_looks(looks):
        for each in account.because:
            values += 1
            event = events[each.source, each.event_id]
            assert (event.occurred_at, event.recorded_at) == (each.happened_at, each.received_at)
            assert each.value is None or says(event, each), (each, event)
    assert values > 10_000


UNUSUAL = [
    ("data-exception", "details.status", "DATA_EXCEPTION", Reason.STEP, "site:"),
    ("data-exception", "errorCode", "EMBOSS_NAME_TOO_LONG", Reason.STEP, "site:"),
    ("rework", "details.status", "CARD_PROD_EXCEPTION", Reason.STEP, "site:"),
    ("scrapped", "status", "FAILED", Reason.STEP, "site:"),
    ("on-hold", "details.reason", "ON_HOLD: waiting for card bodies", Reason.HELD, "site:"),
    ("canceled", "details.status", "CARD_PROD_CANCELED", Reason.STEP, "site:"),
    ("missed", "details.shipment.status", "AttemptFail", Reason.SCAN, "carrier:"),
    ("lost-in-post", "details.shipment.status", "Expired", Reason.SCAN, "carrier:"),
    ("returned", "details.status", "CARD_RETURNED", Reason.RETURNED, "carrier:"),
    ("returned", "details.shipment.status", "Exception", Reason.SCAN, "carrier:"),
    ("delivered-before-out-for-delivery", "details.shipment.status", "Delivered", Reason.DELIVERED, "carrier:"),
    ("untracked-post", "details.status", "CARD_SHIPPED", Reason.STEP, "site:"),
    ("re-order", "details.status", "CARD_RETURNED", Reason.RETURNED, "carrier:"),
    ("wrong-clock", "details.status", "CARD_SHIPPED", Reason.STEP, "site:"),
    ("late-scan", "details.shipment.status", "Delivered", Reason.DELIVERED, "carrier:"),
]


@pytest.mark.parametrize(("scenario", "member", "value", "reason", "by"), UNUSUAL)
def test_each_unusual_state_names_what_decided_it(  # noqa: PLR0913, PLR0917 -- a row of the table
    looks: Looks, scenario: str, member: str, value: str, reason: Reason, by: str
) -> None:
    found = [
        each for account, _ in looks[scenario] for each in account.because
        if each.member == member and each.value == value and each.reason is reason
    ]  # fmt: skip
    assert found
    assert all(each.source.startswith(by) for each in found)


def test_what_did_not_count_is_told_with_its_reason(looks: Looks) -> None:
    texts = {
        name: {(each.code, each.text.split(";")[0]) for account, _ in looks[name] for each in account.ignored}
        for name in ("delivered-before-out-for-delivery", "wrong-clock", "happy")
    }
    assert texts == {
        "delivered-before-out-for-delivery": {("OUT_OF_TURN", "OutForDelivery cannot follow Delivered")},
        "wrong-clock": {("CLOCK_AHEAD", "the source's clock is ahead")}, "happy": set(),
    }  # fmt: skip


def test_a_clock_that_is_ahead_is_seen_in_when_it_happened_and_when_it_counts(looks: Looks) -> None:
    each = told(looks["wrong-clock"][-1][0], "details.status")
    assert each.happened_at > each.received_at == each.counts_at
