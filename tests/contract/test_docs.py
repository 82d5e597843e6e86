"""The documentation is made from the code where it can be, and leaves nothing out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from cardtrail.cli.commands import app
from cardtrail.core.status import ProductionStatus
from cardtrail.platform.settings import Settings
from tests.pages import DOCS, PAGES

README = (DOCS.parent / "README.md").read_text()


def commands_of(parent: App, name: str) -> Iterator[tuple[str, App]]:
    """Every command below `parent` by its full name."""
    for word in parent:
        if not word.startswith("-"):
            command = parent[word]
            yield f"{name} {word}", command
            yield from commands_of(command, f"{name} {word}")


COMMANDS = dict(commands_of(app, "cardtrail"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_is_made_from_the_code_is_as_the_code_is_now(page: str) -> None:
    assert (DOCS / page).read_text() == PAGES[page](), "run `python -m tests.pages`"


def test_every_command_has_help_and_is_documented() -> None:
    page = (DOCS / "commands.md").read_text()
    assert len(COMMANDS) > 10
    for name, command in COMMANDS.items():
        assert command.help, name
        assert re.search(rf"^#+ {name}$", page, re.MULTILINE), name


def test_every_option_has_help() -> None:
    page = (DOCS / "commands.md").read_text()
    assert re.findall(r"^\* `--[a-z-]+[^`]*`:? *(?:\*?\[.*)?$", page, re.MULTILINE) == []


def test_every_setting_is_documented_with_its_meaning() -> None:
    page = (DOCS / "settings.md").read_text()
    for name in Settings.__struct_fields__:
        [row] = [line for line in page.splitlines() if line.startswith("|") and f"`CARDTRAIL_{name.upper()}`" in line]
        assert row.startswith(f"| `--{name.replace('_', '-')}` |")
        assert re.search(r"\| \S[^|]*\. \|$", row), row


def test_every_stage_is_in_the_diagram() -> None:
    page = (DOCS / "state.md").read_text()
    drawn = page[page.index("```mermaid") : page.index("```\n\n|")]
    assert [stage for stage in ProductionStatus if not re.search(rf"--> {stage}\b", drawn)] == []


def test_the_readme_shows_thirteen_stops_that_exist() -> None:
    stops = re.findall(r"^\d+\. \[`([^`]+)`\]\((src/cardtrail/[^)]+)\)", README, re.MULTILINE)
    assert len(stops) == 13
    for name, path in stops:
        assert path == f"src/cardtrail/{name}"
        assert Path(DOCS.parent, path).is_file()


def test_the_readme_names_only_commands_that_exist() -> None:
    told = set(re.findall(r"^cardtrail ((?:[a-z]+ ?)+)", README, re.MULTILINE))
    assert told
    known = {name.removeprefix("cardtrail ") for name in COMMANDS}
    assert [words for words in told if not any(f"{words} ".startswith(f"{name} ") for name in known)] == []
