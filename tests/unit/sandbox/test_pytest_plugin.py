"""The plugin in a pytest of its own: an imaginary issuer's suite, the page about it, settings, and what it costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[3] / "docs/pytest.md"
PATIENCE = 100
"""Longest run of a suite, seconds."""
PLUGIN = ("-p", "cardtrail.sandbox.pytest_plugin", "-p", "no:cacheprovider", "-W", "error")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of an issuer's, in which this plugin is the only one, whether it is installed or not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nstrict = true\n")
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the suite in a process of its own; every warning is an error there."""
    return suite.runpytest_subprocess(*PLUGIN, *arguments, timeout=PATIENCE)


def blocks() -> list[str]:
    """The programs of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_every_block_of_the_page_runs_as_it_stands(suite: pytest.Pytester) -> None:
    suite.makepyfile("\n\n".join(blocks()))
    tests = "".join(blocks()).count("def test_")
    assert tests >= 6
    run(suite).assert_outcomes(passed=tests)


def test_the_page_names_all_that_there_is() -> None:
    from cardtrail.sandbox.hired import Hired, HiredClock, HiredFaults  # noqa: PLC0415 -- what the plugin may not load

    told = set(re.findall(r"`([a-z_]+)", PAGE.read_text()))
    public = {name for kind in (Hired, HiredClock, HiredFaults) for name in vars(kind) if not name.startswith("_")}
    assert public - told == {"close"}


def test_loading_the_plugin_imports_nothing_of_the_sandbox() -> None:
    code = """
import sys, pytest
before = set(sys.modules)
import cardtrail.sandbox.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert ran.stdout.split() == ["cardtrail", "cardtrail.sandbox", "cardtrail.sandbox.pytest_plugin"]


def test_where_the_extra_is_missing_only_the_fixtures_fail_and_say_what_to_install(suite: pytest.Pytester) -> None:
    suite.makeconftest("""
        import sys
        sys.modules["uvicorn"] = None
        sys.modules["starlette"] = None
    """)
    suite.makepyfile("""
        def test_nothing():
            pass

        def test_platform(cardtrail_platform):
            pass
    """)
    result = run(suite)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.re_match_lines([r".*is missing: this fixture needs pip install 'cardtrail\[sandbox\]'"])


# ── settings ──

ORDERS = """
    def test_told(cardtrail_platform):
        orders = [cardtrail_platform.order(f"card-{number}", f"own-{number}") for number in range(9)]
        courses = cardtrail_platform._scene.stage.world.courses.values()
        print("STORIES", *(course.name for course in courses))
"""


def stories(suite: pytest.Pytester, *arguments: str) -> list[str]:
    """Run a suite that prints which stories its cards have."""
    result = run(suite, "-s", *arguments)
    result.assert_outcomes(passed=1)
    return next(line for line in result.outlines if "STORIES" in line).partition("STORIES ")[2].split()


def test_the_seed_decides_and_is_one_unless_something_else_is_said(suite: pytest.Pytester) -> None:
    suite.makepyfile(ORDERS)
    first = stories(suite)
    assert stories(suite, "-o", "cardtrail_seed=1") == first
    third = stories(suite, "-o", "cardtrail_seed=3")
    assert third != first
    suite.makepyfile("import pytest\n\npytestmark = pytest.mark.cardtrail(seed=3)\n" + _outdented(ORDERS))
    assert stories(suite) == third


def _outdented(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())


MINE = """
[scenarios.mine]
about = "Ours."
steps = ["prepared", "scrapped"]
"""
TAKES_MINE = """
    import pytest

    @pytest.mark.cardtrail(scenarios="mine.toml")
    class TestMine:
        def test_by_mark(self, cardtrail_platform, cardtrail_clock):
            cardtrail_platform.order("card-1", scenario="mine")
            cardtrail_clock.advance("10d")
            assert cardtrail_platform.status("card-1").status == "FAILED"

        @pytest.mark.cardtrail(seed=2)
        def test_the_nearest_mark_wins_member_by_member(self, cardtrail_platform):
            cardtrail_platform.order("sbx-mine-1")
            assert cardtrail_platform._scene.stage.faults._seed == 2
"""


def test_stories_of_ones_own_are_sought_beside_the_test(suite: pytest.Pytester) -> None:
    folder = suite.mkdir("deep")
    (folder / "mine.toml").write_text(MINE)
    suite.makepyfile(TAKES_MINE).rename(folder / "test_mine.py")
    run(suite).assert_outcomes(passed=2)


def test_stories_of_a_project_are_sought_beside_its_settings(suite: pytest.Pytester) -> None:
    (suite.path / "mine.toml").write_text(MINE)
    suite.makepyfile("""
        def test_mine(cardtrail_platform):
            assert cardtrail_platform.order("card-1", scenario="mine")
    """)
    run(suite, "-o", "cardtrail_scenarios=mine.toml").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("3", r".*takes seed=… and scenarios=…, not 3"),
        ("sead=3", r".*takes seed=… and scenarios=…, not sead=…"),
        ("seed='x'", r".*the seed is a whole number, not 'x'"),
        ("scenarios='nowhere.toml'", r".*scenarios: No such file or directory: .*nowhere\.toml"),
    ],
)
def test_a_mark_that_is_wrong_is_told(suite: pytest.Pytester, mark: str, text: str) -> None:
    suite.makepyfile(f"""
        import pytest

        @pytest.mark.cardtrail({mark})
        def test_it(cardtrail_platform):
            pass
    """)
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.re_match_lines([text])


# ── errors ──


def test_what_breaks_on_the_thread_fails_the_test_and_no_other(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        async def broken():
            raise ValueError("the world has ended")

        def test_broken(cardtrail_platform, cardtrail_clock):
            cardtrail_platform._scene.cast.player.run_once = broken
            cardtrail_platform.order("card-1")
            cardtrail_clock.speed("max")

        def test_whole(cardtrail_platform, cardtrail_clock):
            cardtrail_platform.order("card-1")
            cardtrail_clock.advance("1d")
    """)
    result = run(suite, "-p", "no:randomly")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] in (1, 2)  # the test itself may be over before it is known
    assert outcomes["errors"] == 1
    assert "failed" not in outcomes or outcomes["passed"] == 1
    result.stdout.re_match_lines([r".*the world has ended"])


def test_nothing_is_written_to_the_tests_own_output_and_folder(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import logging

        def test_quiet(cardtrail_platform, cardtrail_faults, capfd, caplog, tmp_path):
            cardtrail_platform.order("card-1")
            with cardtrail_faults("500", at="events", count=1):
                cardtrail_platform.deliver("card-1")
            assert capfd.readouterr() == ("", "")
            assert list(tmp_path.iterdir()) == []
            assert "tried_again" in caplog.text
    """)
    run(suite).assert_outcomes(passed=1)
