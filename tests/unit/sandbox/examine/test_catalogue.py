"""The cases: named, reasoned, many, chosen by name and theme, and each of them can be failed."""

import re

import pytest

from cardtrail.errors import InputError
from cardtrail.sandbox.examine import exam
from cardtrail.sandbox.examine.case import Weight
from cardtrail.sandbox.examine.catalogue import CASES, THEMES, chosen
from cardtrail.sandbox.examine.result import Outcome
from tests.unit.sandbox.examine.playing import always, examined

NAMES = [case.name for case in CASES]
NOBODY_MINDS = {
    "plain", "heartbeat", "every-stage", "other-kinds", "both-places", "due-dates", "longest-ids", "duplicate",
    "signed-anew", "bulk-of-1000", "twice-in-one-call", "mixed-bulk", "rush", "bad-element", "not-utf8",
    "path-in-capitals", "skew", "several-signatures", "unknown-scheme", "raw-bytes", "second-secret", "both-secrets",
    "in-pieces", "chunked", "names-in-capitals", "expect", "keep-alive", "keep-alive-after-refusal", "slow-sender",
    "half-body", "hang-ups", "not-http",
} | {case.name for case in CASES if case.theme == "tolerance" and not case.needs}  # fmt: skip
"""What a receiver passes that says yes to everything and keeps nothing."""


def test_there_are_more_than_forty_cases_each_with_its_own_name() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 40
    assert [name for name in NAMES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_every_case_says_what_it_does_why_it_matters_and_how_to_mend_it() -> None:
    for case in CASES:
        assert case.title, case.name
        assert not case.title.endswith("."), case.name
        for text in (case.why, case.fix):
            assert re.fullmatch(r"[A-Z\"\\].{15,}\.", text), (case.name, text)
    assert {case.weight for case in CASES} == set(Weight)
    assert all(theme.cases and theme.title for theme in THEMES)


def test_cases_are_chosen_by_name_by_the_beginning_of_one_and_by_theme() -> None:
    assert chosen([]) == list(CASES)
    assert [case.name for case in chosen(["duplicate-kept-once"])] == ["duplicate-kept-once"]
    assert {case.name for case in chosen(["unknown-st", "plain"])} == {
        "unknown-status", "unknown-status-is-kept", "plain", "plain-is-kept",
    }  # fmt: skip
    assert {case.theme for case in chosen(["bulk"])} == {"bulk"}
    assert len(chosen(["bulk"])) == sum(case.theme == "bulk" for case in CASES)


@pytest.mark.parametrize("word", ["nothing", "", "Plain", "ord"])
def test_a_word_that_means_no_case_is_named(word: str) -> None:
    with pytest.raises(InputError, match=f"only: no case or theme begins with '{word}'"):
        chosen(["plain", word])


def test_a_receiver_that_breaks_after_its_first_call_passes_no_case() -> None:
    report = examined(always(500), CASES)
    assert [each.case.name for each in report.of(Outcome.PASSED)] == []
    assert len(report.of(Outcome.FAILED)) == len(CASES)


def test_a_receiver_that_says_yes_to_everything_and_keeps_nothing_fails_all_that_asks_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exam, "GRACE_SECONDS", 0.01)  # what is never kept need not be waited for
    report = examined(always(204), CASES)
    assert {each.case.name for each in report.of(Outcome.PASSED)} == NOBODY_MINDS
    assert report.of(Outcome.SKIPPED) == []
