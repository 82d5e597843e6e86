"""docs/sandbox.md names every scenario and every verb with its sentence, and its own scenario can be played."""

import re
from pathlib import Path

import pytest

from cardtrail.sandbox.world.book import book_with, shipped_book
from cardtrail.sandbox.world.verbs import MEANING

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()


@pytest.mark.parametrize("name", shipped_book().scenarios)
def test_a_scenario_stands_in_the_page_with_its_weight_and_sentence(name: str) -> None:
    scenario = shipped_book().scenarios[name]
    assert f"| `{name}` | {scenario.weight} | {scenario.about} |" in PAGE


@pytest.mark.parametrize(("verb", "meaning"), MEANING.items())
def test_a_verb_stands_in_the_page_with_its_sentence(verb: str, meaning: str) -> None:
    assert f"| `{verb}` | {meaning} |" in PAGE


def test_the_pages_own_scenario_is_one(tmp_path: Path) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    assert "fast-lane" in book_with(tmp_path / "mine.toml").scenarios
