"""The commands about faults and the record, as a shell would call them; what they say, and what they refuse."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from cardtrail.cli.sandbox_wire import register
from cardtrail.errors import InputError, SettingError
from cardtrail.sandbox.control import control_app
from cardtrail.sandbox.folder import Folder, folder_of
from cardtrail.sandbox.wire.kinds import TABLE
from tests.banking import Banking, banking
from tests.hosting import hosting
from tests.shell import Shell
from tests.signed import operation

PATIENCE = 30.0
TOKEN = "a-token-of-this-run"


class Running:
    """A bank with its control on a loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.bank: Banking
        self.ended = asyncio.Event()
        self.begun = threading.Event()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    async def live(self, path: Path) -> None:
        async with banking(path) as bank, hosting(control_app(bank.bank, TOKEN)) as port:
            url = f"http://127.0.0.1:{port}"
            Folder(path).write_env({
                "CONTROL_URL": url, "CONTROL_TOKEN": TOKEN, "RECEIVER_URL": bank.bank.server.url, "ACCESS_TOKEN": "x",
                "INGEST_TOKEN": "x", "BASE_URL": f"{url}/banking/v1",
            })  # fmt: skip
            self.bank = bank
            self.begun.set()
            await self.ended.wait()


@contextmanager
def running(path: Path) -> Iterator[Running]:
    with folder_of(path):
        sandbox = Running()
        thread = threading.Thread(target=sandbox.loop.run_until_complete, args=(sandbox.live(path),))
        thread.start()
        try:
            assert sandbox.begun.wait(PATIENCE)
            yield sandbox
        finally:
            sandbox.loop.call_soon_threadsafe(sandbox.ended.set)
            thread.join(PATIENCE)
            sandbox.loop.close()


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("COLUMNS", "300")
    app = App(name="sandbox")
    register(app)
    return Shell(str(tmp_path), capsys, app)


def said(shell: Shell, tmp_path: Path, *words: str) -> str:
    return shell.run_alone("sandbox", *words, "--data", str(tmp_path))


def test_a_fault_is_switched_on_listed_and_switched_off(shell: Shell, tmp_path: Path) -> None:
    with running(tmp_path) as sandbox:
        told = said(
            shell, tmp_path, "fault", "delay", "--rate", "0.5", "--card", "c-1", "--card", "c-2", "--seconds", "9"
        )
        expected = "delay is on: 50% of the notifications of c-1, c-2, 9 s (how much later); struck 0.\n"
        assert told == expected
        assert said(shell, tmp_path, "fault", "500", "--at", "answers", "--count", "3") == (
            "500 is on: all answers, ends after 3; struck 0.\n"
        )
        assert said(shell, tmp_path, "faults").endswith(
            f"\n500 is on: all answers, ends after 3; struck 0.\n{expected}"
        )
        assert said(shell, tmp_path, "fault", "off", "500") == "1 fault switched off.\n"
        assert said(shell, tmp_path, "fault", "off") == "1 fault switched off.\n"
        assert said(shell, tmp_path, "fault", "off") == "0 faults switched off.\n"
        assert said(shell, tmp_path, "faults").endswith("\nNone is on.\n")
        assert sandbox.bank.bank.faults.active() == []


def test_a_fault_is_switched_off_on_the_hop_that_is_named(shell: Shell, tmp_path: Path) -> None:
    """--at was ignored, and the fault was off everywhere."""
    with running(tmp_path) as sandbox:
        for hop in ("answers", "events"):
            said(shell, tmp_path, "fault", "500", "--at", hop)
        said(shell, tmp_path, "fault", "delay", "--at", "events")
        assert said(shell, tmp_path, "fault", "off", "500", "--at", "answers") == "1 fault switched off at answers.\n"
        assert said(shell, tmp_path, "fault", "off", "--at", "events") == "2 faults switched off at events.\n"
        assert sandbox.bank.bank.faults.active() == []


