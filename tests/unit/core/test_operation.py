"""The public picture of an order, and which of two observed pictures to believe."""

from typing import Any

import msgspec
import pytest

from cardtrail.core.event import Event
from cardtrail.core.operation import MAX_CHECKPOINTS, Newer, Observation, Operation, newer, operation_of
from cardtrail.core.status import OperationStatus, ProductionStatus
from tests.unit.core.facts import BEGIN, CARD, DHL, instant, order_of, parcel_scan, scan, site

S = ProductionStatus
PENDING, SUCCESSFUL, FAILED = OperationStatus
START = site("requested", 0, operation_id="op-1", input_file_name="day.csv", issuer_request_id="r-1")


def picture(*events: Event) -> Operation:
    return operation_of(order_of(START, *events))


# ── state of the operation ───────────────────────────────────────────────────────────────────────────────────


def test_a_picture_says_which_order_of_which_card_it_is() -> None:
    drawn = picture()
    assert (drawn.operation_id, drawn.operation, drawn.card_id) == ("op-1", "PRODUCE", CARD)
    assert (drawn.start_time, drawn.end_time) == (BEGIN, None)
    assert (drawn.input_file_name, drawn.issuer_request_id) == ("day.csv", "r-1")


@pytest.mark.parametrize("kind", ["requested", "prepared", "ready", "started", "failed", "done", "held"])
def test_an_operation_is_pending_and_has_no_end_while_its_card_is_made(kind: str) -> None:
    drawn = picture(site(kind, 1, operation_id="op-1"))
    assert (drawn.status, drawn.end_time, drawn.error_code, drawn.error) == (PENDING, None, None, None)


def test_shipping_ends_the_operation_well() -> None:
    drawn = picture(site("shipped", 5), scan("InTransit", 9))
    assert (drawn.status, drawn.end_time) == (SUCCESSFUL, instant(5))


def test_a_return_leaves_the_operation_as_it_ended() -> None:
    drawn = picture(site("shipped", 5), scan(None, 9, kind="returned"))
    assert (drawn.details.status, drawn.status, drawn.end_time) == (S.RETURNED, SUCCESSFUL, instant(5))


def test_instant_issuance_ends_with_done() -> None:
    drawn = picture(site("done", 5, distribution_channel="INSTANT"))
    assert (drawn.status, drawn.end_time) == (SUCCESSFUL, instant(5))


@pytest.mark.parametrize("channel", ["CENTRAL", "THALES", "instant", None])
def test_any_other_channel_goes_on_after_done(channel: str | None) -> None:
    drawn = picture(site("done", 5, distribution_channel=channel))
    assert (drawn.status, drawn.end_time) == (PENDING, None)


def test_a_cancelled_order_failed_with_the_code_of_a_cancellation() -> None:
    drawn = picture(site("canceled", 5, reason="customer died", error_code="OTHER", error="by the bank"))
    assert (drawn.status, drawn.end_time, drawn.error_code) == (FAILED, instant(5), "ORDER_CANCELED")
    assert (drawn.details.status, drawn.details.reason, drawn.error) == (S.CANCELED, "customer died", "by the bank")


def test_an_instant_card_cancelled_after_it_was_done_has_failed() -> None:
    drawn = picture(site("done", 5, distribution_channel="INSTANT"), site("canceled", 6))
    assert (drawn.status, drawn.end_time, drawn.error_code) == (FAILED, instant(6), "ORDER_CANCELED")


@pytest.mark.parametrize(("told", "code"), [("E-17", "E-17"), (None, "DATA_EXCEPTION")])
def test_data_trouble_fails_with_the_sites_code_or_the_name_of_the_stage(told: str | None, code: str) -> None:
    drawn = picture(site("data_failed", 5, error_code=told, error="no PAN", reason="bad row"))
    assert (drawn.status, drawn.end_time, drawn.error_code) == (FAILED, instant(5), code)
    assert (drawn.error, drawn.details.reason) == ("no PAN", "bad row")


def test_an_exception_is_pending_while_rework_is_possible_and_failed_when_final() -> None:
    trouble = site("failed", 5, error_code="E-1", error="torn", reason="chip")
    assert (picture(trouble).status, picture(trouble).error_code, picture(trouble).error) == (PENDING, None, None)
    assert picture(trouble).details.reason == "chip"
    final = picture(trouble, site("failed", 6, final=True))
    assert (final.status, final.end_time, final.error_code) == (FAILED, instant(6), "CARD_PROD_EXCEPTION")


def test_a_reason_goes_when_rework_has_begun() -> None:
    assert picture(site("failed", 5, reason="chip"), site("started", 6)).details.reason is None


def test_a_late_fact_corrects_the_end() -> None:
    seen = scan("InTransit", 9)
    assert picture(seen).end_time == instant(9)
    assert picture(seen, site("shipped", 5, heard=100)).end_time == instant(5)


def test_a_hold_keeps_the_status_and_says_why() -> None:
    drawn = picture(site("ready", 1), site("held", 2, reason="chip stock"))
    assert (drawn.details.status, drawn.details.reason) == (S.READY, "ON_HOLD: chip stock")
    assert picture(site("held", 2, reason="x"), site("released", 3)).details.reason is None


def test_a_hold_without_a_reason_is_still_seen() -> None:
    assert picture(site("held", 2)).details.reason == "ON_HOLD:"


def test_the_longest_reason_of_a_hold_is_told_in_full() -> None:
    assert picture(site("held", 2, reason="x" * 256)).details.reason == "ON_HOLD: " + "x" * 256


# ── details ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_is_no_shipment_before_anybody_names_one() -> None:
    assert picture(site("done", 5)).details.shipment is None


