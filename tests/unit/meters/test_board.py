"""How values are kept, and how Prometheus sees them."""

import pytest

from cardtrail.meters.board import Board, Spread
from cardtrail.meters.kit import KIT
from cardtrail.meters.meter import Meter, counter, durations, gauge
from cardtrail.meters.platform import PLATFORM

CALLS = counter("calls_total", "calls", "Calls.", result=("good", "bad"))
ERRORS = counter("errors_total", "errors", "Errors.", code="which")
DEPTH = gauge("depth", "rows", "What waits.", what=("one", "two"))
WAIT = durations("wait_seconds", "How long.", route="where")


def shown(board: Board) -> list[str]:
    return board.text().decode().splitlines()


def test_every_metric_is_shown_with_its_meaning_and_type_before_it_has_a_value() -> None:
    lines = shown(Board([CALLS, ERRORS, DEPTH, WAIT]))
    for name, kind, text in (("calls_total", "counter", "Calls."), ("wait_seconds", "histogram", "How long.")):
        assert f"# TYPE {name} {kind}" in lines
        assert f"# HELP {name} {text}" in lines


def test_a_counter_whose_labels_are_known_begins_with_0_so_that_its_first_rise_is_seen() -> None:
    lines = shown(Board([CALLS, ERRORS, counter("all_total", "1", "All."), DEPTH]))
    assert [line for line in lines if not line.startswith("#")] == [
        'calls_total{result="bad"} 0.0', 'calls_total{result="good"} 0.0', "all_total 0.0",
    ]  # fmt: skip


def test_values_are_kept_by_their_labels_and_shown_in_order() -> None:
    board = Board([ERRORS])
    for code in (503, 401, 503):
        board.values("errors_total")[code,] += 1
    assert shown(board)[2:] == ['errors_total{code="401"} 1.0', 'errors_total{code="503"} 2.0']


def test_a_source_is_asked_whenever_somebody_reads() -> None:
    board, values = Board([DEPTH]), iter((1.0, 2.0))
    board.show("depth", lambda: {("one",): next(values)})
    assert [shown(board)[-1] for _ in range(2)] == ['depth{what="one"} 1.0', 'depth{what="one"} 2.0']


def test_durations_are_counted_up_to_each_bound_with_their_sum() -> None:
    board = Board([WAIT])
    for seconds in (0.001, 0.005, 0.3, 99.0):
        board.spread("wait_seconds").note(seconds, "/cards")
    lines = shown(board)
    for bound, count in (("0.005", 2), ("0.25", 2), ("0.5", 3), ("30.0", 3), ("+Inf", 4)):
        assert f'wait_seconds_bucket{{le="{bound}",route="/cards"}} {count}.0' in lines
    assert 'wait_seconds_count{route="/cards"} 4.0' in lines
    assert 'wait_seconds_sum{route="/cards"} 99.306' in lines


def test_a_duration_that_is_a_bound_is_within_it() -> None:
    spread = Spread((1.0, 2.0))
    spread.note(1.0)
    assert list(spread.rows()) == [((), [("1.0", 1.0), ("2.0", 1.0), ("+Inf", 1.0)], 1.0)]


@pytest.mark.parametrize("name", ["values", "spread"])
def test_what_is_not_declared_cannot_be_counted(name: str) -> None:
    with pytest.raises(KeyError):
        getattr(Board([CALLS, WAIT]), name)("nothing_total")


@pytest.mark.parametrize("meters", [PLATFORM, KIT])
def test_names_say_kind_and_unit_and_every_meaning_is_a_sentence(meters: tuple[Meter, ...]) -> None:
    assert len({meter.name for meter in meters}) == len(meters)
    for meter in meters:
        assert meter.name.startswith("cardtrail_"), meter
        assert meter.name.endswith("_total") is (meter.kind == "counter"), meter
        assert meter.unit != "seconds" or meter.name.endswith("_seconds"), meter
        assert meter.text.endswith("."), meter
        assert meter.unit, meter
