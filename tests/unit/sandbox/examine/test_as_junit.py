"""JUnit XML as build servers read it."""

from xml.etree.ElementTree import fromstring

from cardtrail.sandbox.examine.as_junit import junit_of
from tests.unit.sandbox.examine.reporting import report


def test_there_is_a_suite_a_theme_and_a_test_case_a_case_with_right_counts() -> None:
    root = fromstring(junit_of(report()))  # noqa: S314 -- our own
    counts = [{name: each.get(name) for name in ("name", "tests", "failures", "skipped")} for each in root]
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("skipped")) == ("testsuites", "4", "1", "1")
    assert counts == [
        {"name": "cardtrail.examine.stories", "tests": "2", "failures": "0", "skipped": "1"},
        {"name": "cardtrail.examine.tolerance", "tests": "2", "failures": "1", "skipped": "0"},
    ]
    assert [case.get("name") for case in root.iter("testcase")] == [
        "plain", "plain-is-kept", "unknown-status", "unknown-operation",
    ]  # fmt: skip
    assert root.get("time") == "0.875"


def test_a_failure_tells_what_was_seen_why_it_matters_and_how_to_mend_it() -> None:
    root = fromstring(junit_of(report()))  # noqa: S314 -- our own
    [failure] = root.iter("failure")
    result = report().results[2]
    assert (failure.get("message"), failure.get("type")) == (result.seen, "must")
    assert failure.text is not None
    for text in (result.seen, result.case.why, result.case.fix, result.case.title):
        assert text in failure.text
    [skipped] = root.iter("skipped")
    assert skipped.get("message") == "no state was given"
