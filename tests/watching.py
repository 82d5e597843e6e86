"""Whether metrics, alerts, dashboard and runbook agree: what is wrong with them, in words."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cardtrail.meters.kit import KIT
from cardtrail.meters.meter import Meter
from cardtrail.meters.platform import PLATFORM

HOUSE = Path(__file__).parents[1]
RULES = HOUSE / "deploy/prometheus/cardtrail.rules.yml"
SEVERITIES = {"critical", "warning"}
HEADINGS = ("What it means", "Who is hurt", "Look here first", "What to do", "How to see that it is over")
EVERYWHERE = {"job", "instance"}
"""Labels that Prometheus gives to every series."""
_WORDS = {
    "absent", "and", "bool", "by", "histogram_quantile", "ignoring", "increase", "max", "max_over_time", "min",
    "min_over_time", "offset", "on", "or", "rate", "sum", "unless", "vector", "without",
}  # fmt: skip
"""Words of the language of queries that are not names of metrics."""
_SELECTOR = re.compile(r"([a-zA-Z_]\w*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


class Watched(msgspec.Struct, frozen=True):
    """What has to agree, as texts; `commands` has every command with what its help says."""

    meters: tuple[Meter, ...]
    rules: str
    dashboard: str
    pages: Mapping[str, str]
    metrics_page: str
    commands: Mapping[str, str]


def watched() -> Watched:
    """Return what stands in the house."""
    text = (HOUSE / "docs/commands.md").read_text()
    parts = re.split(r"^#+ (cardtrail[a-z -]*)$", text, flags=re.MULTILINE)
    return Watched(
        meters=PLATFORM + KIT,
        rules=RULES.read_text(),
        dashboard=(HOUSE / "deploy/grafana/cardtrail.json").read_text(),
        pages={path.stem: path.read_text() for path in (HOUSE / "docs/runbook").glob("*.md")},
        metrics_page=(HOUSE / "docs/metrics.md").read_text(),
        commands=dict(zip(parts[1::2], parts[2::2], strict=True)),
    )


def alerts_of(rules: str) -> list[dict[str, Any]]:
    """Return the alerts of a file of rules."""
    return [rule for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]


def problems_of(found: Watched) -> list[str]:
    """Return everything in which they disagree; nothing where all is well."""
    alerts, panels = alerts_of(found.rules), json.loads(found.dashboard)["panels"]
    names = [alert["alert"] for alert in alerts]
    problems = [f"{name}: an alert twice" for name in sorted({each for each in names if names.count(each) > 1})]
    problems += [f"{name}: an alert without a page" for name in names if name not in found.pages]
    problems += [f"{name}: a page without an alert" for name in found.pages if name not in {*names, "README"}]
    problems += [f"{name}: not in the index" for name in names if f"[{name}]({name}.md)" not in found.pages["README"]]
    for alert in alerts:
        problems += [f"{alert['alert']}: {each}" for each in _wrong_in_alert(alert, found.meters)]
    for panel in panels:
        for target in panel["targets"]:
            problems += [f"panel {panel['title']}: {each}" for each in wrong_in_query(target["expr"], found.meters)]
    for name, page in found.pages.items():
        problems += [f"{name}: {each}" for each in _wrong_in_page(name, page, found)]
    problems += [
        f"{meter.name}: not in docs/metrics.md"
        for meter in found.meters
        if f"| `{meter.name}` |" not in found.metrics_page
    ]
    shown = re.findall(r"^\| `(\w+)` \|", found.metrics_page, re.MULTILINE)
    return problems + [
        f"{name}: documented and not declared" for name in sorted(set(shown) - set(_names(found.meters)))
    ]


def _names(meters: Iterable[Meter]) -> set[str]:
    return {meter.name for meter in meters}


def _wrong_in_alert(alert: dict[str, Any], meters: Iterable[Meter]) -> Iterator[str]:
    told = alert["annotations"]
    if alert["labels"].get("severity") not in SEVERITIES:
        yield "no severity"
    yield from (f"no {name}" for name in ("summary", "description") if not told.get(name))
    if told.get("runbook_url") != f"docs/runbook/{alert['alert']}.md":
        yield "runbook_url is not its page"
    yield from wrong_in_query(alert["expr"], meters)
    texts = " ".join(map(str, told.values()))
    for label in re.findall(r"\$labels\.(\w+)", texts):
        if label not in EVERYWHERE and label not in _labels(alert["expr"], meters):
            yield f"no label {label} to tell of"


def wrong_in_query(query: str, meters: Iterable[Meter]) -> list[str]:
    """Return what a query names that is not declared: metrics, labels, and values of labels."""
    known = {name: meter for meter in meters for name in meter.series}
    wrong: list[str] = []
    for name, matchers in _SELECTOR.findall(query):
        if name in known:
            for match in _MATCHER.findall(matchers):
                wrong += _wrong_in_matcher(known[name], *match)
    grouped = {label.strip() for group in _GROUPING.findall(query) for label in group.split(",") if label.strip()}
    wrong += [f"no label {each} to group by" for each in sorted(grouped - _labels(query, meters))]
    return [f"no metric {each}" for each in _metrics(query) if each not in known] + wrong


def _metrics(query: str) -> list[str]:
    """Return the names in a query that are neither words of the language nor labels."""
    bare = _GROUPING.sub("", re.sub(r"\{[^}]*\}", "", query))
    return sorted(set(re.findall(r"(?<![\w.])[a-zA-Z_]\w*", bare)) - _WORDS)


def _labels(query: str, meters: Iterable[Meter]) -> set[str]:
    """Return the labels that the metrics of a query have."""
    mine = [meter for meter in meters if set(meter.series) & set(_metrics(query))]
    return {"le", *EVERYWHERE} | {label for meter in mine for label in meter.labels}


def _wrong_in_matcher(meter: Meter, label: str, operator: str, value: str) -> Iterator[str]:
    if label not in {*meter.labels, *EVERYWHERE}:
        yield f"{meter.name} has no label {label}"
    says = meter.labels.get(label)
    if isinstance(says, tuple):
        values = value.split("|") if "~" in operator else [value]
        yield from (f"{meter.name} has no {label} {each}" for each in values if each not in says)


def _wrong_in_page(name: str, page: str, found: Watched) -> Iterator[str]:
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    if name != "README" and tuple(headings) != HEADINGS:
        yield "not the headings of a page"
    known = {each for meter in found.meters for each in (meter.name, *meter.series)}
    yield from (f"no metric {each}" for each in re.findall(r"`(cardtrail_\w+)", page) if each not in known)
    for line in re.findall(r"(?:^|`)(cardtrail [a-z][^`\n]*)", page, re.MULTILINE):
        command = max((each for each in found.commands if f"{line} ".startswith(f"{each} ")), key=len, default=None)
        if command is None:
            yield f"no command {line}"
            continue
        yield from (
            f"{command} has no {each}" for each in re.findall(r"--[a-z-]+", line) if each not in found.commands[command]
        )
