"""The house itself: floors, style, lock, Makefile, documents and wheel keep their promises."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.wheel import unpacked_wheel

HOUSE = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((HOUSE / "pyproject.toml").read_text())
MADE_BY_TOOLS = re.compile(r"node_modules|__pycache__|dist|build|\.(?!ci$|gitignore$|editorconfig$).*")
LARGEST_FILE = 400_000


def ours() -> Iterator[Path]:
    """Every file of the project, as far as no tool made it."""
    for folder, folders, files in os.walk(HOUSE):
        folders[:] = sorted(name for name in folders if not MADE_BY_TOOLS.fullmatch(name))
        yield from (Path(folder, name) for name in files if not MADE_BY_TOOLS.fullmatch(name))


def python_files() -> list[Path]:
    return [path for path in ours() if path.suffix == ".py"]


# --- floors


def floors_of(house: Path) -> subprocess.CompletedProcess[str]:
    """Check the floors of the copy of the project in `house`."""
    code = (
        "import sys; sys.path.insert(0, 'src')\n"
        "from importlinter.cli import lint_imports\n"
        "sys.exit(lint_imports(no_cache=True, no_logo=True))"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=house, capture_output=True, text=True, check=False)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package and its configuration, to be damaged."""
    shutil.copytree(HOUSE / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_goes_down_the_floors() -> None:
    floors = floors_of(HOUSE)
    assert floors.returncode == 0, floors.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("core/crack.py", "import time", "core and protocol are pure"),
        ("protocol/crack.py", "from threading import Lock", "core and protocol are pure"),
        ("core/crack.py", "import cardtrail.db", "Each floor stands on the ones below it"),
        ("protocol/crack.py", "import cardtrail.db", "Each floor stands on the ones below it"),
        ("db/crack.py", "import cardtrail.platform", "Each floor stands on the ones below it"),
        ("platform/crack.py", "import sqlite3", "Only db talks to a database driver"),
        ("sandbox/crack.py", "import psycopg_pool", "Only db talks to a database driver"),
        ("helpers.py", "", "Each floor stands on the ones below it"),
    ],
)
def test_a_crack_in_a_floor_is_found(house: Path, module: str, line: str, broken: str) -> None:
    (house / "src/cardtrail" / module).write_text(f'"""A crack."""\n\n{line}\n')
    floors = floors_of(house)
    assert floors.returncode == 1, floors.stdout
    assert re.search(rf"{broken}.* BROKEN", floors.stdout), floors.stdout


# --- Makefile


def test_every_target_has_one_sentence_of_help() -> None:
    text = (HOUSE / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    helped = dict(re.findall(r"^([a-z-]+):.* ## ([A-Z].*\.)$", text, re.MULTILINE))
    assert set(helped) == set(phony[1].split())


def test_contributing_names_every_target() -> None:
    told = (HOUSE / "CONTRIBUTING.md").read_text()
    targets = re.findall(r"^([a-z-]+):.* ## ", (HOUSE / "Makefile").read_text(), re.MULTILINE)
    assert [target for target in targets if f"`make {target}`" not in told] == []


# --- lock


def locked() -> dict[str, tuple[str, int]]:
    """Package name -> (version, number of hashes)."""
    entries = re.split(r"\n(?=\S)", (HOUSE / "requirements.lock").read_text())
    pins = [(re.match(r"([\w.-]+)==(\S+)", entry), entry.count("--hash=sha256:")) for entry in entries]
    return {pin[1]: (pin[2], hashes) for pin, hashes in pins if pin is not None}


def required() -> Iterator[Requirement]:
    """What pyproject.toml asks for, extras and build included, without the project itself."""
    project = PYPROJECT["project"]
    texts = [*PYPROJECT["build-system"]["requires"], *project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        texts += extra
    yield from (one for one in map(Requirement, texts) if one.name != project["name"])


def test_lock_pins_each_package_with_hashes() -> None:
    assert len(locked()) > 50
    assert [name for name, (_, hashes) in locked().items() if hashes == 0] == []


def test_lock_holds_what_pyproject_asks_for() -> None:
    pins = locked()
    stale = [str(one) for one in required() if pins.get(canonicalize_name(one.name), ("0",))[0] not in one.specifier]
    assert stale == [], "run `make lock`"


def test_locks_name_no_registry_and_no_machine() -> None:
    places = {
        "requirements.lock": r"://|--(?:index|extra-index|find)|file:|@ |^/",
        "package-lock.json": r'"resolved"',
    }
    for path in ours():
        if path.name in places:
            assert re.findall(places[path.name], path.read_text(), re.MULTILINE) == [], path


# --- style


def test_every_rule_that_is_ignored_for_all_says_why() -> None:
    text = (HOUSE / "pyproject.toml").read_text()
    ruff = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    rules = re.findall(r'^  "[A-Z]+\d*".*$', ruff, re.MULTILINE)
    assert len(rules) > 10
    assert [rule for rule in rules if not re.search(r", *# .{8,}", rule)] == []


def test_every_rule_that_is_ignored_in_a_line_says_why() -> None:
    ignore = re.compile(r"#\s*(?:ruff: *)?noqa|#\s*type:\s*ignore|#\s*pragma")
    reason = re.compile(r"# noqa: [A-Z0-9, ]+ --? \w|# type: ignore\[[a-z, -]+\]  # \w")
    lines = [
        f"{path.relative_to(HOUSE)}:{number}: {line.strip()}"
        for path in python_files()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if ignore.search(line) and not reason.search(line) and path != Path(__file__)
    ]
    assert lines == []


def test_no_file_is_larger_than_a_person_can_review() -> None:
    assert [str(path) for path in ours() if path.stat().st_size > LARGEST_FILE] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty_words = {"utils", "helpers", "common", "base", "manager", "service", "models"}
    assert [str(path) for path in python_files() if path.stem in empty_words] == []


# --- documents


def test_links_between_documents_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(HOUSE)} -> {link}"
        for page in ours()
        if page.suffix == ".md"
        for link in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert dead == []


def test_every_decision_is_listed_and_has_its_four_parts() -> None:
    listed = (HOUSE / "docs/adr/README.md").read_text()
    for decision in sorted((HOUSE / "docs/adr").glob("[0-9]*.md")):
        assert f"({decision.name})" in listed
        headings = re.findall(r"^## (.*)$", decision.read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Price", "Rejected"], decision


# --- wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the working tree, unpacked."""
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


def test_wheel_carries_every_file_of_the_package_and_the_contract(wheel: Path) -> None:
    package = HOUSE / "src/cardtrail"
    openapi = wheel / "cardtrail/platform/openapi.yaml"
    packed = {path.relative_to(wheel) for path in (wheel / "cardtrail").rglob("*") if path.is_file()}
    files = {path.relative_to(package.parent) for path in ours() if path.is_relative_to(package)}
    assert packed == files | {openapi.relative_to(wheel)}
    assert openapi.read_bytes() == (HOUSE / "docs/openapi.yaml").read_bytes()
    assert list(wheel.glob("cardtrail-*.dist-info/licenses/LICENSE"))
