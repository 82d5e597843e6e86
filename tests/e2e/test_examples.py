"""The examples of the documentation run as they stand, each in a process of its own, and take signed notifications."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.issuer.mirror import Mirror
from tests.background import LOOPBACK, eventually
from tests.events import event
from tests.serving import ISSUER, PATIENCE, free_port, register_parties, serving
from tests.signed import PATH, SECRET, body_of, operation, signed

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
UVICORN = ("uvicorn", "--app-dir", str(EXAMPLES), "--no-access-log", "--port", "{port}", "{name}:app")
FLASK = ("flask", "--app", "{name}", "run", "--port", "{port}")
STARTED = {
    "starlette_app": ("/bank", UVICORN), "fastapi_app": ("/bank", UVICORN), "litestar_app": ("/bank", UVICORN),
    "django_app": ("", UVICORN), "flask_app": ("", FLASK),
    "examined_app": ("", UVICORN),
}  # fmt: skip
"""Example -> below which path its notifications go, and how it is started."""
WRONG = "naive_receiver"
"""The example of what not to do, which is run by the tests of the examination."""


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

    def pictures(self, card_id: str) -> list[Any]:
        """Return what the mirror has of a card."""
        with Mirror.open(self.mirror_url) as mirror:
            return [msgspec.json.decode(held.operation.raw) for held in mirror.card(ISSUER, card_id)]

    def stages(self, *cards: str) -> list[str]:
        """Return where the mirror says that cards are."""
        with Mirror.open(self.mirror_url) as mirror:
            return [held.known.stage for card_id in cards for held in mirror.card(ISSUER, card_id)]


def test_every_example_is_run_by_these_tests() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == STARTED.keys() | {WRONG}


@contextlib.contextmanager
def running(name: str, folder: Path, secret: str, port: int) -> Iterator[Example]:
    """Run an example until the block ends."""
    url, log = f"sqlite:///{folder}/mirror.db", folder / "example.log"
    words = [word.format(name=name, port=port) for word in STARTED[name][1]]
    environment = {**os.environ, "MIRROR": url, "ISSUER_ID": ISSUER, "WEBHOOK_SECRET": secret}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=EXAMPLES, env=environment, stdout=output, stderr=output
        )
    try:
        example = Example(name, port, url)
        _wait_until_up(example, process, log)
        yield example
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert "Traceback" not in log.read_text()


@pytest.fixture(params=STARTED)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Example]:
    with running(request.param, tmp_path, SECRET, free_port()) as started:
        yield started


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


@pytest.mark.parametrize("name", ["starlette_app", "flask_app"])
def test_a_platform_delivers_to_an_example(database_url: str, tmp_path: Path, name: str) -> None:
    cards, port = [f"card-{number}" for number in range(20)], free_port()
    register_parties(database_url)
    with serving(database_url, tmp_path, *LOOPBACK) as service:
        endpoint = {"endpointId": "bank", "url": f"http://127.0.0.1:{port}{STARTED[name][0]}", "batchSize": 7}
        token = service.token("cardtrail:operate")
        added = service.call("POST", f"/operator/v1/issuers/{ISSUER}/endpoints", endpoint, token=token)
        assert added.status == 201
        with running(name, tmp_path, added.json["signingSecret"], port) as example:
            for hours, kind in enumerate(("requested", "prepared", "ready", "started", "done", "shipped")):
                service.ingest(*(event(kind, card, hours=hours) for card in cards))
            eventually(lambda: example.stages(*cards) == ["CARD_SHIPPED"] * len(cards))
            for card_id in cards:
                assert example.pictures(card_id) == service.status(card_id).json["operations"]
