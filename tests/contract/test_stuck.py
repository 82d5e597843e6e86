"""Stuck cards, and what is usual: on both engines."""

from typing import Any

import pytest

from cardtrail.core.business import DAY, business_time
from cardtrail.platform.ui import stuck as module
from cardtrail.platform.ui.stuck import StuckList, stuck_of
from cardtrail.platform.ui.usual import Basis, Dwells, Group, share_of
from tests.desk import Desk, desk, execute
from tests.events import BEGIN, event
from tests.serving import ISSUER

OTHER = "ISSUER0002"


def hours(count: float) -> int:
    """Return µs of the instant so many hours after the beginning, a Monday at 8."""
    return int(BEGIN.timestamp() * 1_000_000 + count * DAY / 24)


def sent(site: Desk, card_id: str, start: float = 0, *, carrier: str = "dhl", issuer: str = ISSUER) -> None:
    """Tell of a card that is in transit since `start` hours."""
    parcel: dict[str, Any] = {"carrier": carrier, "trackingNumber": f"T-{issuer}-{card_id}"}
    about: dict[str, Any] = {"issuerId": issuer}
    told = site.tell(
        event("requested", card_id, hours=start - 30, **about),
        event("shipped", card_id, hours=start - 10, **parcel, **about),
        event("scanned", hours=start, status="InTransit", **parcel),
    )
    assert set(told) == {"accepted"}


def moved(site: Desk, card_id: str, at: float, *, carrier: str = "dhl") -> None:
    number = f"T-{ISSUER}-{card_id}"
    site.tell(event("scanned", hours=at, status="OutForDelivery", carrier=carrier, trackingNumber=number))


def looked(site: Desk, now: int, issuer: str = ISSUER) -> StuckList:
    return site.run(site.db.read(lambda tx: stuck_of(tx, issuer, now)))


def test_what_is_usual_is_learned_of_those_that_moved_on_and_the_worst_come_first(database_url: str) -> None:
    with desk(database_url) as site:
        for number in range(40):
            sent(site, f"card-{number}")
            moved(site, f"card-{number}", 30)
        sent(site, "slow", 40)
        sent(site, "lost", 8)
        found = looked(site, hours(8 + 5 * 24))
    assert [each.card_id for each in found.stuck] == ["lost", "slow"]
    usual = found.stuck[0].usual
    assert (usual.group, usual.basis, usual.middle, usual.limit) == (
        Group("InTransit", carrier="dhl"),
        Basis.LEARNED,
        5,
        9,
    )
    assert found.stuck[0].over > found.stuck[1].over > 1
    assert found.stuck[0].dwelt == business(8, 8 + 5 * 24)


def business(start: float, end: float) -> int:
    return business_time(hours(start), hours(end))


def test_a_card_is_stuck_only_from_its_limit_on(database_url: str) -> None:
    with desk(database_url) as site:
        sent(site, "card-1")
        assert [each.card_id for each in looked(site, hours(8 * 24)).stuck] == []  # a guess: six business days
        [each] = looked(site, hours(8 * 24 + 1)).stuck
    assert (each.usual.basis, each.usual.limit, each.since) == (Basis.GUESS, 24, hours(0))


def test_a_weekend_brings_no_alarm(database_url: str) -> None:
    with desk(database_url) as site:
        for number in range(40):
            sent(site, f"card-{number}")
            moved(site, f"card-{number}", 30)
        sent(site, "friday", 4 * 24 + 14)
        assert looked(site, hours(7 * 24)).stuck == ()


def test_carriers_are_compared_with_themselves_and_new_ones_with_all(database_url: str) -> None:
    with desk(database_url) as site:
        for number in range(40):
            sent(site, f"card-{number}")
            moved(site, f"card-{number}", 30)
        sent(site, "other", 0, carrier="ups")
        [each] = [each for each in looked(site, hours(4 * 24)).stuck if each.card_id == "other"]
    assert (each.usual.basis, each.usual.group.carrier, each.usual.left) == (Basis.PLACE, "ups", 40)


def test_no_other_issuers_cards_are_seen_and_none_that_has_ended(database_url: str) -> None:
    with desk(database_url) as site:
        sent(site, "mine")
        sent(site, "theirs", issuer=OTHER)
        number = f"T-{ISSUER}-mine"
        site.tell(event("scanned", hours=9, status="Delivered", carrier="dhl", trackingNumber=number))
        assert looked(site, hours(1_000)).stuck == ()
        assert [each.card_id for each in looked(site, hours(1_000), OTHER).stuck] == ["theirs"]


def test_a_limit_that_was_set_goes_before_what_was_learned(database_url: str) -> None:
    with desk(database_url) as site:
        sent(site, "card-1")
        execute(database_url, f"INSERT INTO threshold VALUES ('{ISSUER}', 'InTransit', '', '', 'dhl', 4)")  # noqa: S608 - ours
        [each] = looked(site, hours(30)).stuck
    assert (each.usual.basis, each.usual.limit) == (Basis.SET, 4)


def test_a_list_is_bounded_and_says_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STUCK", 3)
    with desk(database_url) as site:
        for number in range(5):
            sent(site, f"card-{number}", number)
        found = looked(site, hours(1_000))
    assert [each.card_id for each in found.stuck] == ["card-0", "card-1", "card-2"]
    assert not found.is_whole


def test_the_setting_that_names_most_of_a_group_counts() -> None:
    rows = [("InTransit", "", "", "", 8), ("InTransit", "", "CENTRAL", "dhl", 4), ("InTransit", "", "", "dhl", 6)]
    dwells = Dwells([], rows)
    assert dwells.usual(Group("InTransit", "", "CENTRAL", "dhl")).limit == 4
    assert dwells.usual(Group("InTransit", "", "", "dhl")).limit == 6
    assert dwells.usual(Group("InTransit", "", "", "ups")).limit == 8
    assert dwells.usual(Group("Expired")).basis is Basis.GUESS


def test_a_share_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    counts = {1: 50, 2: 30, 5: 19, 40: 1}
    assert [share_of(counts, share) for share in (0.5, 0.8, 0.99, 1.0)] == [1, 2, 5, 40]
    assert share_of({}, 0.5) == 0
