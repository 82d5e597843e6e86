"""The demo as a newcomer meets it: a real process, the printed curl, sandbox.env, a receiver that stops, Ctrl-C."""

import itertools
import json
import os
import pty
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

PATIENCE = 60.0
"""Longest life of a sandbox in a test, seconds; then it is killed and the test fails on the end of its output."""
NO_PROXY = {"http_proxy": "", "https_proxy": "", "all_proxy": "", "HTTP_PROXY": "", "ALL_PROXY": ""}
LAST_OF_WELCOME = "Ctrl-C ends the sandbox."
GOODBYE = "The sandbox has ended"
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Sandbox:
    """A running `cardtrail sandbox`; everything it has written so far is in `written`."""

    def __init__(self, process: "subprocess.Popen[str]", output: IO[str], data: Path) -> None:
        self.process = process
        self.data = data
        self.written = ""
        self._output = output

    def until(self, wanted: Callable[[str], bool]) -> str:
        """Read on to the first line that is wanted, and return it."""
        for line in self._output:
            self.written += line
            if wanted(line):
                return line
        raise AssertionError(f"the sandbox ended too early:\n{self.written}")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, read to the end and return the exit code."""
        self.process.send_signal(number)
        self.written += self._output.read()
        return self.process.wait(PATIENCE)

    @property
    def env(self) -> dict[str, str]:
        """What sandbox.env says."""
        lines = (self.data / "sandbox.env").read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    @property
    def bank(self) -> dict[str, Any]:
        """What the bank's receiver says that it knows."""
        with _opener.open(self.env["RECEIVER_URL"], timeout=PATIENCE) as answer:
            told: dict[str, Any] = json.loads(answer.read())
        return told

    @property
    def newest(self) -> dict[str, int]:
        """The newest sequence of each order in the platform's database."""
        return dict(self._rows("SELECT operation_id, sequence FROM operation"))

    @property
    def ledger(self) -> dict[str, int]:
        """How many notifications are in which state."""
        return dict(self._rows("SELECT state, count(*) FROM notification GROUP BY state"))

    def _rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.data / 'cardtrail.db'}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def until_told(self, newest: dict[str, int]) -> dict[str, Any]:
        """Read on until the bank knows these or newer pictures and nothing waits for it; return what it says."""
        while True:
            bank = self.bank
            known = {order: told["sequence"] for order, told in bank["operations"].items()}
            is_known = all(known.get(order, 0) >= sequence for order, sequence in newest.items())
            if is_known and "PENDING" not in self.ledger:
                return bank
            self.until(lambda _: True)

    @property
    def curl(self) -> list[str]:
        """The printed curl, as the words a shell makes of it."""
        begin = self.written.index("curl -X GET")
        return shlex.split(self.written[begin : self.written.index("\n\n", begin)])


def command(data: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "cardtrail", "sandbox", "--data", str(data), *options]


