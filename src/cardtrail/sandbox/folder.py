"""The sandbox's own folder: databases, log and `sandbox.env`, used by one sandbox at a time."""

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cardtrail.errors import SettingError

NAME = "cardtrail-sandbox"


def default_folder() -> Path:
    """Return the folder that is used where none is named: in the user's cache, so that it survives a restart."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(cache or "~/.cache").expanduser() / NAME


class Folder:
    """Names of what lies in the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.env = self.path / "sandbox.env"
        self.key = self.path / "issuer.pem"
        self.log = self.path / "sandbox.log"
        self.database = f"sqlite:///{self.path / 'cardtrail.db'}"
        self.simulation = self.path / "simulation.db"
        self.mirror = f"sqlite:///{self.path / 'mirror.db'}"

    def write_env(self, values: Mapping[str, str]) -> None:
        """Write `KEY=value` lines that a shell can source; only the owner reads them, and nobody half of them."""
        _write(self.env, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))

    def write_key(self, pem: str) -> None:
        """Write the issuer's private key; only the owner reads it."""
        _write(self.key, pem)

    def read_env(self) -> dict[str, str]:
        """Return what `sandbox.env` says of the sandbox that runs here. Raises SettingError if none does.

        A sandbox that was killed leaves the file and loses the lock; what it says of a process holds only under it.
        """
        try:
            with (self.path / "sandbox.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(FileNotFoundError):
                pairs = (word.partition("=") for word in shlex.split(self.env.read_text()))
                return {name: value for name, _, value in pairs}
        except FileNotFoundError:
            pass
        except OSError as error:
            raise SettingError(f"data: {error.strerror}: {self.path}; name the sandbox's folder") from None
        raise SettingError(f"data: no sandbox is running in {self.path}; name its folder with --data")


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


@contextmanager
def folder_of(path: Path) -> Iterator[Folder]:
    """Make the folder where it is missing, and keep it for this sandbox. Raises SettingError."""
    folder = Folder(path)
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder.path / "sandbox.lock").open("w")
    except OSError as error:
        raise SettingError(f"data: {error.strerror}: {folder.path}; choose another with --data") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingError(f"data: a sandbox is running in {folder.path}; choose another with --data") from None
        folder.env.unlink(missing_ok=True)  # what the sandbox before left there opens nothing any more
        yield folder
