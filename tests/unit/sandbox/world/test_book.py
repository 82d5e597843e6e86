"""The book of the world: the one that ships is sound, and a slip in one's own is named."""

from pathlib import Path
from typing import Any

import pytest

from cardtrail.errors import SettingError
from cardtrail.sandbox.world.book import MAX_FILE, MAX_STEPS, book_with, shipped_book

NAMED_BY_THE_ISSUE = {
    "happy", "data-exception", "rework", "on-hold", "canceled", "lost-in-post", "returned",
    "delivered-before-out-for-delivery", "untracked-post", "bulk-to-branch", "re-order", "wrong-clock",
    "duplicate-events", "late-scan",
}  # fmt: skip
SCENARIO = """
[scenarios.mine]
about = "One of mine."
steps = ["prepared", "ready"]
"""


def book_of(path: Path, text: str) -> Any:
    file = path / "mine.toml"
    file.write_text(text)
    return book_with(file)


def test_the_stories_that_a_sandbox_owes_its_users_are_there_with_a_sentence_each() -> None:
    scenarios = shipped_book().scenarios
    assert set(scenarios) >= NAMED_BY_THE_ISSUE
    assert all(each.about.endswith(".") for each in scenarios.values())
    assert sum(each.weight for each in scenarios.values()) == 100


def test_a_file_of_ones_own_adds_and_replaces(tmp_path: Path) -> None:
    book = book_of(tmp_path, SCENARIO + SCENARIO.replace("scenarios.mine", "scenarios.happy"))
    assert book.scenarios["mine"].about == book.scenarios["happy"].about == "One of mine."
    assert set(book.scenarios) == {*shipped_book().scenarios, "mine"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "mine.toml"),
        (SCENARIO.replace("about", "abuot"), "scenarios.+abuot|about"),
        (SCENARIO.replace('"ready"', '"raedy"'), r"scenarios\.mine\.steps\[1\]: there is no step 'raedy'"),
        (SCENARIO.replace('"ready"', '{ step = "ready", late = "-1h" }'), r"mine\.steps\[1\]: after and late"),
        (SCENARIO.replace('"ready"', '{ step = "ready", late = "soon" }'), "span such as"),
        (SCENARIO.replace('"ready"', '"collected"'), "need the site's `shipped`"),
        (SCENARIO.replace('"ready"', '"shipped", "collected", "ready"'), "cannot come after a carrier's"),
        (SCENARIO + 'carrier = "pigeon"', r"scenarios\.mine\.carrier: one of"),
        (SCENARIO + 'reorder = "nothing"', r"scenarios\.mine\.reorder: one of"),
        (SCENARIO + 'parcel = "balloon"', "parcel"),
        (SCENARIO.replace('"ready"', '"shipped", "collected"') + 'parcel = "untracked"', r"parcel: what has no number"),
        (SCENARIO.replace('steps = ["prepared", "ready"]', "steps = []"), "steps"),
        (SCENARIO.replace('["prepared", "ready"]', str(["ready"] * (MAX_STEPS + 1))), "steps"),
        ('[sites.x]\nname="x"\ndays=["Mon"]\nhours=[9, 9]\nlot="1h"\ncapacity=1', r"x\.hours: from an earlier"),
        ('[sites.x]\nname="x"\ndays=[]\nhours=[9, 10]\nlot="1h"\ncapacity=1', "days"),
        ('[sites.x]\nname="x"\ndays=["Mon"]\nhours=[9, 10]\nlot="1h"\ncapacity=0', "capacity"),
        ('[steps.flies]\nby="site"\ndwell=["1h", "2h"]', r"steps\.flies\.kind: one of"),
        ('[steps.ready]\nby="site"\ndwell=["3h", "2h"]', r"steps\.ready\.dwell: two spans"),
        ('[steps.ready]\nby="post"\ndwell=["1h", "2h"]', "by"),
        ("[carriers.deutsch-post]\nweight=0\ndays=['Mon']\nhours=[1,2]\n[carriers.ups]\nweight=0\ndays=['Mon']\nhours=[1,2]",
         "carriers: at least one with a weight"),
        ("#" * (MAX_FILE + 1), "at most 1,000,000 bytes"),
    ],
)  # fmt: skip
def test_a_slip_is_refused_and_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message) as refusal:
        book_of(tmp_path, text)
    assert str(refusal.value).startswith("scenarios: ")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="scenarios: No such file"):
        book_with(tmp_path / "none.toml")
