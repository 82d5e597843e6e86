"""The demo as a newcomer meets it: a real process, the printed curl, sandbox.env, its switches and keys, Ctrl-C."""

import asyncio
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
import termios
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.people import Person

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
        words = shlex.split((self.data / "sandbox.env").read_text())
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    @property
    def newest(self) -> dict[str, int]:
        """The newest sequence of each order in the platform's database."""
        return dict(self._rows("cardtrail.db", "SELECT operation_id, sequence FROM operation"))

    @property
    def mirrored(self) -> dict[str, int]:
        """The sequence of each order in the bank's mirror."""
        return dict(self._rows("mirror.db", "SELECT operation_id, sequence FROM operation"))

    @property
    def ledger(self) -> dict[str, int]:
        """How many notifications are in which state."""
        return dict(self._rows("cardtrail.db", "SELECT state, count(*) FROM notification GROUP BY state"))

    def _rows(self, name: str, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.data / name}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def lacks(self, newest: dict[str, int]) -> set[str]:
        """Return the orders of which the mirror has neither these pictures nor newer ones."""
        mirrored = self.mirrored
        return {order for order, sequence in newest.items() if mirrored.get(order, 0) < sequence}

    def until_told(self, newest: dict[str, int]) -> None:
        """Read on until the mirror has these or newer pictures and nothing waits to be sent."""
        while self.lacks(newest) or "PENDING" in self.ledger:
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


