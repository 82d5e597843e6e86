"""The report for a person."""

from io import StringIO

from rich.console import Console

from cardtrail.sandbox.examine.as_text import MIN_WIDTH, Lines, print_cases, print_report
from cardtrail.sandbox.examine.catalogue import CASES
from tests.unit.sandbox.examine.reporting import report


def console(width: int = 80) -> Console:
    return Console(file=StringIO(), width=width, markup=False, highlight=False)


def text_of(printed: Console) -> str:
    assert isinstance(printed.file, StringIO)
    return printed.file.getvalue()


def test_each_result_is_a_line_below_its_theme() -> None:
    screen = console()
    lines = Lines(screen)
    for result in report().results:
        lines.heard(result)
    assert text_of(screen) == (
        "\nstories: what is published is taken\n"
        "ok      a notification of one operation is taken\n"
        "skipped what was answered 2xx is stored (no state was given)\n"
        "\ntolerance: what is new is no error\n"
        "FAILED  an unknown production stage is taken\n"
        "ok      an unknown kind of operation is taken\n"
    )


def test_what_failed_is_told_with_why_and_how_and_other_peoples_text_as_it_is() -> None:
    screen = console()
    print_report(screen, report())
    told, case = text_of(screen), report().results[2].case
    assert "unknown-status (must): an unknown production stage is taken\n" in told
    assert f"  seen  {report().results[2].seen}\n" in told
    assert " ".join(told.split()).count(f"why {case.why} fix {case.fix}") == 1
    assert told.splitlines()[-2:] == [
        "2 of 3 passed, 1 failed, 1 skipped; must: 2 of 3",
        "https://bank.example/hooks, 0.9 s, cards exam-0123456789-…",
    ]
    assert [line for line in told.splitlines() if line != line.rstrip()] == []


def test_a_narrow_terminal_still_shows_words() -> None:
    screen = console(10)
    print_report(screen, report())
    assert max(map(len, text_of(screen).splitlines())) > MIN_WIDTH / 2


def test_the_list_names_every_case_with_its_weight_and_what_it_needs() -> None:
    screen = console(200)
    print_cases(screen, list(CASES))
    lines = text_of(screen).splitlines()
    for case in CASES:
        [line] = [line for line in lines if line.split(" ", 1)[0] == case.name]
        assert line.split()[1] == case.weight
        assert line.endswith(f"[needs {', '.join(case.needs)}]" if case.needs else case.title)