def test_a_shipment_is_told_as_published() -> None:
    named = site("shipped", 5, **DHL, tracking_url="https://dhl.test/P1")
    shipment = picture(named, parcel_scan("InTransit", 9, message="On its way")).details.shipment
    assert shipment is not None
    assert msgspec.to_builtins(shipment) == {
        "carrier": "dhl", "trackingNumber": "P1", "status": "InTransit", "message": "On its way",
        "trackingUrl": "https://dhl.test/P1",
    }  # fmt: skip


def test_the_picture_shows_the_newest_checkpoints() -> None:
    scans = [parcel_scan("InTransit", 10 + hours, code=f"{hours}") for hours in range(MAX_CHECKPOINTS + 5)]
    shown = picture(site("shipped", 5, **DHL), *scans).checkpoints
    assert [checkpoint.code for checkpoint in shown] == [f"{hours}" for hours in range(5, MAX_CHECKPOINTS + 5)]


def test_dates_and_sites_are_told_as_they_came() -> None:
    drawn = picture(
        site("ready", 1, due_date="2026-01-10", production_site="PERSO-1"), site("shipped", 5, **DHL),
        parcel_scan("InTransit", 9, estimated_delivery="2026-01-12"),
    )  # fmt: skip
    assert (drawn.details.due_date, drawn.details.production_site) == ("2026-01-10", "PERSO-1")
    assert drawn.estimated_delivery == "2026-01-12"


# ── which picture to believe ─────────────────────────────────────────────────────────────────────────────────


def seen(stage: str = S.ONGOING, **members: Any) -> Observation:
    known: dict[str, Any] = {"operation_id": "op-1", "source": "notification", "observed_at": 100}
    return Observation(stage=stage, **(known | members))


def both_ways(a: Observation, b: Observation) -> tuple[Newer, Newer]:
    return newer(a, b), newer(b, a)


def test_the_higher_sequence_is_newer_whatever_the_stage() -> None:
    assert both_ways(seen(S.READY, sequence=3), seen(S.DONE, sequence=2)) == (Newer.YES, Newer.NO)


def test_an_answer_asked_for_after_the_other_was_seen_wins_over_a_higher_sequence() -> None:
    restored = seen(S.READY, sequence=1, source="answer", asked_at=101, observed_at=105)
    assert both_ways(restored, seen(S.DONE, sequence=9)) == (Newer.YES, Newer.NO)


def test_an_answer_asked_for_before_the_other_was_seen_wins_nothing_by_its_time() -> None:
    answer = seen(S.READY, source="answer", asked_at=100, observed_at=105)
    assert both_ways(answer, seen(S.DONE)) == (Newer.NO, Newer.YES)


def test_one_sequence_with_two_contents_is_unsure() -> None:
    before, after = seen(sequence=4, content=b"before"), seen(sequence=4, content=b"after the restore")
    assert both_ways(before, after) == (Newer.UNSURE, Newer.UNSURE)
    assert both_ways(before, before) == (Newer.SAME, Newer.SAME)


def test_a_sequence_on_one_side_only_decides_nothing() -> None:
    assert both_ways(seen(S.DONE), seen(S.READY, sequence=9)) == (Newer.YES, Newer.NO)


def test_the_later_stage_is_newer() -> None:
    assert both_ways(seen(S.DONE), seen(S.READY)) == (Newer.YES, Newer.NO)


def test_rework_goes_round_so_that_nobody_is_sure() -> None:
    assert both_ways(seen(S.EXCEPTION), seen(S.ONGOING)) == (Newer.UNSURE, Newer.UNSURE)


def test_a_stage_nobody_knows_is_unsure() -> None:
    assert both_ways(seen("CARD_PROD_GILDED"), seen(S.ONGOING)) == (Newer.UNSURE, Newer.UNSURE)
    assert both_ways(seen("CARD_PROD_GILDED"), seen("CARD_PROD_GILDED")) == (Newer.SAME, Newer.SAME)


def test_of_one_stage_the_ended_operation_is_newer() -> None:
    assert both_ways(seen(S.EXCEPTION, ended=True), seen(S.EXCEPTION)) == (Newer.YES, Newer.NO)


@pytest.mark.parametrize("ended", [S.DATA_EXCEPTION, S.EXCEPTION])
def test_a_later_stage_that_goes_on_beside_an_earlier_one_that_ended_is_unsure(ended: str) -> None:
    assert both_ways(seen(S.DONE), seen(ended, ended=True)) == (Newer.UNSURE, Newer.UNSURE)


def test_of_one_stage_the_parcel_that_went_further_is_newer() -> None:
    assert both_ways(seen(S.SHIPPED, shipment_status="InTransit"), seen(S.SHIPPED)) == (Newer.YES, Newer.NO)
    delivered = seen(S.SHIPPED, shipment_status="Delivered")
    assert both_ways(delivered, seen(S.SHIPPED, shipment_status="AttemptFail")) == (Newer.YES, Newer.NO)


def test_attempts_to_deliver_go_round_so_that_nobody_is_sure() -> None:
    attempt, van = (seen(S.SHIPPED, shipment_status=status) for status in ("AttemptFail", "OutForDelivery"))
    assert both_ways(attempt, van) == (Newer.UNSURE, Newer.UNSURE)


def test_a_return_is_newer_though_its_parcel_went_round() -> None:
    returned = seen(S.RETURNED, ended=True, shipment_status="Exception")
    assert both_ways(returned, seen(S.SHIPPED, ended=True, shipment_status="AttemptFail")) == (Newer.YES, Newer.NO)


def test_a_hold_can_have_come_or_gone() -> None:
    held, free = seen(content=b"ON_HOLD"), seen(content=b"")
    assert both_ways(held, free) == (Newer.UNSURE, Newer.UNSURE)
