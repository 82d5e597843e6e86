"""Magic ids pick scenarios, the longest name that fits, and a slip is no wish for nothing."""

import pytest

from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.magic import scenario_named

KNOWN = ("returned", "re-order", "re", "late-scan")


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        (None, None), ("", None), ("card-1", None), ("sbx", None), ("xsbx-returned", None),
        ("sbx-returned", "returned"), ("sbx-returned-17", "returned"), ("SBX-Returned-17", "returned"),
        ("sbx-re-order-1", "re-order"), ("sbx-re-1", "re"), ("sbx-late-scan", "late-scan"),
        ("sbx-", ""), ("sbx-returnedx", "returnedx"), ("sbx-late-1", "late-1"),
    ],
)  # fmt: skip
def test_an_id_picks_the_longest_name_that_fits(name: str | None, scenario: str | None) -> None:
    assert scenario_named(name, KNOWN) == scenario


def test_every_scenario_of_the_book_can_be_picked() -> None:
    known = shipped_book().scenarios
    assert [scenario_named(f"sbx-{name}-1", known) for name in known] == list(known)
