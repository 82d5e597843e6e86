"""Throwing the switches of another process: only of one that is really there."""

import asyncio
import fcntl
from contextlib import closing
from pathlib import Path

import pytest

from cardtrail.errors import Refused, SettingError, StoreUnavailable
from cardtrail.sandbox.control import control_app
from cardtrail.sandbox.folder import Folder, folder_of
from cardtrail.sandbox.server import Server
from cardtrail.sandbox.switch import switch_drop, switch_receiver
from tests.banking import banking
from tests.hosting import hosting
from tests.signed import operation

TOKEN = "a-token-of-this-run"


def told(path: Path, port: int, token: str = TOKEN) -> Folder:
    folder = Folder(path)
    folder.write_env({"CONTROL_URL": f"http://127.0.0.1:{port}", "CONTROL_TOKEN": token})
    return folder


def test_the_receiver_stops_and_starts_and_its_url_is_told(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as bank, hosting(control_app(bank.bank, TOKEN)) as port:
            with folder_of(tmp_path):
                folder = told(tmp_path, port)
                for up in (False, True):
                    assert await asyncio.to_thread(switch_receiver, folder, up=up) == bank.bank.server.url
                    assert bank.bank.server.is_up is up

    asyncio.run(play())


def test_notifications_are_dropped_and_it_is_told_how_many_were(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as bank, hosting(control_app(bank.bank, TOKEN)) as port:
            with folder_of(tmp_path):
                folder = told(tmp_path, port)
                assert await asyncio.to_thread(switch_drop, folder, 1.0) == 0
                assert await bank.notify(operation(), operation("card-2")) == 204
                assert await asyncio.to_thread(switch_drop, folder, 0.0) == 2
                assert await bank.stages() == []

    asyncio.run(play())


def test_another_token_switches_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        async with banking(tmp_path) as bank, hosting(control_app(bank.bank, TOKEN)) as port:
            with folder_of(tmp_path):
                folder = told(tmp_path, port, "another")
                with pytest.raises((Refused, StoreUnavailable), match="CONTROL_TOKEN") as refusal:
                    await asyncio.to_thread(switch_drop, folder, 1.0)
                assert "another" not in str(refusal.value)
            assert (await bank.bank.look()).share == 0

    asyncio.run(play())


def test_without_a_sandbox_there_is_nothing_to_switch(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"no sandbox is running in {tmp_path}"):
        switch_drop(Folder(tmp_path), 1.0)


def test_what_a_killed_sandbox_left_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "sandbox.lock").touch()
    with pytest.raises(SettingError, match="no sandbox is running"):
        switch_receiver(told(tmp_path, 1), up=True)


def test_a_sandbox_that_has_not_told_anything_yet_is_none(tmp_path: Path) -> None:
    with folder_of(tmp_path), pytest.raises(SettingError, match="no sandbox is running"):
        switch_receiver(Folder(tmp_path), up=True)


def test_one_that_does_not_answer_is_told_of(tmp_path: Path) -> None:
    with closing(Server()) as silent, folder_of(tmp_path):
        folder = told(tmp_path, silent.port)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            switch_drop(folder, 1.0)


def test_asking_does_not_take_the_folder_away(tmp_path: Path) -> None:
    (tmp_path / "sandbox.lock").touch()
    with pytest.raises(SettingError):
        Folder(tmp_path).read_env()
    with (tmp_path / "sandbox.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert Folder(tmp_path).env.exists() is False
