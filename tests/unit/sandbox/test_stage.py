"""The sandbox put together: ports, tokens that are renewed in time, a server that does not start."""

import asyncio
import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from cardtrail.errors import SettingError
from cardtrail.issuer.mirror import Change
from cardtrail.platform.app import Platform
from cardtrail.platform.settings import Settings
from cardtrail.sandbox import stage
from cardtrail.sandbox.admit import admit
from cardtrail.sandbox.bank import Books
from cardtrail.sandbox.call import Caller, client
from cardtrail.sandbox.compare import Row, Sight
from cardtrail.sandbox.folder import Folder, default_folder, folder_of
from cardtrail.sandbox.tell import OWN_CARD, Current, Places, Tell

PLACES = Places(platform="", receiver="http://127.0.0.1:1", control="http://127.0.0.1:2", control_token="opens")


class Heard:
    """A view that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def show(self, rows: Sequence[Row], moved: Sequence[Sight], learned: Sequence[Change], books: Books) -> None:
        raise AssertionError(rows, moved, learned, books)

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_port_that_is_asked_for_and_taken_is_an_error() -> None:
    with contextlib.closing(stage.listen(0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"cannot listen on {port}"):
            stage.listen(port)


def test_without_a_wish_the_next_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(stage.listen(0)) as taken:
        monkeypatch.setattr(stage, "PORT", taken.getsockname()[1])
        with contextlib.closing(stage.listen(None)) as found:
            assert 0 < found.getsockname()[1] - stage.PORT < stage.PORTS


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_cannot_be_is_an_error(port: int) -> None:
    with pytest.raises(SettingError, match="port"):
        stage.listen(port)


def test_tokens_are_renewed_in_the_file_and_in_the_curl(tmp_path: Path) -> None:
    asyncio.run(_tokens_are_renewed(tmp_path))


async def _tokens_are_renewed(tmp_path: Path) -> None:
    heard, listening = Heard(), stage.listen(0)
    root = f"http://127.0.0.1:{listening.getsockname()[1]}"
    places = msgspec.structs.replace(PLACES, platform=root)
    with folder_of(tmp_path) as folder:
        platform = Platform(Settings(database=folder.database))
        parties = await admit(platform.db)
        async with stage.serving(platform, listening), client() as http:
            issuer, producer = (Caller(http, root, party) for party in parties)
            tell = Tell(folder, places, issuer, producer, heard)
            assert await tell.run_once() == 2
            assert await tell.run_once() == 0
            old = issuer.token
            issuer._renew_at = 0.0
            assert await tell.run_once() == 1
        assert issuer.token != old
        assert f"ACCESS_TOKEN={issuer.token}\n" in folder.env.read_text()
        lines = folder.env.read_text().splitlines()
        assert {f"RECEIVER_URL={PLACES.receiver}", f"CONTROL_URL={PLACES.control}", "CONTROL_TOKEN=opens"} < set(lines)
        assert f"SANDBOX_PID={os.getpid()}" in lines
        assert issuer.token in heard.said[-1]
        assert old not in heard.said[-1]


@pytest.mark.parametrize(
    ("card_id", "question"), [("card-demo-1", "Where is card-demo-1?"), (None, "The bank orders none: order sbx-")]
)
def test_the_curl_asks_for_a_card_that_is_there_or_says_how_to_order_it(
    tmp_path: Path, card_id: str | None, question: str
) -> None:
    """With `--cards 0` the curl asked for a card of the bank, which had none."""
    welcome = asyncio.run(_welcome(tmp_path, Current(card_id=card_id)))
    assert question in welcome
    assert f"/physicalCards/{card_id or OWN_CARD}/productionStatus" in welcome
    assert f"sandbox order {OWN_CARD}" in welcome


async def _welcome(path: Path, current: Current) -> str:
    places = msgspec.structs.replace(PLACES, platform="http://it")
    platform = Platform(Settings(database=f"sqlite:///{path}/it.db"))
    async with client() as http:
        issuer, producer = (Caller(http, "http://it", party) for party in await admit(platform.db))
        return Tell(Folder(path), places, issuer, producer, Heard(), current=lambda: current)._welcome()


@pytest.mark.parametrize(
    ("elsewhere", "another", "said"),
    [
        ("", Current(card_id="card-demo-7", secret="old"), "/physicalCards/card-demo-7/productionStatus"),
        ("http://it", Current(card_id="card-demo-1", secret="new"), "  secret new (what you verify with"),
        ("", Current(card_id="card-demo-1", secret="new"), ""),
    ],
)  # fmt: skip
def test_what_is_another_while_it_runs_is_told_and_written_again(
    tmp_path: Path, elsewhere: str, another: Current, said: str
) -> None:
    """After a rotation of keys nobody could learn the secret; the curl's card had its last order at some time."""
    heard, told = Heard(), [Current(card_id="card-demo-1", secret="old")]

    async def run() -> None:
        platform = Platform(Settings(database=f"sqlite:///{tmp_path}/it.db"))
        async with client() as http:
            issuer, producer = (Caller(http, "http://it", party) for party in await admit(platform.db))
            issuer._renew_at = producer._renew_at = math.inf
            places = msgspec.structs.replace(PLACES, elsewhere=elsewhere)
            tell = Tell(Folder(tmp_path), places, issuer, producer, heard, current=lambda: told[0])
            assert await tell.run_once() == 0
            assert heard.said == []
            told[0] = another
            assert await tell.run_once() == 0
        platform.db.close()

    asyncio.run(run())
    lines = Folder(tmp_path).env.read_text().splitlines()
    assert {f"CARD_ID={another.card_id}", f"WEBHOOK_SECRET={another.secret}"} < set(lines)
    assert len(heard.said) == bool(said)
    assert said in "".join(heard.said)


def test_what_an_earlier_run_left_in_the_folder_is_not_taken_for_news(tmp_path: Path) -> None:
    Folder(tmp_path).write_env({"ACCESS_TOKEN": "old"})
    with folder_of(tmp_path) as folder:
        assert not folder.env.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="file/sandbox; choose another"), folder_of(tmp_path / "file/sandbox"):
        pass


def test_the_default_folder_is_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "cardtrail-sandbox"
