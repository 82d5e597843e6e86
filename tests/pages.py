"""Pages of the documentation that are made from the code: `python -m tests.pages` writes them, a test compares them."""

import re
from collections.abc import Callable
from pathlib import Path

from cardtrail.cli.commands import app
from cardtrail.cli.where import Where
from cardtrail.core.status import TRANSITIONS, diagram
from cardtrail.issuer import settings as kit
from cardtrail.meters.kit import KIT
from cardtrail.meters.meter import Meter
from cardtrail.meters.platform import DELIVERER, PLATFORM
from cardtrail.platform.settings import described
from cardtrail.sandbox.examine.case import Case
from cardtrail.sandbox.examine.catalogue import CASES
from cardtrail.settings import Described

DOCS = Path(__file__).parents[1] / "docs"
_MADE = "<!-- Made from the code by `python -m tests.pages`; a change here is overwritten. -->\n"


def state_page() -> str:
    """The stages of an order: the diagram, and the whole table."""
    return f"""# The stages of an order

{_MADE}
What a site or a carrier can report, and where it leads. Every arrow is a step of the table below; its theory stands in
[core/status.py](../src/cardtrail/core/status.py).

```mermaid
{diagram()}```

| from ╲ to | {" | ".join(f"`{then}`" for then in TRANSITIONS)} |
|---|{"---|" * len(TRANSITIONS)}
{"".join(_row(str(now), [str(move) for move in row.values()]) for now, row in TRANSITIONS.items())}
| mark | |
|---|---|
| `>` | a step: the next thing that can happen |
| `+` | a skip: legal, the stages between are marked *inferred* |
| `=` | said again: no move, new details are taken |
| `.` | an anomaly: kept on the order and shown, moves nothing, is never an error |
"""


def _row(now: str, marks: list[str]) -> str:
    return f"| `{now}` | {' | '.join(f'`{mark}`' for mark in marks)} |\n"


def settings_page() -> str:
    """Every setting of the service and of the issuer kit."""
    return f"""# Settings

{_MADE}
Each comes from its option, else from the environment, else it has its default. They are read once, at the start.

## The platform

`cardtrail serve` takes all of them but `--watch-host` and `--watch-port`, which are for `cardtrail deliver`. The other
commands that open a store read `CARDTRAIL_DATABASE` too.

{_table(described())}
## The issuer kit

`cardtrail issuer serve` takes all of them; `reconcile`, `drift` and `cards` take those that they need.

{_table(kit.described())}"""


def _table(settings: list[Described]) -> str:
    rows = "".join(
        f"| `--{setting.name.replace('_', '-')}` | `{setting.variable}` "
        f"| {f'`{setting.default}`' if setting.default != '' else ''} | {setting.text} |\n"
        for setting in settings
    )
    return f"| option | environment | default | meaning |\n|---|---|---|---|\n{rows}"


def metrics_page() -> str:
    """Every metric of the service and of the issuer's."""
    return f"""# Metrics

{_MADE}
What Prometheus reads at `/metrics`. A histogram is shown as its name with `_bucket`, `_sum` and `_count`; its values
count what was at most as large as the label `le`. A counter begins with 0 in every process.

What to be woken for stands in [deploy/prometheus/cardtrail.rules.yml](../deploy/prometheus/cardtrail.rules.yml), what
to do then in the [runbook](runbook/README.md), and what to look at in
[deploy/grafana/cardtrail.json](../deploy/grafana/cardtrail.json).

## The platform

`cardtrail serve` shows all of these. With `--watch-port`, `cardtrail deliver` shows those that it counts and no others:
{", ".join(f"`{each.name}`" for each in DELIVERER)}.

What is told of the store (`cardtrail_store_available` and all below it) is of all
processes on the same database, and the same in each of them: take the greatest, and add nothing.

{_meters(PLATFORM)}
## The issuer's service

`cardtrail issuer serve` shows these. What is told of the mirror (all below `cardtrail_kit_mirror_available`) is as of
15 seconds ago at most, and not shown while the mirror cannot be read.

{_meters(KIT)}"""


def _meters(meters: tuple[Meter, ...]) -> str:
    rows = "".join(
        f"| `{each.name}` | {each.kind} | {each.unit} | {_labels(each)} | {each.text} |\n" for each in meters
    )
    return f"| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n{rows}"


def _labels(meter: Meter) -> str:
    return "; ".join(
        f"`{name}`: {says if isinstance(says, str) else ', '.join(f'`{each}`' for each in says)}"
        for name, says in meter.labels.items()
    )


def commands_page() -> str:
    """Every command with its options, as `--help` tells them."""
    text = re.sub(
        r"^(cardtrail [a-z -]*?)-m \S+ ", r"\1", app.generate_docs(), flags=re.MULTILINE
    )  # how Python was started
    body = text[text.index("**Commands**") :].replace(f"[default: {Where().actor}]", "[default: operator:YOU]")
    return f"# Commands\n\n{_MADE}\n{body.rstrip()}\n"


def examine_page() -> str:
    """The page of the examination, with the table of all cases in its place; the rest of it is written by hand."""
    page = (DOCS / "examine.md").read_text()
    begin, end = page.index(_TABLE_BEGINS) + len(_TABLE_BEGINS), page.index(_TABLE_ENDS)
    rows = "".join(_case_row(case) for case in CASES)
    return f"{page[:begin]}\n| case | | what it tries | needs |\n|---|---|---|---|\n{rows}{page[end:]}"


_TABLE_BEGINS, _TABLE_ENDS = f"{_MADE}\n", "\n## What each failure means"


def _case_row(case: Case) -> str:
    title = case.title.replace("|", "\\|")
    return f"| `{case.name}` | {case.weight} | {title} | {', '.join(case.needs)} |\n"


PAGES: dict[str, Callable[[], str]] = {
    "state.md": state_page,
    "settings.md": settings_page,
    "commands.md": commands_page,
    "metrics.md": metrics_page,
    "examine.md": examine_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