def test_the_list_has_a_sentence_for_each_kind_also_where_no_sandbox_runs(shell: Shell, tmp_path: Path) -> None:
    listed = said(shell, tmp_path, "faults")
    for about in TABLE:
        [row] = [line for line in listed.splitlines() if line.split(" ")[0] == about.kind]
        assert about.text.replace("`", "") in row
    assert listed.endswith("\nNo sandbox is running there, so none is on.\n")


@pytest.mark.parametrize(
    "words",
    [("nothing",), ("delay", "--at", "answers"), ("delay", "--rate", "0"), ("delay", "--seconds", "-1"),
     ("reset", "--seconds", "1"), ("delay", "--card", "a b"), ("delay", "--count", "-1"), ("delay", "500"),
     ("off", "nothing"), ("off", "500", "--at", "nowhere"), ("off", "--rate", "0.5"), ("off", "--card", "c"),
     ("off", "500", "--seconds", "1"), ("off", "500", "--count", "1")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    shell: Shell, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with pytest.raises((InputError, SettingError)) as refused:
        said(shell, tmp_path, "fault", *words)
    assert "no sandbox is running" not in str(refused.value)


def test_to_switch_where_no_sandbox_runs_is_an_error(shell: Shell, tmp_path: Path) -> None:
    for words in (("500",), ("off",)):
        with pytest.raises(SettingError, match="no sandbox is running"):
            said(shell, tmp_path, "fault", *words)


def test_the_record_is_listed_filtered_written_as_a_page_and_sent_again(shell: Shell, tmp_path: Path) -> None:
    with running(tmp_path) as sandbox:
        for card in ("card-1", "card-2", "card-1"):
            sandbox.run(sandbox.bank.notify(operation(card)))
        said(shell, tmp_path, "fault", "drop")
        sandbox.run(sandbox.bank.notify(operation("card-3")))
        said(shell, tmp_path, "fault", "off")
        lines = said(shell, tmp_path, "wire").splitlines()
        assert len(lines) == 4
        assert lines[3].endswith("204  POST /notifications/d1/v2/issuers/DEMO-BANK1/cards  [drop]")
        assert len(said(shell, tmp_path, "wire", "--card", "card-1").splitlines()) == 2
        assert len(said(shell, tmp_path, "wire", "--last", "1").splitlines()) == 1
        assert said(shell, tmp_path, "wire", "--at", "answers") == "Nothing of that has crossed the wire.\n"
        page = tmp_path / "wire.html"
        assert said(shell, tmp_path, "wire", "--html", str(page)) == f"4 exchanges are in {page}.\n"
        assert page.read_text().count("<details") == 4
        # The sandbox's own record grows by what is sent again, and is not sent for ever.
        assert said(shell, tmp_path, "replay", str(tmp_path / "wire.jsonl")) == (
            "Sent again: 3 notifications.\nLeft out: 1 it had not arrived.\nAnswered differently: none.\n"
        )
        sandbox.run(sandbox.bank.bank.server.stop())
        sandbox.run(sandbox.bank.bank.server.start(_teapot))
        again = said(shell, tmp_path, "replay", str(tmp_path / "wire.jsonl"))
        assert again.splitlines()[2] == "Answered differently: 6."
        assert "204 -> 418" in again.splitlines()[3]


async def _teapot(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_what_cannot_be_listed_written_or_sent_is_an_error(shell: Shell, tmp_path: Path) -> None:
    for last in ("0", "501"):
        with pytest.raises(SettingError, match="last"):
            said(shell, tmp_path, "wire", "--last", last)
    with pytest.raises(SettingError, match="at: one of notifications, answers, events"):
        said(shell, tmp_path, "wire", "--at", "nowhere")
    with pytest.raises(SettingError, match="html: No such file"):
        said(shell, tmp_path, "wire", "--html", str(tmp_path / "none/x.html"))
    with pytest.raises(SettingError, match="no sandbox is running"):
        said(shell, tmp_path, "replay", str(tmp_path / "none.jsonl"))
    with running(tmp_path), pytest.raises(InputError, match="file"):
        said(shell, tmp_path, "replay", str(tmp_path / "none.jsonl"))
