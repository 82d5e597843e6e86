"""Type checkers understand the public names: a good program passes in their strictest mode, mistakes are found."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.wheel import unpacked_wheel

PROGRAM = Path(__file__).with_name("program.py")
MISTAKES = """
import cardtrail
from cardtrail import AsyncClient, Client, Operation

def wrong(client: Client, other: AsyncClient, found: Operation) -> None:
    cardtrail.NoSuchName  # wrong
    Client("https://d1.example", "ISSUER0001", key=7, kid="k1")  # wrong
    Client("https://d1.example", "ISSUER0001", kid="k1")  # wrong
    Client("https://d1.example", "ISSUER0001", key="", kid="k1", timeuot=3)  # wrong
    client.production_status(7)  # wrong
    client.production_status("card-1").no_such_member  # wrong
    found.stage = "CARD_SHIPPED"  # wrong
    other.production_status("card-1").stage  # wrong
    client.production_status("card-1").sequence + 1  # wrong
    client.changes(wait="long")  # wrong
    client.replay(state=1)  # wrong
    for _, answer in client.production_status_many(["card-1"]):
        answer.stage  # wrong
"""


def mypy(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", *arguments]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    """A program in which some lines are wrong, and say so."""
    file = tmp_path / "mistakes.py"
    file.write_text(MISTAKES)
    return file


def lines_that_are_wrong() -> set[int]:
    return {number for number, line in enumerate(MISTAKES.splitlines(), start=1) if "# wrong" in line}


def checked_by_mypy(wheel: Path, file: Path, folder: Path) -> dict[int, str]:
    """Line -> what mypy says about it."""
    command = mypy("--cache-dir", str(folder / "mypy"), str(file))
    ran = subprocess.run(
        command, cwd=folder, env=os.environ | {"MYPYPATH": str(wheel)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    found = re.findall(rf"{re.escape(file.name)}:(\d+): error: (.*)", ran.stdout)
    assert len(found) == ran.stdout.count(" error: "), ran.stdout
    return {int(number): text for number, text in found}


def checked_by_pyright(wheel: Path, file: Path, folder: Path) -> dict[int, str]:
    """Line -> what pyright says about it, in its own strict mode."""
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(wheel)], "include": [str(file)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "--project",
        str(folder),
    ]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    told = json.loads(ran.stdout)
    assert told["summary"]["filesAnalyzed"] == 1, ran.stdout
    found = [each for each in told["generalDiagnostics"] if each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1: each["message"] for each in found}


CHECKERS = {"mypy": checked_by_mypy}
if find_spec("basedpyright") is not None:
    CHECKERS["pyright"] = checked_by_pyright


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_good_program_passes(checker: str, wheel: Path, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.read_text())
    assert CHECKERS[checker](wheel, file, tmp_path) == {}


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_mistake_is_found(checker: str, wheel: Path, mistakes: Path, tmp_path: Path) -> None:
    assert set(CHECKERS[checker](wheel, mistakes, tmp_path)) == lines_that_are_wrong()
