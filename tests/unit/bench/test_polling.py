"""The policy in the small world: better than asking for everything each day with fewer calls, and near each hour."""

from functools import cache

import pytest

from bench import polling_run
from bench.polling import polled
from bench.polling_told import Staleness

CARDS = 4_000
LOST = 0.02


@cache
def ways() -> dict[str, Staleness]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polling_run, "ROUND", 60_000_000)  # six times as coarse as the table's, and as quick
        return {way.name: way.result for way in polled(CARDS, LOST, (0.5, 8.0))}


def test_half_the_calls_of_daily_asking_repair_sooner() -> None:
    daily, thrifty = ways()["every open card each day"], ways()["by budget, 0.5 calls/s"]
    assert thrifty.calls < 0.6 * daily.calls
    assert thrifty.p50 < 1.2 * daily.p50
    assert thrifty.p99 < 1.5 * daily.p99


def test_a_quarter_of_the_calls_of_hourly_asking_repairs_within_hours() -> None:
    hourly, daily, generous = (
        ways()[name] for name in ("every open card each hour", "every open card each day", "by budget, 8 calls/s")
    )
    assert generous.calls < 0.3 * hourly.calls
    assert generous.p50 < 0.4 * daily.p50
    assert generous.p99 < 0.6 * daily.p99


def test_nothing_stays_wrong_for_ever() -> None:
    assert all(way.unrepaired == 0.0 for way in ways().values())
