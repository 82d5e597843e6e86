"""Metrics, alerts, dashboard and runbook agree; and a disagreement of any kind is found."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml

from cardtrail.meters.meter import gauge
from tests.watching import RULES, Watched, alerts_of, problems_of, watched

RULES_TESTS = Path(__file__).parent / "cardtrail.rules.test.yml"
PROMTOOL = shutil.which("promtool")
FOUND = watched()


def test_metrics_alerts_dashboard_and_runbook_agree() -> None:
    assert problems_of(FOUND) == []


def changed(member: str, old: str, new: str) -> Callable[[Watched], Watched]:
    """Return what puts one text in the place of another in a file."""

    def damage(found: Watched) -> Watched:
        assert old in getattr(found, member)
        return msgspec.structs.replace(found, **{member: getattr(found, member).replace(old, new)})

    return damage


def paged(name: str, page: str | None) -> Callable[[Watched], Watched]:
    """Return what writes a page of the runbook, or takes it away."""

    def damage(found: Watched) -> Watched:
        pages = dict(found.pages) | ({name: page} if page is not None else {})
        return msgspec.structs.replace(found, pages={key: text for key, text in pages.items() if page or key != name})

    return damage


def extended(name: str, old: str, new: str) -> Callable[[Watched], Watched]:
    """Return what changes the text of a page."""
    assert old in FOUND.pages[name]
    return paged(name, FOUND.pages[name].replace(old, new))


def undeclared(name: str) -> Callable[[Watched], Watched]:
    """Return what forgets to declare a metric."""
    return lambda found: msgspec.structs.replace(
        found, meters=tuple(each for each in found.meters if each.name != name)
    )


DAMAGES: dict[str, tuple[Callable[[Watched], Watched], str]] = {
    "an alert without a page": (paged("CardtrailAbsent", None), "CardtrailAbsent: an alert without a page"),
    "a page without an alert": (
        paged("Other", "\n".join(f"## {each}" for each in ("What it means", "Who is hurt"))),
        "Other: a page without an alert",
    ),
    "an alert twice": (
        changed("rules", "alert: CardtrailSilence", "alert: CardtrailDrift"),
        "CardtrailDrift: an alert twice",
    ),
    "not in the index": (extended("README", "[CardtrailDrift](", "[Drift]("), "CardtrailDrift: not in the index"),
    "a metric that is not declared": (
        undeclared("cardtrail_kit_silent"),
        "CardtrailSilence: no metric cardtrail_kit_silent",
    ),
    "a metric that a panel shows": (
        undeclared("cardtrail_fanouts"),
        "panel Events and orders that wait: no metric cardtrail_fanouts",
    ),
    "a metric that a page names": (
        undeclared("cardtrail_build_info"),
        "CardtrailAbsent: no metric cardtrail_build_info",
    ),
    "a metric that only docs name": (
        undeclared("cardtrail_schema_version"),
        "cardtrail_schema_version: documented and not declared",
    ),
    "a metric without docs": (
        lambda found: msgspec.structs.replace(found, meters=(*found.meters, gauge("cardtrail_new", "1", "New."))),
        "cardtrail_new: not in docs/metrics.md",
    ),
    "a label": (changed("rules", '{health="failing"}', '{state="failing"}'), "cardtrail_endpoints has no label state"),
    "a value of a label": (
        changed("rules", '{health="failing"}', '{health="ill"}'),
        "cardtrail_endpoints has no health ill",
    ),
    "one of several values": (
        changed("rules", '"dead|refused"', '"dead|gone"'),
        "cardtrail_notifications has no state gone",
    ),
    "a label to group by": (changed("rules", "by (work)", "by (route)"), "no label route to group by"),
    "a label to tell of": (
        changed("rules", "$labels.hook", "$labels.card"),
        "CardtrailHookBehind: no label card to tell of",
    ),
    "no severity": (changed("rules", "severity: warning", "severity: awful"), "CardtrailDrift: no severity"),
    "no summary": (changed("rules", "summary: Notifications get lost", "summary: ''"), "CardtrailDrift: no summary"),
    "another page": (
        changed("rules", "docs/runbook/CardtrailDrift.md", "docs/runbook/CardtrailSilence.md"),
        "CardtrailDrift: runbook_url is not its page",
    ),
    "a command": (
        extended("CardtrailDrift", "cardtrail drift", "cardtrail drifts"),
        "CardtrailDrift: no command cardtrail drifts",
    ),
    "an option": (
        extended("CardtrailDrift", "cardtrail drift\n", "cardtrail drift --hard\n"),
        "CardtrailDrift: cardtrail drift has no --hard",
    ),
    "a heading": (extended("CardtrailDrift", "## Who is hurt", "## Who"), "CardtrailDrift: not the headings of a page"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_disagreement_is_found(damage: str) -> None:
    make, problem = DAMAGES[damage]
    assert any(problem in each for each in problems_of(make(FOUND)))


def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not() -> None:
    told = yaml.safe_load(RULES_TESTS.read_text())
    cases = [case for test in told["tests"] for case in test["alert_rule_test"]]
    names = {alert["alert"] for alert in alerts_of(RULES.read_text())}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: rules are checked by their structure only")
@pytest.mark.parametrize("words", [("check", "rules", str(RULES)), ("test", "rules", str(RULES_TESTS))])
def test_promtool_takes_the_rules_and_they_fire_as_told(words: tuple[str, ...]) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("SUCCESS", done.stdout)
