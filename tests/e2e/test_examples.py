"""The examples of the documentation run as they stand, each in a process of its own, and take signed notifications."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cardtrail.issuer.mirror import Mirror
from tests.serving import ISSUER, PATIENCE, free_port
from tests.signed import PATH, SECRET, body_of, operation, signed

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
UVICORN = ("uvicorn", "--app-dir", str(EXAMPLES), "--no-access-log", "--port", "{port}", "{name}:app")
FLASK = ("flask", "--app", "{name}", "run", "--port", "{port}")
STARTED = {
    "starlette_app": ("/bank", UVICORN), "fastapi_app": ("/bank", UVICORN), "litestar_app": ("/bank", UVICORN),
    "django_app": ("", UVICORN), "flask_app": ("", FLASK),
}  # fmt: skip
"""Example -> below which path its notifications go, and how it is started."""


class Example:
    """A running example."""

    def __init__(self, name: str, port: int, url: str) -> None:
        self.prefix = STARTED[name][0]
        self.port = port
        self.mirror_url = url

    def post(self, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, self.prefix + path, body, dict(headers))
            return connection.getresponse().status

    def send(self, body: bytes) -> int:
        return self.post(PATH, body, signed(body, time.time()))

    def stages(self, *cards: str) -> list[str]:
        """Return where the mirror says that cards are."""
        with Mirror.open(self.mirror_url) as mirror:
            return [held.known.stage for card_id in cards for held in mirror.card(ISSUER, card_id)]


def test_every_example_is_run_by_these_tests() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == STARTED.keys()


@pytest.fixture(params=STARTED)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Example]:
    name, port, url = request.param, free_port(), f"sqlite:///{tmp_path}/mirror.db"
    words = [word.format(name=name, port=port) for word in STARTED[name][1]]
    environment = {**os.environ, "MIRROR": url, "ISSUER_ID": ISSUER, "WEBHOOK_SECRET": SECRET}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=EXAMPLES, env=environment, stdout=output, stderr=output
        )
    try:
        running = Example(name, port, url)
        _wait_until_up(running, process, log)
        yield running
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert "Traceback" not in log.read_text()


def _wait_until_up(example: Example, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            example.send(body_of())
            return
    raise AssertionError(log.read_text())


def test_an_example_takes_notifications_singly_and_in_bulk_and_refuses_what_is_not_signed(example: Example) -> None:
    assert example.send(body_of(operation("card-1", "DATA_PREPARED"))) == 204
    assert (
        example.send(body_of(operation("card-1"), {"bad": 1}, *(operation(f"card-{n}") for n in range(2, 102)))) == 204
    )
    assert example.stages("card-1", "card-2", "card-101") == ["CARD_PROD_READY"] * 3
    forged = body_of(operation("card-1", "CARD_PROD_DONE"))
    assert example.post(PATH, forged, signed(body_of(), time.time())) == 401
    assert example.send(b'{"operations":[{}]}') == 400
    assert example.post(PATH.replace(ISSUER, "OTHER00001"), forged, signed(forged, time.time())) == 404
    assert example.post(PATH, b"", {}, "GET") == 405
    assert example.post("/elsewhere", b"", {}, "GET") == 404
    assert example.send(b" " * (2_097_152 + 1)) == 413
    assert example.stages("card-1") == ["CARD_PROD_READY"]
