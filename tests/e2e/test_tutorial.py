"""docs/tutorial.md, done as it says: its code is saved, its commands are run, and what it says comes out."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
PATIENCE = 60.0
_BLOCK = re.compile(r"```(bash|python|text)\n(?:# ([a-z]+ ?\d?)[^\n]*\n)?(.*?)```", re.DOTALL)
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Shell:
    """Where the commands of the page are run: a home of their own, and ports that are free."""

    def __init__(self, path: Path, port: int) -> None:
        self.path = path
        self.port = port
        self.copy = free_port()
        bin_folder = Path(sys.executable).parent
        self.env = {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "HOME": str(path), "XDG_CACHE_HOME": str(path / ".cache"), "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "COLUMNS": "200", "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }  # fmt: skip

    def command(self, text: str) -> list[str]:
        """Return a block as a command, with free ports in place of 9000 and 9001."""
        return ["bash", "-euc", text.replace("9000", str(self.port)).replace("9001", str(self.copy))]

    def run(self, text: str) -> str:
        done = subprocess.run(
            self.command(text), cwd=self.path, env=self.env, capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, text: str) -> Iterator[None]:
        """Run a block beside the others until this one ends."""
        with subprocess.Popen(
            self.command(text), cwd=self.path, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                yield
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(PATIENCE)


def until(what: str, wanted: "list[Path] | str") -> None:
    """Wait until a file is there, or somebody answers at a URL."""
    deadline = time.monotonic() + PATIENCE
    while not _is_there(wanted):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _is_there(wanted: "list[Path] | str") -> bool:
    if not isinstance(wanted, str):
        return all(path.exists() for path in wanted)
    try:
        _opener.open(wanted, timeout=1).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.mark.timeout(240)
def test_a_newcomer_gets_from_nothing_to_a_receiver_that_passes(tmp_path: Path) -> None:
    blocks = [(kind, terminal.strip(), text) for kind, terminal, text in _BLOCK.findall(PAGE)]
    [code] = [text for kind, _, text in blocks if kind == "python"]
    [first] = [text for _, terminal, text in blocks if terminal == "terminal 1"]
    [second] = [text for _, terminal, text in blocks if terminal == "terminal 2"]
    rest = [(kind, text) for kind, terminal, text in blocks if kind == "text" or terminal == "terminal 3"]
    shell = Shell(tmp_path, free_port())
    (tmp_path / "receiver.py").write_text(code)
    with shell.running(first):
        until("the sandbox has begun", [tmp_path / ".cache" / "cardtrail-sandbox" / "sandbox.env"])
        with shell.running(second):
            until("the receiver listens", f"http://127.0.0.1:{shell.port}/")
            done = _followed(shell, rest)
    assert "missed" in done
    assert "CARD_SHIPPED" in done.partition("missed")[2]


def _followed(shell: Shell, blocks: list[tuple[str, str]]) -> str:
    """Run the blocks of the third terminal in turn, which remembers what it was told; return what the last one said."""
    told, said = "", ""
    for kind, text in blocks:
        if kind == "text":
            assert text.strip() in said
            continue
        told = told or text.splitlines()[0]
        said = shell.run(f"{told}\n{text}")
    return said
