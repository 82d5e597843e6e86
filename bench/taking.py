"""The table about the issuer's receiver: notifications taken in and committed, beside the bare server's floor."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.child import SERVER_CORE, NotMeasuredError, cpu_seconds, free_port, pinned, running
from bench.notify_load import notify
from bench.ours import NAMES, place
from bench.rounds import Contestant, Measure, Row, alternate, share, show, spread
from bench.servers import ROOT, START_UP, Ground
from cardtrail.protocol.signature import new_secret

CALLS = {1: 20_000, 100: 800}
"""Notifications in a call -> calls made ahead for each second of a turn."""
SECRET = new_secret(bytes(range(32)))


@dataclass(frozen=True)
class Taken:
    """One turn: notifications a second, and the server's CPU time of one in µs."""

    rate: float
    cpu: float


def received(engines: Sequence[str], ground: Ground, measure: Measure) -> None:
    """Measure and print how fast notifications are taken in, one in a POST and 100."""
    for batch in CALLS:
        places = {engine: place(engine, f"mirror-{batch}", ground).url for engine in engines}
        unused = f"sqlite:///{ground.folder}/unused.db"
        contestants: list[Contestant[Taken]] = [
            ("floor: uvicorn reads and answers 204", partial(_turn, ("floor", unused), batch, ground, measure)),
            ("verified and decoded, kept nowhere", partial(_turn, ("verified", unused), batch, ground, measure)),
        ]
        contestants += [
            (f"cardtrail on {NAMES[engine]}, committed", partial(_turn, ("kept", url), batch, ground, measure))
            for engine, url in places.items()
        ]
        _show(batch, alternate(contestants, measure.rounds, measure.say), measure)


def _show(batch: int, rows: Sequence[Row[Taken]], measure: Measure) -> None:
    floor = [run.rate for run in rows[0].runs]
    show(
        measure.say,
        f"Receiver, {batch} in a POST: 64 connections, one core, {measure.seconds} s a turn",
        ("notifications/s", "of floor", "lowest–highest", "CPU µs"),
        rows,
        lambda row: [
            f"{median(run.rate for run in row.runs):,.0f}",
            share([run.rate for run in row.runs], floor),
            spread([run.rate for run in row.runs]),
            f"{median(run.cpu for run in row.runs):.1f}",
        ],
    )


def _turn(taker: tuple[str, str], batch: int, ground: Ground, measure: Measure, number: int) -> Taken:
    with _taker(*taker, ground) as (port, process):
        before = cpu_seconds(process)
        run = notify(
            port, batch, calls=CALLS[batch] * measure.seconds, seconds=measure.seconds, secret=SECRET, tag=str(number)
        )
        return Taken(run.rate, (cpu_seconds(process) - before) * 1e6 / run.taken)


@contextmanager
def _taker(kind: str, url: str, ground: Ground) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a receiver on the server's core while the block lasts. Raises NotMeasuredError."""
    port, log = free_port(), ground.folder / f"logs/taker-{kind}.log"
    command = [sys.executable, "-m", "bench.taker", kind, f"--port={port}", f"--secret={SECRET}", f"--mirror={url}"]
    with running(pinned(command, SERVER_CORE), log, cwd=ROOT) as process:
        give_up = time.monotonic() + START_UP
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > give_up:
                raise NotMeasuredError(f"no receiver: {log.read_text(errors='replace')[-300:]}")
            time.sleep(0.05)
        yield port, process


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
