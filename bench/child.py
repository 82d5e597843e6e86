"""Child processes that always end: pinned to a core, waited for, and stopped by their own process id."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

SERVER_CORE = 0
LOAD_CORE = 1
GRACE = 10.0
"""Seconds between asking a child to end and killing it."""


class NotMeasuredError(Exception):
    """A row cannot be measured here; the text says why."""


class VoidError(Exception):
    """A run counts for nothing, because not every answer was a good one."""


def pinned(command: Sequence[str], core: int) -> list[str]:
    """Return the command bound to the nth core we may use; unchanged without a choice or taskset."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) <= core or len(cores) < 2 or shutil.which("taskset") is None:
        return list(command)
    return ["taskset", "-c", str(cores[core]), *command]


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child while the block lasts, its output in `log`, in a session that Ctrl-C does not reach."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})}, cwd=cwd, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End one child: ask, wait, then kill."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def output_of(command: Sequence[str], env: Mapping[str, str], seconds: float) -> str:
    """Return what a load generator printed; a session of its own, killed with us. Raises VoidError."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **env}, start_new_session=True,
    )  # fmt: skip
    try:
        printed = process.communicate(timeout=seconds)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        raise VoidError(f"{command[-1]} did not end within {seconds:.0f} s") from None
    finally:
        stop(process)
    if process.returncode != 0:
        raise VoidError(printed.strip()[-500:])
    return printed


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the time that all threads of a running child have worked, seconds; 0 where it cannot be known."""
    file = Path(f"/proc/{process.pid}/stat")
    if not file.exists():
        return 0.0
    fields = file.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unwind_on_signals() -> None:
    """Let the first Ctrl-C or SIGTERM unwind, so that every child is stopped; a second does not disturb that."""

    def unwind(_signal: int, _frame: object) -> NoReturn:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, unwind)
