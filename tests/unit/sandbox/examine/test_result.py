"""The grade in one line."""

from cardtrail.sandbox.examine.catalogue import chosen
from cardtrail.sandbox.examine.result import Outcome, Report, Result
from tests.unit.sandbox.examine.reporting import report


def test_the_grade_tells_what_passed_of_what_was_tried_and_what_was_skipped() -> None:
    assert report().grade == "2 of 3 passed, 1 failed, 1 skipped; must: 2 of 3"
    assert report().seconds == 0.875
    assert not report().is_passed


def test_what_was_skipped_spoils_no_grade_and_makes_none() -> None:
    cases = chosen(["plain", "heartbeat"])
    skipped = Report("u", "r", [Result(each, Outcome.SKIPPED) for each in cases])
    assert (skipped.grade, skipped.is_passed) == ("0 of 0 passed, 3 skipped", True)
    passed = Report("u", "r", [Result(each, Outcome.PASSED) for each in cases])
    assert passed.grade == "3 of 3 passed; must: all, should: all"
