"""What the cards of a site share: lots, capacity, parcels to branches."""

from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from cardtrail.core.order import SECOND
from cardtrail.sandbox.world import plant as module
from cardtrail.sandbox.world.book import Site, shipped_book
from cardtrail.sandbox.world.hours import DAY, HOUR, day_of, open_at
from cardtrail.sandbox.world.plant import Plant

MONDAY = int(datetime(2026, 1, 5, 6, tzinfo=UTC).timestamp()) * SECOND
SITE = msgspec.structs.replace(shipped_book().sites["nord"], capacity=3)


def test_a_day_begins_no_more_cards_than_its_capacity_and_the_rest_waits_for_a_working_day() -> None:
    plant = Plant()
    lots = [plant.lot("nord", SITE, MONDAY) for _ in range(17)]
    days = Counter(day_of(lot) - day_of(MONDAY) for lot in lots)
    assert days == {0: 3, 1: 3, 2: 3, 3: 3, 4: 3, 7: 2}


def test_a_long_queue_at_a_small_site_is_not_walked_through_by_each_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each card looked at every full day before its own: 20,000 cards at a site that makes one a day took minutes."""
    plant, looks = Plant(), Counter[str]()
    site = msgspec.structs.replace(SITE, capacity=1)

    def counted(site: Site, at: int) -> int:
        looks["open"] += 1
        return open_at(site, at)

    monkeypatch.setattr(module, "open_at", counted)
    lots = [plant.lot("nord", site, MONDAY + number % 3 * HOUR) for number in range(2_000)]
    assert len({day_of(lot) for lot in lots}) == 2_000
    assert lots == sorted(lots)
    assert looks["open"] < 4 * 2_000


def test_a_lot_begins_on_the_hour_of_a_lot_and_never_before_the_card_is_ready() -> None:
    plant = Plant()
    assert plant.lot("nord", SITE, MONDAY + HOUR // 2) == MONDAY + 2 * HOUR
    assert plant.lot("nord", SITE, MONDAY + 2 * HOUR) == MONDAY + 2 * HOUR


def test_the_cards_of_a_site_and_a_day_share_a_parcel_that_leaves_while_the_site_is_open() -> None:
    plant = Plant()
    first, is_first = plant.branch("nord", SITE, MONDAY, ("ups", "N1"))
    again, is_again = plant.branch("nord", SITE, MONDAY + 3 * HOUR, ("deutsch-post", "N2"))
    assert (first, is_first, is_again) == (again, True, False)
    assert (first.number, first.carrier) == ("N1", "ups")
    assert open_at(SITE, first.leaves_at) == first.leaves_at
    late, _ = plant.branch("nord", SITE, first.leaves_at + SECOND, ("ups", "N3"))
    assert (late.number, late.leaves_at - first.leaves_at) == ("N3", DAY)
    assert plant.branch("sued", SITE, MONDAY, ("ups", "N4"))[1]