def test_the_demo_says_where_the_pages_of_platform_and_mirror_are_and_what_to_log_in_with(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        [(pages, password)] = re.findall(r"pages  (\S+) \(log in as demo with (\S+)\)", sandbox.written)
        [mirror] = re.findall(r"  mirror (http\S+) ", sandbox.written)
        told = sandbox.env
        assert (told["PAGES_URL"], told["MIRROR_PAGES_URL"], told["PAGES_PASSWORD"]) == (pages, mirror, password)
        for address, seen in ((pages, b"Throughput"), (mirror, b"How far this can be believed")):
            home = asyncio.run(overview_of(address, password))
            assert seen in home, address
        assert sandbox.end(signal.SIGINT) == 0


async def overview_of(address: str, password: str) -> bytes:
    """Log in as the demo says, and return the overview."""
    port = int(address.removesuffix("/ui/").rpartition(":")[2])
    person = Person(port)
    assert (await person.log_in("demo", password)).headers["location"] == "/ui/"
    way = (await person.get("/ui/")).headers["location"]
    return (await person.get(way)).body


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


def cardtrail(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cardtrail", *words], capture_output=True, text=True, check=False, timeout=PATIENCE,
        env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip


def test_it_ends_without_a_fuss_when_nobody_reads_its_lines_any_more(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        sandbox.process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
        assert sandbox.process.wait(PATIENCE) == 0
    assert (tmp_path / "sandbox.log").read_text() == ""


def test_a_receiver_that_was_stopped_for_a_while_is_told_every_newest_picture(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        assert int(sandbox.env["SANDBOX_PID"]) == sandbox.process.pid
        assert f"kill -USR1 {sandbox.process.pid}" in sandbox.written
        sandbox.until(lambda line: "mirror notified:  DATA_PREPARED" in line)
        sandbox.process.send_signal(signal.SIGUSR1)
        sandbox.until(lambda line: "receiver has stopped" in line)
        with pytest.raises(urllib.error.URLError, match="refused"):
            _opener.open(sandbox.env["RECEIVER_URL"], timeout=PATIENCE)
        for _ in range(20):  # cards move on
            sandbox.until(lambda line: "card-demo-" in line)
        assert sandbox.ledger["PENDING"] > 0
        assert sandbox.ledger["SUPERSEDED"] > 0
        missed = sandbox.newest
        sandbox.process.send_signal(signal.SIGUSR1)
        sandbox.until(lambda line: "receiver is up again" in line)
        sandbox.until_told(missed)
        assert set(sandbox.ledger) == {"DELIVERED", "SUPERSEDED"} | ({"PENDING"} & set(sandbox.ledger))


def test_what_the_receiver_missed_in_one_run_it_is_told_in_the_next(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        sandbox.until(lambda line: "mirror notified" in line)
        stopped = cardtrail("sandbox", "receiver", "stop", "--data", str(tmp_path))
        assert (stopped.returncode, stopped.stdout) == (0, "The bank's receiver has stopped.\n")
        sandbox.until(lambda line: "CARD_PROD_ONGOING" in line)
        before = sandbox.env
        assert sandbox.end(signal.SIGINT) == 0
        assert sandbox.written.splitlines()[-1].startswith(GOODBYE)
        assert "Traceback" not in sandbox.written
        missed = sandbox.newest
        assert sandbox.lacks(missed)
        assert sandbox.ledger["PENDING"] > 0
    with playing(tmp_path) as again:
        assert again.env["RECEIVER_URL"] != before["RECEIVER_URL"]
        assert again.env["CONTROL_TOKEN"] != before["CONTROL_TOKEN"]
        again.until_told(missed)


def test_what_is_dropped_is_missing_in_the_mirror_until_it_heals_and_the_drift_report_names_it(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        env = sandbox.env
        sandbox.until(lambda line: "mirror notified" in line)
        dropping = cardtrail("sandbox", "drop", "on", "--data", str(tmp_path))
        assert (dropping.returncode, dropping.stdout) == (
            0, "From now on all notifications are lost; 0 were until now.\n"
        )  # fmt: skip
        while len(lost := sandbox.lacks(sandbox.newest)) < 3:
            sandbox.until(lambda _: True)
        sandbox.until_told({})  # for the platform everything has arrived
        sandbox.until(lambda line: "mirror answered" in line)
        assert "From now on all notifications are lost; the platform believes" in sandbox.written
        arriving = cardtrail("sandbox", "drop", "off", "--data", str(tmp_path))
        assert re.fullmatch(r"From now on no notifications are lost; [1-9]\d* were until now\.\n", arriving.stdout)
        sandbox.until_told(sandbox.newest)
        report = cardtrail(
            "drift", "--json", "--mirror", env["CARDTRAIL_KIT_MIRROR"], "--issuer-id", env["CARDTRAIL_KIT_ISSUER_ID"]
        )
        assert report.returncode == 0, report.stderr
        assert_names_what_was_lost(json.loads(report.stdout), lost)


def assert_names_what_was_lost(report: dict[str, Any], lost: set[str]) -> None:
    missed = report["missed"]
    assert {each["operationId"] for each in missed} & lost
    for each in missed:
        assert each["before"] != each["after"]
        assert 0 <= each["wrongFor"] < PATIENCE * 1_000_000, each
        assert each["wrongFor"] or not each["before"], each  # the first pull of all fills a mirror that knew nothing
        assert each["wrongFor"] == each["repairedAt"] - each["wrongSince"]
    assert report["repaired"] == len(missed)
    assert report["whole"]["missed"] > 0


def test_the_printed_drift_report_and_the_kits_own_commands_work_with_what_the_sandbox_tells(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        sandbox.until(lambda line: "mirror notified" in line)
        [printed] = [line for line in sandbox.written.splitlines() if " drift --mirror " in line]
        report = subprocess.run(shlex.split(printed), capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert report.returncode == 0, report.stderr
        assert "by stage" in report.stdout
        other = cardtrail("reconcile", "--json", "--mirror", f"sqlite:///{tmp_path / 'other.db'}", *kit_of(sandbox.env))
        assert other.returncode == 0, other.stderr
        assert json.loads(other.stdout)["repaired"] >= 6
        assert (tmp_path / "issuer.pem").stat().st_mode & 0o777 == 0o600


def kit_of(env: dict[str, str]) -> list[str]:
    """Return the options of a kit command that another bank of the same issuer would use."""
    names = {"--issuer-id": "ISSUER_ID", "--server": "SERVER", "--key-file": "KEY_FILE", "--kid": "KID"}
    return [word for option, name in names.items() for word in (option, env[f"CARDTRAIL_KIT_{name}"])]


@pytest.mark.parametrize("share", ["0", "1.5", "-1", "nan"])
def test_a_share_that_is_none_is_an_error_before_anything_is_asked(tmp_path: Path, share: str) -> None:
    refused = cardtrail("sandbox", "drop", "on", "--share", share, "--data", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "share: more than 0 and at most 1 expected" in refused.stderr


def test_it_speaks_to_itself_past_any_proxy_and_refuses_to_share_its_folder(tmp_path: Path) -> None:
    with playing(tmp_path, http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9") as sandbox:
        assert sandbox.curl[:5] == ["curl", "-X", "GET", "--noproxy", "127.0.0.1"]
        second = subprocess.run(
            command(tmp_path, "--port", "0"), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert second.returncode == 2
        assert second.stderr == (f"cardtrail: data: a sandbox is running in {tmp_path}; choose another with --data\n")


class Terminal:
    """A sandbox in a terminal of its own; `screen` is what was written so far, without colours and movements."""

    def __init__(self, data: Path) -> None:
        self.pid, self._ours = pty.fork()
        if self.pid == 0:
            environment = os.environ | NO_PROXY | {"TERM": "xterm-256color", "COLUMNS": "100"}
            os.execve(sys.executable, command(data, "--port", "0"), environment)  # noqa: S606 -- none is wanted
        self._output = open(self._ours, encoding="utf-8", errors="replace", newline="")  # noqa: PTH123, SIM115 -- a descriptor, closed by `playing_in`
        self.screen = ""

    def until(self, wanted: str) -> None:
        """Read on until something new is on the screen, and forget what was there before."""
        written = ""
        while wanted not in _plain(written):
            written += self._output.read(16)
        self.screen = _plain(written)

    def type(self, key: str) -> None:
        os.write(self._ours, key.encode())

    @property
    def mode(self) -> list[Any]:
        return termios.tcgetattr(self._ours)

    def end(self, number: signal.Signals) -> int:
        """Send a signal, read to the end and return the exit code."""
        os.kill(self.pid, number)
        self.until(GOODBYE)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        self._output.close()


def _plain(written: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)


@contextmanager
def terminal(data: Path) -> Iterator[Terminal]:
    opened = Terminal(data)
    watchdog = threading.Timer(PATIENCE, os.kill, (opened.pid, signal.SIGKILL))
    watchdog.start()
    try:
        yield opened
    finally:
        watchdog.cancel()
        opened.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_terminal_gets_a_live_table_and_keys_and_is_given_back(tmp_path: Path, number: signal.Signals) -> None:
    with terminal(tmp_path) as shown:
        before = shown.mode
        shown.until("d throws notifications away   r stops the receiver")
        assert re.search(r"card +platform +since +way +mirror +told +wrong", shown.screen)
        assert "receiver up at http://127.0.0.1:" in shown.screen
        assert shown.mode[3] & (termios.ICANON | termios.ECHO) == 0
        shown.type("d")
        shown.until("dropping all")
        shown.type("d")
        shown.until("dropping off")
        shown.type("r")
        shown.until("receiver stopped")
        assert shown.end(number) == 0
        assert shown.mode == before
        assert "Traceback" not in shown.screen
    logged = (tmp_path / "sandbox.log").read_text().splitlines()  # what met the stopped receiver may be told of
    assert [line for line in logged if '"event": "circuit_opened"' not in line] == []
