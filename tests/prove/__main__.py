"""Proves the laws of the design by rounds of chance: `python -m tests.prove --minutes 20`, or `make prove`.

Each round has a seed, and plays its stories with real processes on one engine, the next round on the other. All
choices come from the seed: the stories, batches, faults and when each program is killed. What cannot come from it is
how the processes take turns: which call is the n-th at a proxy, and how far a program had come when it was killed. So
a seed that failed once is worth some tries.

A violation of a law is printed with the command that replays its seed; the stores are kept. The exit code is 1 then.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.engines import OwnServer, fresh_database, own_server
from tests.prove.round import Outcome, Size, place_of, play

ENGINES = ("sqlite", "postgres")
SHOWN = 10
"""Most counterexamples of a round that are printed."""
INTERRUPTED = 130
"""The exit code where somebody ended it, as a shell has it."""
TOLD = 1_500
"""Characters of a counterexample, or of the end of a traceback, that are printed."""
LONGEST = 240.0
"""Longest time of a round, seconds."""


class Failure(NamedTuple):
    """A round that did not end as it should."""

    seed: int
    engine: str
    what: list[str]
    folder: Path


def parser() -> argparse.ArgumentParser:
    """Return the arguments."""
    made = argparse.ArgumentParser(prog="python -m tests.prove", description=(__doc__ or "").splitlines()[0])
    made.add_argument("--minutes", type=float, default=20.0, help="how long rounds are begun")
    made.add_argument("--rounds", type=int, default=0, help="how many rounds; 0: as many as there is time for")
    made.add_argument("--seed", type=int, default=1, help="the first seed; each round takes the next")
    made.add_argument("--engine", choices=ENGINES, help="one engine only; else they take turns")
    made.add_argument("--keep", action="store_true", help="keep the stores of all rounds")
    return made


@contextmanager
def server_where(engines: tuple[str, ...]) -> Iterator[OwnServer | None]:
    """Start a PostgreSQL if it is needed."""
    if "postgres" not in engines:
        yield None
        return
    with own_server() as server:
        yield server


def play_once(seed: int, engine: str, server: OwnServer | None, folder: Path, size: Size = Size()) -> Outcome:  # noqa: B008 -- frozen
    """Play a round in a folder; databases of PostgreSQL are dropped after it."""
    with ExitStack() as stack:
        if server is not None and engine == "postgres":
            server.start()  # a round that was broken off may have left it stopped
            urls = [stack.enter_context(fresh_database(server.url)) for _ in range(3)]
            stack.callback(server.start)
        else:
            urls = [f"sqlite:///{folder}/{name}.db" for name in ("platform", "mirror-1", "mirror-2")]
        place = place_of(folder, engine, urls[0], urls[1:])
        used = server if engine == "postgres" else None
        return asyncio.run(asyncio.wait_for(play(seed, place, used, size), LONGEST))


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def replayed(failure: Failure) -> str:
    """Return what is said of a failure."""
    lines = [f"  {each[:TOLD]}" for each in failure.what[:SHOWN]]
    more = [f"  and {len(failure.what) - SHOWN} more"] if len(failure.what) > SHOWN else []
    command = f"python -m tests.prove --seed {failure.seed} --engine {failure.engine} --rounds 1"
    return "\n".join([*lines, *more, f"  stores: {failure.folder}", f"  replay: {command}"])


def rounds(told: argparse.Namespace) -> Iterator[tuple[int, str]]:
    """Yield seeds and engines until the time is up or all rounds are done."""
    engines = (told.engine,) if told.engine else ENGINES
    end = time.monotonic() + told.minutes * 60
    for number in range(told.rounds) if told.rounds else count():
        if not told.rounds and time.monotonic() > end:
            return
        yield told.seed + number // len(engines), engines[number % len(engines)]


def main(told: argparse.Namespace) -> int:
    """Play rounds; return the exit code."""
    outcomes, failures, interrupted = list[Outcome](), list[Failure](), False
    with server_where((told.engine,) if told.engine else ENGINES) as server:
        for seed, engine in rounds(told):
            folder = Path(tempfile.mkdtemp(prefix=f"cardtrail-prove-{seed}-{engine}-"))
            try:
                outcome = play_once(seed, engine, server, folder)
            except KeyboardInterrupt:
                shutil.rmtree(folder)
                interrupted = True
                break
            except Exception:  # noqa: BLE001 -- a round that breaks off is a failure like any other
                failures.append(Failure(seed, engine, [traceback.format_exc()[-TOLD:]], folder))
                say(f"seed {seed} {engine}: broken off\n{replayed(failures[-1])}")
                continue
            say(outcome.line)
            outcomes.append(outcome)
            if outcome.violations:
                failures.append(Failure(seed, engine, outcome.violations, folder))
                say(replayed(failures[-1]))
            elif not told.keep:
                shutil.rmtree(folder)
    say(summary(outcomes, failures))
    return INTERRUPTED if interrupted else 1 if failures else 0


def summary(outcomes: list[Outcome], failures: list[Failure]) -> str:
    """Return what all rounds came to."""
    runs = {(each.seed, each.engine) for each in outcomes} | {(each.seed, each.engine) for each in failures}
    seeds = sorted({seed for seed, _ in runs})
    counted = ("cards", "orders", "events", "notifications", "kills", "crashes", "faults", "missed", "repaired")
    total = {name: sum(getattr(each, name) for each in outcomes) for name in counted}
    return (
        f"\nseeds {seeds[0] if seeds else '-'} to {seeds[-1] if seeds else '-'}: {len(runs)} runs,"
        f" {total['kills']} programs killed, {total['crashes']} databases crashed, {total['faults']:,} faults,"
        f" {total['cards']:,} cards, {total['orders']:,} orders, {total['events']:,} events,"
        f" {total['notifications']:,} notifications, {total['missed']:,} orders wrong before the pass,"
        f" {total['repaired']:,} repaired in all, {sum(len(each.what) for each in failures)} violations"
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the programs would outlive their runner
    sys.exit(main(parser().parse_args()))
