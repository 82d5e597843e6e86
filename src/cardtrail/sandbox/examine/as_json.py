"""The report for programs: JSON, one object."""

import msgspec

from cardtrail.sandbox.examine.result import Outcome, Report, Result


class _Case(msgspec.Struct, rename="camel"):
    case: str
    theme: str
    title: str
    weight: str
    needs: list[str]
    outcome: str
    seen: str
    seconds: float
    why: str
    fix: str


class _Whole(msgspec.Struct, rename="camel"):
    url: str
    run_id: str
    grade: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    cases: list[_Case]


def json_of(report: Report) -> bytes:
    """Return the report as indented JSON with a line break at its end."""
    passed, failed, skipped = (len(report.of(outcome)) for outcome in Outcome)
    whole = _Whole(
        url=report.url, run_id=report.run_id, grade=report.grade, passed=passed, failed=failed, skipped=skipped,
        seconds=round(report.seconds, 3), cases=[_member(result) for result in report.results],
    )  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _member(result: Result) -> _Case:
    case = result.case
    return _Case(
        case=case.name, theme=case.theme, title=case.title, weight=case.weight, needs=[*map(str, case.needs)],
        outcome=result.outcome, seen=result.seen, seconds=round(result.seconds, 3), why=case.why, fix=case.fix,
    )  # fmt: skip
