"""Parcels: one carrier event reaches every card that travels there, now and later, and no other. On both engines."""

import asyncio
from typing import Any

import pytest

from cardtrail.platform import held, record, refuse
from cardtrail.platform.ingest import Sender
from tests.desk import ALL, Desk, desk, execute
from tests.events import event
from tests.serving import ISSUER, OTHER_ISSUER

PARCEL = {"carrier": "dhl", "trackingNumber": "T1"}
DAY = 24
"""Hours."""


def shipped(card_id: str, *, hours: float = 5, **members: Any) -> list[dict[str, Any]]:
    """A card's order and its way into the parcel."""
    return [
        event("requested", card_id, hours=hours - 5, **members),
        event("shipped", card_id, hours=hours, **PARCEL, **members),
    ]


def scan(*, hours: float, **members: Any) -> dict[str, Any]:
    """What a carrier tells of the parcel."""
    return event("scanned", hours=hours, **{"status": "InTransit", **PARCEL, **members})


def fill(site: Desk, count: int, issuer_id: str = ISSUER) -> None:
    """Put many cards in the parcel."""
    for start in range(0, count, 400):
        batch = [
            each for n in range(start, min(count, start + 400)) for each in shipped(f"card-{n:04}", issuerId=issuer_id)
        ]
        assert set(site.tell(*batch)) == {"accepted"}


def with_scan(url: str) -> int:
    """Return how many cards have a carrier's event."""
    [row] = execute(url, "SELECT count(*) FROM event WHERE source = 'carrier:dhl'")
    return int(row[0])


def test_one_event_reaches_every_card_of_the_parcel_and_each_gets_its_own_sequence(database_url: str) -> None:
    with desk(database_url) as site:
        fill(site, 30)
        site.tell(event("ready", "card-0007", hours=2, productionSite="North"))
        assert site.tell(scan(hours=9)) == ["accepted"]
        assert {site.shipment(f"card-{n:04}") for n in range(30)} == {"InTransit"}
        assert [site.sequence("card-0000"), site.sequence("card-0007")] == [3, 4]


def test_a_card_that_is_linked_later_gets_what_was_told_before(database_url: str) -> None:
    with desk(database_url) as site:
        site.tell(*shipped("first"), scan(hours=9), scan(hours=30, status="OutForDelivery"))
        site.tell(*shipped("second"))
        assert site.shipment("second") == "OutForDelivery"
        assert len(site.picture("second")["cardtrail"]["checkpoints"]) == 2
        site.tell(scan(hours=31, status="Delivered"))
        assert [site.shipment("first"), site.shipment("second")] == ["Delivered", "Delivered"]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_request_shipment_and_scan_of_one_batch_meet_in_any_order(database_url: str, order: tuple[int, ...]) -> None:
    with desk(database_url) as site:
        batch = [*shipped("card"), scan(hours=9)]
        assert site.tell(*[batch[place] for place in order]) == ["accepted"] * 3
        assert site.shipment("card") == "InTransit"


