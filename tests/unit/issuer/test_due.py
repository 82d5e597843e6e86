"""Which card is asked next and why: reasons, their order, last looks, and what is never asked for any more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.core.status import ProductionStatus, ShipmentStatus
from cardtrail.issuer.due import (
    DAY,
    LAST_LOOK_AFTER,
    MISSING,
    NEVER,
    QUIET_AFTER,
    RETRY,
    SILENT_AFTER,
    CardKnowledge,
    Why,
    due_of,
    end_of,
    key_of,
)
from cardtrail.issuer.dwell import GUESSES, HELD, UNHEARD, Dwell
from cardtrail.issuer.week import HOUR

NOW = 1_793_491_200_000_000
"""2026-11-01T00:00:00Z, a Sunday."""
DWELL = Dwell()


def card(stage: str = "CARD_PROD_READY", shipment: str = "", status: str = "PENDING", **more: object) -> CardKnowledge:
    return CardKnowledge(stage, shipment, status, more.pop("changed_at", NOW), **more)  # type: ignore[arg-type]  # by name


def why_of(known: CardKnowledge, now: int = NOW) -> Why:
    return due_of(known, now, DWELL).why


def test_the_reasons_are_in_the_order_of_their_urgency() -> None:
    assert sorted(Why) == [
        Why.DOUBTFUL, Why.OVERDUE, Why.PAST_DUE_DATE, Why.UNHEARD, Why.LAST_LOOK, Why.SWEEP, Why.SETTLED, Why.SILENT,
    ]  # fmt: skip


def test_what_is_doubtful_is_due_at_once_and_then_ever_more_seldom() -> None:
    assert due_of(card(doubtful=True), NOW, DWELL).at == NOW
    waits = [due_of(card(doubtful=True, asked_at=NOW, asks=asks), NOW, DWELL).at - NOW for asks in range(1, 8)]
    assert waits == sorted(waits)
    assert waits[0] == RETRY
    assert waits[-1] == waits[-2] == 16 * RETRY


def test_what_is_doubtful_and_unknown_to_the_server_is_not_asked_for_every_hour() -> None:
    """Regression: a card that the server had forgotten was asked for eighteen times a day, for ever."""
    due = due_of(card(doubtful=True, unknown=True, asked_at=NOW, asks=9), NOW, DWELL)
    assert (due.why, due.at) == (Why.OVERDUE, NOW + 16 * MISSING)


@pytest.mark.parametrize(
    ("stage", "shipment", "status"),
    [
        ("CARD_SHIPPED", "Delivered", "SUCCESSFUL"), ("CARD_RETURNED", "Exception", "SUCCESSFUL"),
        ("CARD_PROD_CANCELED", "", "FAILED"), ("DATA_EXCEPTION", "", "FAILED"), ("CARD_PROD_EXCEPTION", "", "FAILED"),
        ("SOMETHING_NEW", "", "FAILED"),
    ],
)  # fmt: skip
def test_what_has_ended_gets_one_last_look_and_is_settled(stage: str, shipment: str, status: str) -> None:
    told = card(stage, shipment, status, tracked=True)
    assert due_of(told, NOW, DWELL) == due_of(told, NOW + 400 * DAY, DWELL)
    assert (due_of(told, NOW, DWELL).why, due_of(told, NOW, DWELL).at) == (Why.LAST_LOOK, NOW + LAST_LOOK_AFTER)
    looked = card(stage, shipment, status, tracked=True, asked_at=NOW, looked=True)
    assert (due_of(looked, NOW, DWELL).why, due_of(looked, NOW, DWELL).at) == (Why.SETTLED, NEVER)


@pytest.mark.parametrize("asked_at", [NOW - 1, NOW, NOW + DAY])
def test_whatever_the_clock_says_a_look_that_was_not_asked_after_the_end_is_not_the_last(asked_at: int) -> None:
    assert why_of(card("CARD_PROD_CANCELED", "", "FAILED", asked_at=asked_at)) is Why.LAST_LOOK


def test_a_card_past_its_due_date_is_asked_when_the_date_is_over_everywhere() -> None:
    due = due_of(card("CARD_PROD_REQUESTED", due_date="2026-11-01", changed_at=NOW - DAY, asked_at=NOW), NOW, DWELL)
    assert due.at <= end_of("2026-11-01") == NOW + 36 * HOUR
    shipped = due_of(card("CARD_SHIPPED", "InTransit", "SUCCESSFUL", due_date="2026-11-01", tracked=True), NOW, DWELL)
    assert shipped.why is Why.OVERDUE


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "2026-11-01T00:00:00Z\0"])
def test_what_is_no_date_makes_nothing_due(text: str) -> None:
    assert end_of(text) == NEVER


def test_a_card_never_heard_of_is_asked_for_and_one_that_is_unknown_ever_more_seldom() -> None:
    assert why_of(card("", "", "")) is Why.UNHEARD
    unknown = [due_of(card("", "", "", unknown=True, asked_at=NOW, asks=asks), NOW, DWELL) for asks in (1, 2, 9)]
    assert [due.why for due in unknown] == [Why.UNHEARD] * 3
    assert [due.at - NOW for due in unknown] == [MISSING, 2 * MISSING, 16 * MISSING]


def test_a_card_that_is_silent_for_very_long_is_left_alone_sooner_where_nothing_more_is_usual() -> None:
    assert why_of(card(), NOW + SILENT_AFTER) is not Why.SILENT
    assert why_of(card(), NOW + SILENT_AFTER + 1) is Why.SILENT
    assert why_of(card("CARD_SHIPPED", "", "SUCCESSFUL"), NOW + QUIET_AFTER + 1) is Why.SILENT
    assert why_of(card("CARD_SHIPPED", "", "SUCCESSFUL", tracked=True), NOW + QUIET_AFTER + 1) is Why.OVERDUE


@pytest.mark.parametrize(
    ("known", "key"),
    [
        (card(), "CARD_PROD_READY/"), (card("", "", ""), UNHEARD), (card(held=True), HELD),
        (card("CARD_SHIPPED"), "CARD_SHIPPED/-"), (card("CARD_SHIPPED", tracked=True), "CARD_SHIPPED/"),
        (card("CARD_SHIPPED", "InTransit", tracked=True), "CARD_SHIPPED/InTransit"),
        (card("CARD_PROD_DONE", "", "SUCCESSFUL"), "CARD_PROD_DONE/-"), (card("NEW"), "NEW/"),
    ],
)  # fmt: skip
def test_dwells_are_told_apart_by_stage_and_shipment(known: CardKnowledge, key: str) -> None:
    assert key_of(known) == key


def test_every_published_stage_and_shipment_status_has_a_guess() -> None:
    ended = {
        ProductionStatus.RETURNED,
        ProductionStatus.CANCELED,
        ProductionStatus.DATA_EXCEPTION,
        ProductionStatus.SHIPPED,
    }
    assert [stage for stage in ProductionStatus if stage not in ended and f"{stage}/" not in GUESSES] == []
    moving = [status for status in ShipmentStatus if status is not ShipmentStatus.DELIVERED]
    assert [status for status in moving if f"CARD_SHIPPED/{status}" not in GUESSES] == []


STAGES = st.sampled_from([*ProductionStatus, "", "NEW"])
SHIPMENTS = st.sampled_from(["", *ShipmentStatus, "Teleported"])


@given(
    STAGES, SHIPMENTS, st.sampled_from(["PENDING", "SUCCESSFUL", "FAILED", ""]), st.integers(0, 2 * NOW),
    st.integers(0, 2 * NOW), st.integers(0, 10_000), st.booleans(), st.booleans(), st.none() | st.just("2026-11-03"),
)  # fmt: skip
def test_whatever_is_known_there_is_a_reason_and_nobody_is_asked_again_at_once(  # noqa: PLR0913, PLR0917 - all that is known
    stage: str, shipment: str, status: str, changed_at: int, asked_at: int, asks: int, doubtful: bool, unknown: bool,  # noqa: FBT001 - drawn
    due_date: str | None,
) -> None:  # fmt: skip
    known = CardKnowledge(
        stage, shipment, status, changed_at, asked_at, asks, due_date, doubtful=doubtful, unknown=unknown, tracked=True
    )
    due = due_of(known, max(changed_at, asked_at), DWELL)
    if asked_at > changed_at and asks and due.why is not Why.LAST_LOOK:
        assert due.at > asked_at
    assert due.at >= 0
