"""The transition table against a list written from the words of the specification."""

import re

import pytest

from cardtrail.core.status import (
    MAIN_LINE,
    MOVING,
    OPEN,
    RANK,
    SHIPMENT_RANK,
    TRANSITIONS,
    Move,
    ProductionStatus,
    ShipmentStatus,
    diagram,
    skipped,
)

S = ProductionStatus
LINE = [S.REQUESTED, S.DATA_PREPARED, S.READY, S.ONGOING, S.DONE, S.SHIPPED]
NEXT: dict[ProductionStatus, set[ProductionStatus]] = {
    S.REQUESTED: {S.DATA_PREPARED, S.DATA_EXCEPTION, S.CANCELED},
    S.DATA_PREPARED: {S.READY, S.DATA_EXCEPTION, S.CANCELED},
    S.READY: {S.ONGOING, S.CANCELED},
    S.ONGOING: {S.DONE, S.EXCEPTION, S.CANCELED},
    S.EXCEPTION: {S.ONGOING, S.CANCELED},
    S.DONE: {S.SHIPPED, S.CANCELED},
    S.SHIPPED: {S.RETURNED},
    S.DATA_EXCEPTION: set(),
    S.CANCELED: set(),
    S.RETURNED: set(),
}
"""The next thing that can happen: production, data trouble, rework, cancellation until shipped, return after it."""
FORWARD: dict[ProductionStatus, set[ProductionStatus]] = {
    S.REQUESTED: {S.READY, S.ONGOING, S.EXCEPTION, S.DONE, S.SHIPPED, S.RETURNED},
    S.DATA_PREPARED: {S.ONGOING, S.EXCEPTION, S.DONE, S.SHIPPED, S.RETURNED},
    S.READY: {S.EXCEPTION, S.DONE, S.SHIPPED, S.RETURNED},
    S.ONGOING: {S.SHIPPED, S.RETURNED},
    S.EXCEPTION: {S.DONE, S.SHIPPED, S.RETURNED},
    S.DONE: {S.RETURNED},
    S.SHIPPED: set(),
    S.DATA_EXCEPTION: set(),
    S.CANCELED: set(),
    S.RETURNED: set(),
}
"""What notices that were lost make of it."""


def expected(now: ProductionStatus, then: ProductionStatus) -> Move:
    if now is then:
        return Move.SAME
    if then in NEXT[now]:
        return Move.STEP
    return Move.SKIP if then in FORWARD[now] else Move.ANOMALY


@pytest.mark.parametrize("now", list(S))
def test_each_row_of_the_table_says_what_the_specification_says(now: ProductionStatus) -> None:
    assert TRANSITIONS[now] == {then: expected(now, then) for then in S}


@pytest.mark.parametrize("end", [S.DATA_EXCEPTION, S.CANCELED, S.RETURNED])
def test_nothing_follows_an_end(end: ProductionStatus) -> None:
    assert set(TRANSITIONS[end].values()) == {Move.SAME, Move.ANOMALY}


def test_only_rework_leads_back() -> None:
    back = {
        (now, then) for now in S for then in S
        if TRANSITIONS[now][then] in {Move.STEP, Move.SKIP} and RANK[then] < RANK[now]
    }  # fmt: skip
    assert back == {(S.EXCEPTION, S.ONGOING)}


def test_a_cancellation_is_possible_exactly_while_an_order_can_be_held() -> None:
    assert {now for now in S if TRANSITIONS[now][S.CANCELED] is Move.STEP} == OPEN


def test_a_skip_leaves_out_the_main_line_between() -> None:
    assert skipped(S.REQUESTED, S.DONE) == (S.DATA_PREPARED, S.READY, S.ONGOING)
    assert skipped(S.READY, S.EXCEPTION) == (S.ONGOING,)
    assert skipped(S.ONGOING, S.RETURNED) == (S.DONE, S.SHIPPED)


@pytest.mark.parametrize("now", list(S))
def test_every_skip_leaves_something_out(now: ProductionStatus) -> None:
    for then, move in TRANSITIONS[now].items():
        assert move is not Move.SKIP or skipped(now, then), f"{now} to {then}"


def test_a_card_that_is_done_after_an_exception_was_worked_on_again() -> None:
    assert skipped(S.EXCEPTION, S.DONE) == (S.ONGOING,)
    assert skipped(S.EXCEPTION, S.SHIPPED) == (S.ONGOING, S.DONE)


def test_the_main_line_is_in_the_order_of_production() -> None:
    assert list(MAIN_LINE) == LINE
    assert [RANK[stage] for stage in LINE] == sorted(RANK[stage] for stage in LINE)


def test_every_shipment_status_has_a_rank_and_delivered_the_highest() -> None:
    assert set(SHIPMENT_RANK) == set(ShipmentStatus)
    assert max(SHIPMENT_RANK, key=SHIPMENT_RANK.__getitem__) is ShipmentStatus.DELIVERED


def test_a_scan_proves_shipping_only_if_the_carrier_has_the_parcel() -> None:
    told_before = {ShipmentStatus.PENDING, ShipmentStatus.INFO_RECEIVED}
    says_nothing = {ShipmentStatus.EXCEPTION, ShipmentStatus.EXPIRED}
    assert set(ShipmentStatus) - told_before - says_nothing == MOVING


def test_the_diagram_draws_every_step_and_nothing_else() -> None:
    arrows = set(re.findall(r"^    (\w+) --> (\w+)$", diagram(), re.MULTILINE))
    assert arrows == {(now.value, then.value) for now in S for then in NEXT[now]}


def test_the_diagram_begins_with_the_request_and_ends_where_nothing_follows() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> CARD_PROD_REQUESTED"]
    ends = {line.split()[0] for line in lines if line.endswith("--> [*]")}
    assert ends == {"DATA_EXCEPTION", "CARD_PROD_CANCELED", "CARD_RETURNED"}
    assert diagram().endswith("\n")
