"""The report as JSON."""

import msgspec

from cardtrail.sandbox.examine.as_json import json_of
from tests.unit.sandbox.examine.reporting import report


def test_it_holds_the_grade_the_counts_and_every_case() -> None:
    text = json_of(report())
    found = msgspec.json.decode(text)
    cases = found.pop("cases")
    assert text.endswith(b"}\n")
    assert found == {
        "url": "https://bank.example/hooks", "runId": "0123456789", "grade": report().grade,
        "passed": 2, "failed": 1, "skipped": 1, "seconds": 0.875,
    }  # fmt: skip
    assert [each["outcome"] for each in cases] == ["passed", "skipped", "failed", "passed"]
    assert cases[1]["needs"] == ["state"]
    case = report().results[2].case
    assert cases[2] == {
        "case": case.name, "theme": "tolerance", "title": case.title, "weight": "must", "needs": [],
        "outcome": "failed", "seen": report().results[2].seen, "seconds": 0.5, "why": case.why, "fix": case.fix,
    }  # fmt: skip
