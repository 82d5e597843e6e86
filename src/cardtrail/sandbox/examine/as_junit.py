"""The report for build servers: JUnit XML, a suite for each theme and a test case for each case."""

from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from cardtrail.sandbox.examine.result import Outcome, Report, Result

SUITE = "cardtrail.examine"


def junit_of(report: Report) -> bytes:
    """Return the report as XML."""
    root = Element("testsuites", _counted("cardtrail examine", list(report.results)))
    for theme, results in groupby(report.results, lambda result: result.case.theme):
        found = list(results)
        suite = SubElement(root, "testsuite", _counted(f"{SUITE}.{theme}", found))
        for result in found:
            _add(suite, result)
    indent(root)
    return bytes(tostring(root, "utf-8", xml_declaration=True)) + b"\n"


def _counted(name: str, results: list[Result]) -> dict[str, str]:
    failures, skipped = (
        sum(result.outcome is outcome for result in results) for outcome in (Outcome.FAILED, Outcome.SKIPPED)
    )
    return {
        "name": name, "tests": str(len(results)), "failures": str(failures), "errors": "0", "skipped": str(skipped),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }  # fmt: skip


def _add(suite: Element, result: Result) -> None:
    case = result.case
    element = SubElement(
        suite, "testcase", classname=f"{SUITE}.{case.theme}", name=case.name, time=f"{result.seconds:.3f}"
    )
    if result.outcome is Outcome.FAILED:
        failure = SubElement(element, "failure", type=str(case.weight), message=result.seen)
        failure.text = f"{case.title}\nseen: {result.seen}\nwhy: {case.why}\nfix: {case.fix}"
    elif result.outcome is Outcome.SKIPPED:
        SubElement(element, "skipped", message=result.seen)
