"""How each peer is prepared and started. All serve the same path; the mocks check no token's signature."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.child import NotMeasuredError
from bench.servers import Ground, Target

_HERE = Path(__file__).parent
_VENV = _HERE.parent / ".venv"
_UVICORN = ("-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "warning",
            "--http", "httptools", "--loop", "uvloop")  # fmt: skip


def floor() -> Target:
    """Return uvicorn with a bare callable."""
    return Target(
        "floor",
        "floor: uvicorn, bare callable",
        (sys.executable, *_UVICORN, "bench.peers.floor:app"),
        ingest_token=lambda _ground, _port: "none",
    )


def fastapi_stack() -> Target:
    """Return FastAPI + SQLAlchemy + PyJWT on SQLite."""
    return Target(
        "stack",
        "FastAPI + SQLAlchemy + PyJWT",
        (str(_VENV / "bin/python"), *_UVICORN, "bench.peers.fastapi_stack:app"),
        env={"PEER_DATABASE": "{folder}/stack.sqlite", "PEER_PUBLIC_KEY": "{folder}/stack.pem"},
        prepare=_prepare_stack,
        token=lambda ground, _port: (ground.folder / "stack.token").read_text(encoding="ascii"),
    )


def prism() -> Target:
    """Return Prism, which answers with the example of a small OpenAPI file."""
    folder = _HERE / "prism"
    program = folder / "node_modules/@stoplight/prism-cli/dist/index.js"
    return Target(
        "prism",
        "Prism (mock, silent)",
        ("node", str(program), "mock", "-p", "{port}", "-v", "silent", str(folder / "openapi.yaml")),
        prepare=lambda _ground: _npm(folder, "node"),
        warm_up=5,
    )


def wiremock() -> Target:
    """Return WireMock with one mapping, its journal and request log off as its makers advise for load."""
    folder = _HERE / "wiremock"
    quiet = "--disable-banner --no-request-journal --disable-request-logging"
    jar = "node_modules/wiremock/build/wiremock-standalone-3.13.2.jar"
    return Target(
        "wiremock",
        "WireMock (mock, no journal)",
        ("java", "-jar", str(folder / jar), "--port", "{port}", *quiet.split(), "--root-dir", str(folder)),
        prepare=lambda _ground: _npm(folder, "java"),
        warm_up=10,
    )


def _prepare_stack(ground: Ground) -> Sequence[str]:
    """Make the peers' environment."""
    _make_venv()
    return str(_VENV / "bin/python"), "-m", "bench.peers.fill_stack", str(ground.orders), str(ground.folder)


def _make_venv() -> None:
    wanted = _HERE.parent / "requirements.txt"
    done = _VENV / ".installed"
    if done.exists() and done.read_bytes() == wanted.read_bytes():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", _VENV], check=True)
    pip = [str(_VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
    if subprocess.run([*pip, "install", "-q", "-r", str(wanted)], check=False).returncode != 0:
        raise NotMeasuredError("bench/requirements.txt cannot be installed")
    shutil.copyfile(wanted, done)


def _npm(folder: Path, program: str) -> Sequence[str]:
    """Install a mock from its lock file. Raises NotMeasuredError where a program is missing."""
    for needed in {program, "npm"}:
        if shutil.which(needed) is None:
            raise NotMeasuredError(f"no {needed}")
    if (folder / "node_modules").exists():
        return ()
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    if subprocess.run(command, cwd=folder, check=False).returncode != 0:
        raise NotMeasuredError("npm ci failed")
    return ()
