"""The report for a person: a line for each case as it ends, then what failed, why it matters and how to mend it."""

from collections.abc import Iterator
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from cardtrail.sandbox.examine.case import Case
from cardtrail.sandbox.examine.catalogue import THEMES
from cardtrail.sandbox.examine.result import Outcome, Report, Result

MARKS = {
    Outcome.PASSED: ("ok", "green"),
    Outcome.FAILED: ("FAILED", "bold red"),
    Outcome.SKIPPED: ("skipped", "yellow"),
}
"""Outcome -> its word and colour."""
MIN_WIDTH = 40
"""Narrowest lines, characters, however narrow the terminal."""
_TITLES = {theme.name: theme.title for theme in THEMES}


class Lines:
    """Writes a line for each result as it comes, below the title of its theme."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._theme = ""

    def heard(self, result: Result) -> None:
        """Write a result."""
        if result.case.theme != self._theme:
            self._theme = result.case.theme
            self._console.print(Text(f"\n{self._theme}: {_TITLES[self._theme]}", style="bold"))
        word, colour = MARKS[result.outcome]
        seen = f" ({result.seen})" if result.outcome is Outcome.SKIPPED else ""
        self._console.print(Text.assemble((f"{word:8}", colour), f"{result.case.title}{seen}"), soft_wrap=True)


def print_report(console: Console, report: Report) -> None:
    """Print what failed, and the grade."""
    failed = report.of(Outcome.FAILED)
    if failed:
        console.print(Text("\nwhat failed", style="bold"))
    for result in failed:
        case = result.case
        console.print(Text.assemble(("\n" + case.name, "bold red"), f" ({case.weight}): {case.title}"), soft_wrap=True)
        for name, text in (("seen", result.seen), ("why", case.why), ("fix", case.fix)):
            width, begin = max(console.width - 1, MIN_WIDTH), f"  {name:4}  "
            lines = wrap(text, width, initial_indent=begin, subsequent_indent=" " * len(begin))
            console.print(Text("\n".join(lines)), soft_wrap=True)
    console.print(Text(f"\n{report.grade}", style="bold green" if report.is_passed else "bold red"), soft_wrap=True)
    console.print(Text(f"{report.url}, {report.seconds:.1f} s, cards exam-{report.run_id}-…"), soft_wrap=True)


def print_cases(console: Console, cases: list[Case]) -> None:
    """Print which cases there are."""
    for line in _listed(cases):
        console.print(line, soft_wrap=True)


def _listed(cases: list[Case]) -> Iterator[Text]:
    width = max(len(case.name) for case in cases) + 2
    theme = ""
    for case in cases:
        if case.theme != theme:
            theme = case.theme
            yield Text(f"{'' if case is cases[0] else chr(10)}{theme}: {_TITLES[theme]}", style="bold")
        needs = f"  [needs {', '.join(case.needs)}]" if case.needs else ""
        yield Text(f"{case.name:{width}}{case.weight:8}{case.title}{needs}")
