"""The wheel of the working tree, and places where it is installed with some packages and no others."""

import subprocess
import sys
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOUSE = Path(__file__).parents[1]


def unpacked_wheel(folder: Path) -> Path:
    """Build the wheel and return the folder that an installation would fill with it."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=HOUSE, check=True, capture_output=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def needs_of(wheel: Path, extra: str = "") -> list[Requirement]:
    """Return what the wheel's metadata asks for with an extra, or with none; extras of its own are followed."""
    (metadata,) = wheel.glob("cardtrail-*.dist-info/METADATA")
    needs = message_from_bytes(metadata.read_bytes()).get_all("Requires-Dist", [])
    found = [need for need in map(Requirement, needs) if need.marker is None or need.marker.evaluate({"extra": extra})]
    for need in found:
        need.marker = None  # it holds
    nested = [other for need in found if need.name == "cardtrail" for other in need.extras]
    return [need for need in found if need.name != "cardtrail"] + [
        need for other in nested for need in needs_of(wheel, other) if need not in found
    ]


def closure_of(needs: Iterable[Requirement]) -> list[Distribution]:
    """Return the installed packages that an installation of these would bring, by their own metadata."""
    found: dict[str, Distribution] = {}
    waiting = [(need, "") for need in needs]
    while waiting:
        need, extra = waiting.pop()
        if need.marker is not None and not need.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(need.name)
        for wanted in need.extras | {""}:
            if f"{name}[{wanted}]" not in found:
                found[f"{name}[{wanted}]"] = package = distribution(name)
                waiting += [(Requirement(each), wanted) for each in package.requires or []]
    return list({package.name: package for package in found.values()}.values())


def installed(packages: Iterable[Distribution], folder: Path) -> Path:
    """Return a folder with links to these packages alone: what `site-packages` would hold."""
    for package in packages:
        for name in {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            place = folder / name
            if not place.exists():
                place.symlink_to(Path(str(package.locate_file(name))))
    return folder


def run_in(wheel: Path, packages: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program where there is nothing but the standard library, the wheel and these packages."""
    whole = f"import sys; sys.path[:0] = [{str(wheel)!r}, {str(packages)!r}]\n{code}"
    command = [sys.executable, "-I", "-S", "-B", "-W", "error", "-c", whole, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
