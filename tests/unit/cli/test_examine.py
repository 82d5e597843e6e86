"""`cardtrail examine` as a command: what it lists, what it wants, and how it ends."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cyclopts import App

from cardtrail.cli.examine import examine
from cardtrail.errors import InputError, SettingError, Unreachable
from cardtrail.sandbox.examine.catalogue import CASES
from tests.hosting import hosting
from tests.serving import ISSUER, PATIENCE, free_port
from tests.unit.sandbox.examine.playing import always


@pytest.fixture
def yes() -> Iterator[str]:
    """The URL of a receiver that says yes to everything."""
    loop, up, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[int] = []

    async def serve() -> None:
        async with hosting(always(204)) as port:
            found.append(port)
            up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert up.wait(PATIENCE)
    yield f"http://127.0.0.1:{found[0]}"
    loop.call_soon_threadsafe(over.set)
    thread.join(PATIENCE)
    loop.close()


def run(*words: str) -> None:
    app = App(name="cardtrail")
    app.command(examine)
    app(["examine", *words], exit_on_error=False, print_error=False, result_action="return_value")


def test_the_list_shows_all_cases_or_those_that_were_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    run("--list")
    listed = capsys.readouterr().out
    assert [case.name for case in CASES if f"\n{case.name} " not in listed] == []
    run("--list", "--only", "unknown-carrier, heartbeat")
    told = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line]
    assert told == ["stories:", "heartbeat", "tolerance:", "unknown-carrier"]


def test_only_what_was_chosen_is_tried_and_all_passed_ends_well(yes: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(yes, "--issuer-id", ISSUER, "--only", "due-dates,duplicate")
    told = capsys.readouterr().out
    assert "3 of 3 passed" not in told
    assert "2 of 2 passed, 1 skipped; must: all" in told


def test_a_failure_ends_with_1_and_the_reports_are_written_all_the_same(
    yes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "report.xml"
    with pytest.raises(SystemExit) as ended:
        run(yes, "--issuer-id", ISSUER, "--only", "plain,wrong-issuer", "--json", "-", "--junit", str(junit), "--quiet")
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert msgspec.json.decode(printed.out)["failed"] == 1
    assert "wrong-issuer (must)" in printed.err
    assert b'failures="1"' in junit.read_bytes()


def test_where_nobody_listens_the_url_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=f"{url} cannot be examined"):
        run(url, "--issuer-id", ISSUER)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "URL"), (["http://127.0.0.1:1"], "issuer_id"), (["nowhere", "--issuer-id", ISSUER], "url"),
        (["http://127.0.0.1:1", "--issuer-id", ISSUER, "--only", "nothing"], "only"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_named(words: list[str], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARDTRAIL_EXAMINE_ISSUER_ID", raising=False)
    with pytest.raises(InputError, match=f"^{named}: "):
        run(*words)


def test_files_that_cannot_be_read_or_written_are_named(yes: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"ca_file: .*nothing"):
        run(yes, "--issuer-id", ISSUER, "--ca-file", str(tmp_path / "nothing"))
    with pytest.raises(SettingError, match=r"junit: .*no/where"):
        run(yes, "--issuer-id", ISSUER, "--only", "duplicate", "--junit", str(tmp_path / "no/where"))
