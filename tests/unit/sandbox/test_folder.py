"""The sandbox's folder: what a shell can source, and what is no folder of a sandbox."""

import subprocess
from pathlib import Path

import pytest

from cardtrail.errors import SettingError
from cardtrail.sandbox.folder import Folder, folder_of


def test_a_shell_and_the_commands_read_the_same_whatever_the_folder_is_called(tmp_path: Path) -> None:
    """A folder with a space in its name was called as a program where the file was sourced."""
    path = tmp_path / "it's a\n$(false) `folder` # of mine"
    with folder_of(path) as folder:
        values = {"CARDTRAIL_MIRROR": folder.mirror, "WEBHOOK_SECRET": "", "CARD_ID": "card-demo-1"}
        folder.write_env(values)
        assert folder.read_env() == values
        names = " ".join(f'"${name}"' for name in values)
        told = subprocess.run(
            ["sh", "-euc", f'. "$0"; printf "%s\\0" {names}', str(folder.env)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert told.stdout.split("\0")[:-1] == list(values.values())


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    """It ended with a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"data: Not a directory: .*/file"):
        Folder(tmp_path / "file").read_env()