def test_a_parcel_of_more_cards_than_one_transaction_takes_is_resumed_after_a_crash(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,500 cards go in chunks of 1,000, each in a process of its own."""
    with desk(database_url) as site:
        fill(site, 2_500)
        assert site.tell(scan(hours=9)) == ["accepted"]
    assert with_scan(database_url) == held.MAX_FANOUT == 1_000
    monkeypatch.setattr("cardtrail.platform.ingest.resume_fanout", _dying)
    with desk(database_url) as crashed, pytest.raises(MemoryError):
        crashed.run(crashed.ingest.run_once())
    monkeypatch.undo()
    for reached in (2_000, 2_500):
        with desk(database_url) as site:
            assert site.run(site.ingest.run_once()) > 0
        assert with_scan(database_url) == reached
    with desk(database_url) as site:
        assert site.run(site.ingest.run_once()) == 0
        assert {site.shipment(f"card-{n:04}") for n in (0, 999, 1_000, 2_000, 2_499)} == {"InTransit"}
        assert site.tell(scan(hours=8, eventId="late")) == ["accepted"]
    assert execute(database_url, "SELECT count(*) FROM fanout") == [(1,)]


def _dying(tx: Any, may_reach: Any, outbox: Any) -> int:
    record.resume_fanout(tx, may_reach, outbox)
    raise MemoryError


def test_several_processes_bring_one_event_further_without_doubling_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_FANOUT", 7)
    with desk(database_url) as one, desk(database_url) as two:
        fill(one, 60)
        assert one.tell(scan(hours=9), scan(hours=10, status="Delivered")) == ["accepted"] * 2
        for _ in range(40):
            one.run(_both(one.ingest, two.ingest))
        assert with_scan(database_url) == 120
        assert {one.sequence(f"card-{n:04}") for n in range(60)} == {4}
    assert execute(database_url, "SELECT * FROM fanout") == []


async def _both(*ingests: Any) -> None:
    await asyncio.gather(*(ingest.run_once() for ingest in ingests))


def test_many_large_parcels_in_one_batch_stay_within_the_limit_of_copies(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_COPIES", 10)
    with desk(database_url) as site:
        fill(site, 8)
        assert site.tell(*[scan(hours=10 + n) for n in range(5)]) == ["accepted"] * 5
        assert with_scan(database_url) == 16
        while site.run(site.ingest.run_once()):
            pass
    assert with_scan(database_url) == 40


def test_an_event_on_its_way_through_a_large_parcel_also_reaches_cards_linked_meanwhile(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_FANOUT", 5)
    with desk(database_url) as site:
        fill(site, 12)
        site.tell(scan(hours=9))
        site.tell(*shipped("card-0000a"), *shipped("zebra"))
        while site.run(site.ingest.run_once()):
            pass
        assert [site.sequence("card-0000a"), site.sequence("zebra")] == [3, 3]
    assert with_scan(database_url) == 14


def test_a_sender_never_reaches_the_cards_of_an_issuer_it_was_not_given(database_url: str) -> None:
    def may_reach(sender: str, issuer_id: str) -> bool:
        return sender != "limited" or issuer_id == ISSUER

    limited = Sender("limited", ALL, ALL, frozenset({ISSUER}))
    with desk(database_url, may_reach) as site:
        before, after = scan(hours=9), scan(hours=10, status="Delivered")
        assert site.tell(before, sender=limited) == ["accepted"]
        site.tell(*shipped("mine"), *shipped("theirs", issuerId=OTHER_ISSUER))
        assert site.tell(after, sender=limited) == ["accepted"]
        assert site.tell(after) == ["duplicate"]
        assert (site.shipment("mine"), site.shipment("theirs", OTHER_ISSUER)) == ("Delivered", None)
        site.tell(scan(hours=11, status="Exception"))
        assert site.shipment("theirs", OTHER_ISSUER) == "Exception"
    owners = execute(database_url, "SELECT DISTINCT issuer_id FROM event WHERE event_id = 'x'")
    assert owners == []


def test_a_limited_sender_does_not_reach_an_issuer_through_the_chunks_of_a_large_parcel(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_FANOUT", 3)
    with desk(database_url, lambda sender, issuer_id: sender != "limited" or issuer_id == OTHER_ISSUER) as site:
        fill(site, 8)
        fill(site, 2, OTHER_ISSUER)
        assert site.tell(scan(hours=9), sender=Sender("limited", ALL, ALL, ALL)) == ["accepted"]
        while site.run(site.ingest.run_once()):
            pass
    owners = execute(
        database_url, "SELECT issuer_id, count(*) FROM event WHERE source = 'carrier:dhl' GROUP BY issuer_id"
    )
    assert owners == [(OTHER_ISSUER, 2)]


def test_a_number_that_is_used_again_reaches_only_the_cards_of_its_time(database_url: str) -> None:
    with desk(database_url) as site:
        site.later(days=1_000)
        site.tell(*shipped("old"))
        site.tell(*shipped("new", hours=400 * DAY))
        site.tell(scan(hours=2 * DAY), scan(hours=402 * DAY, status="Delivered"))
        assert [site.shipment("old"), site.shipment("new")] == ["InTransit", "Delivered"]


def test_a_number_that_is_used_again_for_the_same_card_reaches_its_new_order(database_url: str) -> None:
    """Was a bug: the first time a site named the parcel closed the window for ever."""
    with desk(database_url) as site:
        site.later(days=1_000)
        site.tell(*shipped("card"))
        site.tell(*shipped("card", hours=400 * DAY))
        site.tell(scan(hours=402 * DAY, status="Delivered"))
        newest, oldest = site.history("card")
        assert newest["details"]["shipment"]["status"] == "Delivered"
        assert "status" not in oldest["details"]["shipment"]


@pytest.mark.parametrize("first", [0, 1])
def test_the_window_of_a_card_named_twice_does_not_depend_on_which_came_first(database_url: str, first: int) -> None:
    """Was a bug: only the one that came first opened a window."""
    with desk(database_url) as site:
        site.later(days=1_000)
        named = [event("shipped", "card", hours=hours, **PARCEL) for hours in (5, 150 * DAY)]
        site.tell(event("requested", "card"))
        site.tell(named[first])
        site.tell(named[1 - first])
        site.tell(scan(hours=200 * DAY), scan(hours=1))
        assert len(site.picture("card")["cardtrail"]["checkpoints"]) == 2


def test_a_parcel_event_that_no_card_takes_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Was a bug: it was answered `accepted`, kept, and shown nowhere."""
    monkeypatch.setattr(refuse, "MAX_CARRIER_EVENTS", 3)
    monkeypatch.setattr(refuse, "RESERVED_CARRIER_EVENTS", 1)
    with desk(database_url) as site:
        site.tell(*shipped("card"), *[event("scanned", "card", hours=9 + n, status="InTransit") for n in range(2)])
        assert site.tell(scan(hours=20)) == ["ORDER_FULL"]
        site.tell(*shipped("other"))
        assert site.shipment("other") is None
        assert site.tell(scan(hours=21)) == ["accepted"]
        assert site.shipment("other") == "InTransit"


@pytest.mark.parametrize("named_first", [True, False])
def test_what_was_told_of_a_full_parcel_goes_as_far_as_the_card_takes_it_and_its_end_always(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    named_first: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    """The same events reach the card, whether they come after the parcel is named or all at once when it is."""
    monkeypatch.setattr(refuse, "MAX_CARRIER_EVENTS", 8)
    monkeypatch.setattr(refuse, "RESERVED_CARRIER_EVENTS", 2)
    with desk(database_url) as site:
        site.tell(*shipped("other"), event("requested", "card"))
        site.tell(*[event("scanned", "card", hours=6 + n / 10, status="InTransit", **PARCEL) for n in range(3)])
        told = [*[scan(hours=20 + n, status="OutForDelivery") for n in range(5)], scan(hours=40, status="Delivered")]
        named = [event("shipped", "card", hours=5, **PARCEL)]
        site.tell(*(named if named_first else told))
        site.tell(*(told if named_first else named))
        picture = site.picture("card")
        assert len(picture["cardtrail"]["checkpoints"]) == 3 + 3 + 1
        assert picture["details"]["shipment"]["status"] == "Delivered"


def test_linking_a_card_to_a_busy_parcel_is_one_change(database_url: str) -> None:
    """Was slow: each of the parcel's events was folded for itself, so a batch could hold the writer for seconds."""
    with desk(database_url) as site:
        site.tell(*shipped("first"))
        site.tell(*[scan(hours=9 + n / 10, status=("InTransit", "OutForDelivery")[n % 2]) for n in range(90)])
        site.tell(*[each for n in range(60) for each in shipped(f"card-{n}")])
        assert site.sequence("first") == 92
        assert {site.sequence(f"card-{n}") for n in range(60)} == {3}
        assert site.picture("card-0")["details"] == site.picture("first")["details"]


def test_a_parcel_event_refused_for_want_of_room_is_not_shown(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: a site's event later in the same batch took in the scan that had just been refused."""
    monkeypatch.setattr("cardtrail.platform.ingest.MAX_WAITING_CARDS", 0)
    with desk(database_url) as site:
        site.run(site.ingest.run_once())
        assert site.tell(scan(hours=9), *shipped("card")) == ["WAITING_FULL", "accepted", "accepted"]
        assert site.shipment("card") is None
        assert site.tell(scan(hours=9)) == ["accepted"]
        assert site.shipment("card") == "InTransit"


def test_a_retraction_by_parcel_reaches_every_card_too(database_url: str) -> None:
    with desk(database_url) as site:
        wrong = scan(hours=9, status="Delivered")
        site.tell(*shipped("one"), *shipped("two"), wrong)
        taken_back = event("retracted", hours=10, source="carrier:dhl", retracts=wrong["eventId"], **PARCEL)
        assert site.tell(taken_back) == ["accepted"]
        site.tell(*shipped("three"))
        assert [site.shipment(card) for card in ("one", "two", "three")] == [None, None, None]
        assert [site.sequence(card) for card in ("one", "two")] == [4, 4]


def test_a_refused_site_event_leaves_no_parcel_behind(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Was a bug: the parcel it named was kept as one that does not wait, and so was never swept."""
    monkeypatch.setattr(refuse, "MAX_SITE_EVENTS", 1)
    with desk(database_url) as site:
        site.tell(event("requested", "card"))
        assert site.tell(event("shipped", "card", hours=1, **PARCEL)) == ["ORDER_FULL"]
        assert execute(database_url, "SELECT * FROM parcel") == []
        site.tell(event("shipped", "card", hours=1, **PARCEL), scan(hours=9))
        [row] = execute(database_url, "SELECT waiting_since FROM parcel")
        assert row[0] is not None
