"""Fixtures for an issuer's own tests: a platform, its clock, and faults. What is heavy is imported when one is used."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cardtrail.sandbox.hired import HiredClock, HiredFaults, HiredPlatform


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line(
        "markers", "cardtrail(seed=1, scenarios=None): seed and scenario file of the test's cardtrail_platform"
    )


@pytest.fixture
def cardtrail_platform(tmp_path: Path, request: pytest.FixtureRequest) -> "Iterator[HiredPlatform]":
    """A running platform with pretend sites and carriers, for this test alone; its time stands still until moved."""
    try:
        from cardtrail.sandbox.hired import HiredPlatform  # noqa: PLC0415 -- heavy, and an extra
    except ModuleNotFoundError as error:
        pytest.fail(
            f"{error.name} is missing: cardtrail_platform needs pip install 'cardtrail[sandbox]'", pytrace=False
        )
    marker = request.node.get_closest_marker("cardtrail")
    platform = HiredPlatform(tmp_path / "cardtrail", **({} if marker is None else marker.kwargs))
    try:
        yield platform
    finally:
        platform.close()


@pytest.fixture
def cardtrail_clock(cardtrail_platform: "HiredPlatform") -> "HiredClock":
    """The platform's time."""
    return cardtrail_platform.clock


@pytest.fixture
def cardtrail_faults(cardtrail_platform: "HiredPlatform") -> "HiredFaults":
    """Faults on the platform's wire."""
    return cardtrail_platform.faults
