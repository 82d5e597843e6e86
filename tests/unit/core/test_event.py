"""Events: identity, and what is sorted before what in the same instant."""

import msgspec
import pytest

from cardtrail.core.event import STAGE_OF, ProductionKind
from cardtrail.core.status import SHIPMENT_RANK, ProductionStatus, ShipmentStatus
from tests.unit.core.facts import retraction, scan, site


def test_an_event_is_known_by_source_and_id() -> None:
    assert site("done", event_id="a").key == ("site:a", "a")
    assert site("done", event_id="a").key != site("done", event_id="a", source="site:b").key


def test_an_event_never_changes() -> None:
    with pytest.raises(AttributeError):
        site("done").source = "site:b"  # type: ignore[misc]  # it is frozen


def test_every_kind_but_hold_and_release_leads_to_a_stage() -> None:
    assert set(ProductionKind) - set(STAGE_OF) == {ProductionKind.HELD, ProductionKind.RELEASED}


def test_a_carrier_alone_tells_of_a_return() -> None:
    assert set(ProductionStatus) - set(STAGE_OF.values()) == {ProductionStatus.RETURNED}


def test_in_the_same_instant_production_comes_before_the_post() -> None:
    last = max(site(kind).rank for kind in ProductionKind)
    assert last < min(scan(status, 0).rank for status in [None, *ShipmentStatus])


def test_in_the_same_instant_stages_come_in_their_order() -> None:
    kinds = ["requested", "prepared", "ready", "started", "failed", "done", "shipped", "canceled"]
    ranks = [site(kind).rank for kind in kinds]
    assert ranks == sorted(set(ranks))


def test_in_the_same_instant_a_return_comes_last() -> None:
    returned = scan(None, 0, kind="returned").rank
    assert returned > max(scan(status, 0).rank for status in SHIPMENT_RANK)


@pytest.mark.parametrize("word", ["delivered", "DELIVERED", "In transit", "unknown", "", None])
def test_a_word_that_is_not_exactly_one_of_the_nine_stays_unknown(word: str | None) -> None:
    assert scan(word, 0).shipment_status is None


@pytest.mark.parametrize("status", list(ShipmentStatus))
def test_each_of_the_nine_is_known(status: ShipmentStatus) -> None:
    assert scan(status.value, 0).shipment_status is status


def test_a_retraction_means_its_own_source_unless_it_names_another() -> None:
    event = site("done")
    assert retraction(event).target == event.key
    other = msgspec.structs.replace(retraction(event, source="operator:ann"), retracted_source="site:a")
    assert other.target == event.key
