"""Secrets at rest open with their key and name only, and the key's file is made once, for its owner."""

import base64
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cardtrail.errors import SettingError
from cardtrail.files.box import Box, box_of


def test_a_box_opens_what_it_sealed() -> None:
    box = Box(secrets.token_bytes(32))
    assert box.open("a name", box.seal("a name", b"secret")) == b"secret"


def test_the_same_secret_is_never_sealed_alike() -> None:
    box = Box(secrets.token_bytes(32))
    assert box.seal("a name", b"secret") != box.seal("a name", b"secret")


def test_what_was_sealed_does_not_hold_the_secret() -> None:
    assert b"secret" not in Box(secrets.token_bytes(32)).seal("a name", b"secret")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(60)])
def test_rubbish_does_not_open(sealed: bytes) -> None:
    with pytest.raises(SettingError, match="secret_key_file"):
        Box(bytes(32)).open("a name", sealed)


def test_another_key_or_another_name_does_not_open() -> None:
    box = Box(bytes(32))
    sealed = box.seal("a name", b"secret")
    for other, name in ((Box(b"x" * 32), "a name"), (box, "another name")):
        with pytest.raises(SettingError, match="secret_key_file"):
            other.open(name, sealed)


def test_a_key_is_made_beside_a_sqlite_database_for_its_owner_only(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    sealed = box_of("", url).seal("a name", b"secret")
    file = tmp_path / "cardtrail.db.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(file.read_bytes())) == 32
    assert box_of("", url).open("a name", sealed) == b"secret"
    assert box_of(str(file), "postgresql://db").open("a name", sealed) == b"secret"
    assert list(tmp_path.iterdir()) == [file]


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    with ThreadPoolExecutor(8) as threads:
        boxes = list(threads.map(lambda _: box_of("", url), range(8)))
    sealed = boxes[0].seal("a name", b"secret")
    assert {box.open("a name", sealed) for box in boxes} == {b"secret"}


def test_postgresql_needs_a_key_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="secret_key_file: needed with PostgreSQL; make one with"):
        box_of("", "postgresql://user@host/name")
    with pytest.raises(SettingError, match="No such file"):
        box_of(str(tmp_path / "missing"), "postgresql://user@host/name")


@pytest.mark.parametrize("text", [b"", b"not base64!", base64.b64encode(bytes(31)), bytes(32)])
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(text)
    with pytest.raises(SettingError, match="32 bytes in base64"):
        box_of(str(file), "sqlite:///x.db")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be made"):
        box_of("", f"sqlite:///{tmp_path}/missing/cardtrail.db")
