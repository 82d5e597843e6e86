"""The plugin for pytest: a platform, its time and its faults as fixtures for an issuer's own tests.

pytest loads this module in every run of whoever has cardtrail installed, with its extras or without: it imports nothing
but pytest until a fixture is used.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cardtrail.sandbox.hired import Hired, HiredClock, HiredFaults

MARK = "cardtrail"
SEED = 1
"""The seed of a test that names none."""
_MEMBERS = frozenset({"seed", "scenarios"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings that hold for all tests of a project."""
    parser.addini("cardtrail_seed", "seed of the fixtures of cardtrail (default: 1)", default=str(SEED))
    parser.addini("cardtrail_scenarios", "file with scenarios of your own, beside the settings of pytest", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(seed=…, scenarios=…): what the fixture cardtrail_platform plays; the file of scenarios is sought "
        "beside the test",
    )


@pytest.fixture
def cardtrail_platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Hired]":
    """A platform of the test's own, with sites, carriers and a bank. Time stands still until it is moved."""
    try:
        from cardtrail.sandbox.hired import hired  # noqa: PLC0415 -- an extra, which not everyone has installed
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "cardtrail":
            raise
        pytest.fail(f"{error.name} is missing: this fixture needs pip install 'cardtrail[sandbox]'", pytrace=False)
    seed, scenarios = _asked_for(request)
    folder = tmp_path_factory.mktemp("cardtrail")
    try:
        with hired(folder, seed=seed, scenarios=scenarios) as platform:
            yield platform
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cardtrail_clock(cardtrail_platform: "Hired") -> "HiredClock":
    """The platform's time: it begins on a Monday at 06:00 UTC, the same in every run."""
    return cardtrail_platform.clock


@pytest.fixture
def cardtrail_faults(cardtrail_platform: "Hired") -> "HiredFaults":
    """What goes wrong between the platform, sites, carriers and the issuer; in the beginning nothing."""
    return cardtrail_platform.faults


def _asked_for(request: pytest.FixtureRequest) -> tuple[int, Path | None]:
    """Return the seed and the scenarios' file: of the test's marks, the nearest first, else of the project."""
    told: dict[str, object] = {}
    for mark in request.node.iter_markers(MARK):
        unknown = mark.kwargs.keys() - _MEMBERS
        if mark.args or unknown:
            raise pytest.UsageError(f"@pytest.mark.{MARK} takes seed=… and scenarios=…, not {_said(mark)}")
        told = {**mark.kwargs, **told}
    seed = told.get("seed", request.config.getini("cardtrail_seed"))
    try:
        number = int(str(seed))
    except ValueError:
        raise pytest.UsageError(f"cardtrail: the seed is a whole number, not {seed!r}") from None
    if "scenarios" in told:
        return number, request.path.parent / str(told["scenarios"])
    project = request.config.getini("cardtrail_scenarios")
    beside = request.config.inipath.parent if request.config.inipath is not None else request.config.rootpath
    return number, beside / project if project else None


def _said(mark: pytest.Mark) -> str:
    return ", ".join([*map(repr, mark.args), *(f"{name}=…" for name in sorted(mark.kwargs.keys() - _MEMBERS))])
