"""Switching the receiver of another process: only of one that is really there."""

import fcntl
import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest

from cardtrail.errors import SettingError, StoreUnavailable
from cardtrail.sandbox import switch as module
from cardtrail.sandbox.folder import Folder, folder_of
from cardtrail.sandbox.switch import switch


def told(path: Path, url: str) -> Folder:
    folder = Folder(path)
    folder.write_env({"SANDBOX_PID": str(os.getpid()), "RECEIVER_URL": url})
    return folder


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What would have been sent."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def test_without_a_sandbox_there_is_nothing_to_switch(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"no sandbox is running in {tmp_path}"):
        switch(Folder(tmp_path), up=True)


def test_what_a_killed_sandbox_left_is_not_believed(tmp_path: Path, signals: list[tuple[int, int]]) -> None:
    (tmp_path / "sandbox.lock").touch()
    with pytest.raises(SettingError, match="no sandbox is running"):
        switch(told(tmp_path, "http://127.0.0.1:1"), up=True)
    assert signals == []


def test_a_sandbox_that_has_not_told_anything_yet_is_none(tmp_path: Path) -> None:
    with folder_of(tmp_path), pytest.raises(SettingError, match="no sandbox is running"):
        switch(Folder(tmp_path), up=True)


def test_a_receiver_that_is_as_it_should_be_is_left_alone(tmp_path: Path, signals: list[tuple[int, int]]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as there, folder_of(tmp_path):
        url = f"http://127.0.0.1:{there.getsockname()[1]}"
        assert switch(told(tmp_path, url), up=True) == url
    assert signals == []


def test_one_that_does_not_obey_is_told_of(
    tmp_path: Path, signals: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as there, folder_of(tmp_path):
        folder = told(tmp_path, f"http://127.0.0.1:{there.getsockname()[1]}")
        monkeypatch.setattr(module, "_is_up", lambda _url: True)
        with pytest.raises(StoreUnavailable, match="has not obeyed"):
            switch(folder, up=False)
    assert signals == [(os.getpid(), signal.SIGUSR1)]


def test_asking_does_not_take_the_folder_away(tmp_path: Path) -> None:
    (tmp_path / "sandbox.lock").touch()
    with pytest.raises(SettingError):
        Folder(tmp_path).read_env()
    with (tmp_path / "sandbox.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert Folder(tmp_path).env.exists() is False
