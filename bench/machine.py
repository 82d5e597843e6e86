"""What the benchmark runs on, and how much of it was taken away meanwhile."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

BUSY = 0.5
"""A machine with more runnable processes than this before we begin is not quiet."""
_STAT = Path("/proc/stat")


def description() -> str:
    """Return cores, Python and the HTTP server's parts."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "uvloop", "httptools"))
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {packages}"


def warning() -> str:
    """Return a warning where something else runs here already, else nothing."""
    load = os.getloadavg()[0]
    return f"Something else runs here (load {load:.1f}): trust even the ratios little." if load > BUSY else ""


class Stolen:
    """Counts the time that the host of a virtual machine gave to others; zero where it cannot be known."""

    def __init__(self) -> None:
        self._before = _ticks()

    def share(self) -> float:
        """Return the stolen share of all the cores' working time since this was made, 0 to 1."""
        stolen, worked = (now - then for now, then in zip(_ticks(), self._before, strict=True))
        return stolen / worked if worked else 0.0


def _ticks() -> tuple[int, int]:
    """Return (stolen, stolen and worked) of all cores since boot, in clock ticks."""
    if not _STAT.exists():
        return 0, 0
    user, nice, system, _idle, _wait, hard, soft, steal = map(int, _STAT.read_text().split()[1:9])
    return steal, user + nice + system + hard + soft + steal
