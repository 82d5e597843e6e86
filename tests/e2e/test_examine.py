"""`cardtrail examine` against real receivers: ours gets full marks, the naive one fails exactly what it should."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import fromstring

from cardtrail.protocol.signature import new_secret
from cardtrail.sandbox.examine.catalogue import CASES
from tests.serving import ISSUER, PATIENCE, free_port
from tests.signed import SECRET

HOUSE = Path(__file__).parents[2]
EXAMPLES = HOUSE / "docs/examples"
SECOND = new_secret(bytes(range(7, 39)))
PASSWORD = "a-secret-of-24-characters-or-more"
NAIVE = frozenset(
    [
        "heartbeat",
        "whole-life",
        "skipped-stages",
        "shipped-again",
        "failed",
        "tracking-goes-on",
        "other-kinds",
        "other-kinds-move-nothing",
        "both-places",
        "same-id-other-content",
        "swapped-with-sequence",
        "swapped-shipment-with-sequence",
        "rework-with-sequence",
        "swapped-stages",
        "swapped-shipment",
        "late-after-cancel",
        "returned",
        "late-news-of-old-order",
        "concurrent-steps",
        "bulk",
        "bulk-of-1000-is-kept",
        "steps-in-one-call",
        "mixed-bulk-neighbours",
        "unknown-status",
        "unknown-status-is-kept",
        "unknown-operation-status",
        "unknown-shipment-status",
        "unknown-member-of-operation",
        "unknown-member-of-details",
        "unknown-member-of-shipment",
        "null-members",
        "odd-characters",
        "bad-element",
        "not-json",
        "not-utf8",
        "wrong-shape",
        "deep-json",
        "wrong-content-type",
        "compressed",
        "huge-body",
        "huge-body-in-chunks",
    ]
)
"""What the naive receiver fails: whatever needs a second picture of an order, a second element, a word or a member
that it does not know, an error that is caught, or a limit."""


class Examined(NamedTuple):
    """What an examination printed, and how it ended."""

    code: int
    text: str
    report: Any
    junit: bytes

    def cases(self, outcome: str) -> set[str]:
        return {each["case"] for each in self.report["cases"] if each["outcome"] == outcome}


def examined(folder: Path, port: int, *options: str, **environment: str) -> Examined:
    """Examine the receiver on a port; secrets come from the environment."""
    files = folder / "report.json", folder / "report.xml"
    words = [
        "examine", f"http://127.0.0.1:{port}", "--issuer-id", ISSUER, "--json", str(files[0]), "--junit", str(files[1]),
        "--state", f"http://127.0.0.1:{port}/examination", *options,
    ]  # fmt: skip
    told = {f"CARDTRAIL_EXAMINE_{name.upper()}": value for name, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-m", "cardtrail", *words], env={**os.environ, **told}, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert not any(value in done.stdout + files[0].read_text() + files[1].read_text() for value in environment.values())
    return Examined(done.returncode, done.stdout, json.loads(files[0].read_text()), files[1].read_bytes())


@contextmanager
def running(folder: Path, port: int, words: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Run a receiver until the block ends."""
    log = folder / "receiver.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], env={**os.environ, **environment}, cwd=folder, stdout=output, stderr=output
        )
    try:
        _wait_until_up(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_until_up(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with suppress(OSError):
            _call(port, "GET", "/")
            return
    raise AssertionError(log.read_text())


def _call(port: int, method: str, path: str, body: str = "", headers: Mapping[str, str] = {}) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body, dict(headers))
        return connection.getresponse().read()


@contextmanager
def example(name: str, folder: Path) -> Iterator[int]:
    """Run an example; yield its port."""
    port = free_port()
    words = ["uvicorn", "--app-dir", str(EXAMPLES), "--no-access-log", "--port", str(port), f"{name}:app"]
    environment = {"MIRROR": f"sqlite:///{folder}/mirror.db", "ISSUER_ID": ISSUER, "WEBHOOK_SECRET": SECRET}
    with running(folder, port, words, environment):
        yield port


def test_our_receiver_gets_full_marks_and_nothing_is_skipped(tmp_path: Path, database_url: str) -> None:
    port = free_port()
    (tmp_path / "secrets").write_text(f"{SECRET}\n{SECOND}\n")
    (tmp_path / "password").write_text(PASSWORD)
    words = [
        "cardtrail", "issuer", "serve", "--issuer-id", ISSUER, "--port", str(port), "--examinable",
        "--mirror", database_url, "--secrets-file", str(tmp_path / "secrets"),
        "--client-id", "me", "--client-secret-file", str(tmp_path / "password"),
    ]  # fmt: skip
    with running(tmp_path, port, words, {}):
        basic = b64encode(f"me:{PASSWORD}".encode()).decode()
        form = {"authorization": f"Basic {basic}", "content-type": "application/x-www-form-urlencoded"}
        given = json.loads(_call(port, "POST", "/oauth2/token", "grant_type=client_credentials", form))
        done = examined(tmp_path, port, secret=SECRET, second_secret=SECOND, token=given["access_token"])
        again = examined(tmp_path, port, "--only", "order", secret=SECRET, token=given["access_token"])
        assert _call(port, "GET", "/examination/card-1").startswith(b'{"errorCode":"NOT_FOUND"')
    assert (done.code, done.cases("failed"), done.cases("skipped")) == (0, set(), set()), done.text
    assert done.cases("passed") == {case.name for case in CASES}
    assert len(CASES) >= 40
    assert f"{len(CASES)} of {len(CASES)} passed; must: all, should: all" in done.text
    assert done.report["seconds"] < 30
    assert (again.code, again.cases("failed")) == (0, set()), again.text
    assert again.report["runId"] != done.report["runId"]


def test_the_short_receiver_with_the_hook_passes(tmp_path: Path) -> None:
    with example("examined_app", tmp_path) as port:
        done = examined(tmp_path, port, secret=SECRET)
    assert (done.code, done.cases("failed")) == (0, set()), done.text
    unproved = {"no-token", "wrong-token", "second-secret", "both-secrets", "second-secret-changed-body"}
    assert done.cases("skipped") == unproved
    assert "5 skipped" in done.text


def test_the_naive_receiver_fails_exactly_what_it_should(tmp_path: Path) -> None:
    with example("naive_receiver", tmp_path) as port:
        done = examined(tmp_path, port, secret=SECRET)
    assert done.code == 1
    assert done.cases("failed") == NAIVE, done.text
    assert f"{len(NAIVE)} failed" in done.text
    suites = fromstring(done.junit)  # noqa: S314 -- our own
    assert {case.get("name") for case in suites.iter("testcase") if case.find("failure") is not None} == NAIVE


def test_the_page_shows_the_naive_receivers_failures_by_name() -> None:
    page = (HOUSE / "docs/examine.md").read_text()
    [report] = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert f"{len(NAIVE)} failed, 5 skipped" in report
    [listed] = re.findall(r"It fails these, and no others: (.*?)\.\n", page, re.DOTALL)
    assert set(re.findall(r"`([a-z0-9-]+)`", listed)) == NAIVE