@contextmanager
def playing(data: Path, **environment: str) -> Iterator[Sandbox]:
    """Run a sandbox on a free port until it has told everything, and on until the block ends."""
    with subprocess.Popen(
        command(data, "--port", "0", "--seed", "7"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | NO_PROXY | environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        sandbox = Sandbox(process, process.stdout, data)
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            sandbox.until(lambda line: line.startswith(LAST_OF_WELCOME))
            yield sandbox
        finally:
            watchdog.cancel()
            process.kill()


def ask(url: str, token: str, body: object = None) -> tuple[int, Any]:
    """Call with a token; a body makes it a POST of JSON."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with _opener.open(urllib.request.Request(url, data, headers), timeout=PATIENCE) as answer:  # noqa: S310 -- our own
        return answer.status, json.loads(answer.read())


def pasted(curl: list[str]) -> Any:
    """Do what the pasted curl does; return the card's operation."""
    [url] = [word for word in curl if word.startswith("http")]
    headers = dict(word.split(": ", 1) for before, word in itertools.pairwise(curl) if before == "-H")
    assert headers["Accept"] == "application/json"
    with _opener.open(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:  # noqa: S310 -- our own
        assert answer.status == 200
        [operation] = json.loads(answer.read())["operations"]
        return operation


def test_the_pasted_curl_answers_and_shows_a_later_stage_seconds_later(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        first = pasted(sandbox.curl)
        stage = first["details"]["status"]
        sandbox.until(lambda line: "card-demo-1 " in line and "CARD_PROD_REQUESTED" not in line)
        later = pasted(sandbox.curl)
        assert (stage, later["details"]["status"]) == ("CARD_PROD_REQUESTED", "DATA_PREPARED")
        assert later["operationId"] == first["operationId"]
        assert later["cardtrail"]["sequence"] > first["cardtrail"]["sequence"]
        contract = [word.replace("physicalCards", "physicalcards").replace("productionStatus", "productionstatus")
                    for word in sandbox.curl]  # fmt: skip
        assert contract != sandbox.curl
        assert pasted(contract)["operationId"] == first["operationId"]


def test_scripts_find_addresses_and_tokens_that_only_the_owner_can_read(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        assert (tmp_path / "sandbox.env").stat().st_mode & 0o777 == 0o600
        sourced = subprocess.run(
            ["sh", "-c", '. "$0"; echo $BASE_URL $TOKEN_URL', str(tmp_path / "sandbox.env")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        env = sandbox.env
        assert sourced.stdout.split() == [env["BASE_URL"], env["TOKEN_URL"]]
        event = {
            "eventId": "e1", "source": "site:script", "kind": "requested", "occurredAt": "2026-01-05T08:00:00Z",
            "issuerId": env["ISSUER_ID"], "cardId": "card-script",
        }  # fmt: skip
        _, answer = ask(env["INGEST_URL"], env["INGEST_TOKEN"], {"events": [event]})
        assert answer["results"][0]["result"] == "accepted"
        for card_id in (env["CARD_ID"], "card-script"):
            url = f"{env['BASE_URL']}/issuers/{env['ISSUER_ID']}/physicalCards/{card_id}/productionStatus"
            assert ask(url, env["ACCESS_TOKEN"])[0] == 200


def test_ctrl_c_ends_it_and_a_second_run_goes_on_with_the_same_folder(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        before = sandbox.env
        assert sandbox.end(signal.SIGINT) == 0
        assert sandbox.written.splitlines()[-1] == f"{GOODBYE}; its data stays in {tmp_path}."
        assert "Traceback" not in sandbox.written
    with playing(tmp_path) as again:
        assert again.env["ACCESS_TOKEN"] != before["ACCESS_TOKEN"]
        old = again.env | {"ACCESS_TOKEN": before["ACCESS_TOKEN"]}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"{old['BASE_URL']}/issuers/{old['ISSUER_ID']}/physicalCards/x/productionStatus", old["ACCESS_TOKEN"])
        assert pasted(again.curl)["details"]["status"] == "CARD_PROD_REQUESTED"
        assert again.end(signal.SIGTERM) == 0
        assert again.written.splitlines()[-1].startswith(GOODBYE)
        assert "Traceback" not in again.written
    assert (tmp_path / "sandbox.log").read_text() == ""


def test_a_receiver_that_was_stopped_for_a_while_is_told_every_newest_picture(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        assert int(sandbox.env["SANDBOX_PID"]) == sandbox.process.pid
        assert f"kill -USR1 {sandbox.process.pid}" in sandbox.written
        sandbox.until(lambda line: "bank notified:  DATA_PREPARED" in line)
        sandbox.process.send_signal(signal.SIGUSR1)
        sandbox.until(lambda line: "receiver has stopped" in line)
        with pytest.raises(urllib.error.URLError, match="refused"):
            _ = sandbox.bank
        for _ in range(20):  # cards move on
            told = sandbox.until(lambda line: "card-demo-" in line)
            assert "bank notified" not in told
        assert sandbox.ledger["PENDING"] > 0
        assert sandbox.ledger["SUPERSEDED"] > 0
        missed = sandbox.newest
        sandbox.process.send_signal(signal.SIGUSR1)
        sandbox.until(lambda line: "receiver is up again" in line)
        bank = sandbox.until_told(missed)
        assert bank["badSignatures"] == 0
        assert set(sandbox.ledger) == {"DELIVERED", "SUPERSEDED"} | ({"PENDING"} & set(sandbox.ledger))
        cards = {told["cardId"] for told in bank["operations"].values()}
        assert cards >= {f"card-demo-{number}" for number in range(1, 7)}


def test_what_the_receiver_missed_in_one_run_it_is_told_in_the_next(tmp_path: Path) -> None:
    switch = [*command(tmp_path)[:-2], "receiver", "stop", "--data", str(tmp_path)]
    with playing(tmp_path) as sandbox:
        sandbox.until(lambda line: "bank notified" in line)
        stopped = subprocess.run(switch, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert (stopped.returncode, stopped.stdout) == (0, "The bank's receiver has stopped.\n")
        sandbox.until(lambda line: "CARD_PROD_ONGOING" in line)
        before = sandbox.env
        assert sandbox.end(signal.SIGINT) == 0
        assert sandbox.written.splitlines()[-1].startswith(GOODBYE)
        assert "Traceback" not in sandbox.written
        missed = sandbox.newest
        assert sandbox.ledger["PENDING"] > 0
    with playing(tmp_path) as again:
        assert again.env["RECEIVER_URL"] != before["RECEIVER_URL"]
        assert again.until_told({})["badSignatures"] == 0
        known = again.bank["operations"]
        late = {order: known[order]["sequence"] for order in missed if order in known}
        assert late
        assert late == {order: missed[order] for order in late}


def test_it_speaks_to_itself_past_any_proxy_and_refuses_to_share_its_folder(tmp_path: Path) -> None:
    with playing(tmp_path, http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9") as sandbox:
        assert sandbox.curl[:5] == ["curl", "-X", "GET", "--noproxy", "127.0.0.1"]
        second = subprocess.run(
            command(tmp_path, "--port", "0"), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert second.returncode == 2
        assert second.stderr == (f"cardtrail: data: a sandbox is running in {tmp_path}; choose another with --data\n")


def test_a_terminal_gets_a_live_table(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with (
        open(ours, encoding="utf-8", errors="replace", newline="") as output,  # noqa: PTH123 -- a descriptor
        subprocess.Popen(
            command(tmp_path, "--port", "0"), stdin=theirs, stdout=theirs, stderr=theirs,
            env=os.environ | NO_PROXY | {"TERM": "xterm-256color", "COLUMNS": "100"},
        ) as process,
    ):  # fmt: skip
        os.close(theirs)
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        written = ""
        while "receiver up" not in written.partition("card-demo-6")[2]:
            written += output.read(64)
        process.send_signal(signal.SIGINT)
        while GOODBYE not in written:
            written += output.read(16)
        assert process.wait(PATIENCE) == 0
        watchdog.cancel()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)
    assert re.search(r"production +shipment +since +way +bank knows +lag", plain)
    assert "Traceback" not in written
