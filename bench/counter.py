"""What the counter costs: `python -m bench.counter` lets eight writers ingest at once, with it and without.

A writer has one transaction under way, in which `record` takes one event of a site about one card: the whole of ingest
but HTTP and gathering, so that nothing hides the wait for the counter. On PostgreSQL each writer is a process; on
SQLite all are in one, as one process shares its commits among them. Without the counter, numbers come from a sequence
on PostgreSQL and from chance on SQLite; a feed by such numbers skips changes. Turns are short and many, so that what
else runs on the machine meets all alike.

Then one writer alone, on PostgreSQL: for how much of a transaction it holds the counter. However many cores and writers
there are, one issuer takes no more than one writer's rate divided by this share.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec
import psycopg
from rich.console import Console

from bench import machine
from bench.cards import ISSUER_ID
from bench.child import VoidError, unwind_on_signals
from bench.rounds import Contestant, Row, alternate, share, show
from bench.story import events
from cardtrail.db import Database, Transaction, open_database
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.held import Item
from cardtrail.platform.ingest import Sender, item_of
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.record import record
from cardtrail.platform.store import open_store, queries
from tests import engines

WRITERS = 8
ISSUERS = 8
WARM_UP = 2.0
"""Seconds for which each team writes before the first round."""
ALONE = 3_000
"""Events of the writer that is alone."""
MAX_CARDS = 10_000_000
"""More cards than any writer has time for."""
EVERYONE = Sender("bench", frozenset("*"), frozenset("*"), frozenset("*"))
SEQUENCE = "CREATE SEQUENCE change_numbers INCREMENT BY 1000 START WITH 1000"
_NO_ENDPOINTS = Outbox(wall_clock)
_COUNT = re.compile(r"(?<=-- name: count_changes\n)(?s:.+?);\n\n")
_UNCOUNTED = """-- Numbers from anywhere.
SELECT v.issuer_id, nextval('change_numbers'), '' FROM rows(issuer_id text, changes bigint) AS v -- postgres
SELECT v.issuer_id, (abs(random()) / 2000 + 1) * 1000 + 0 * v.changes, '' -- sqlite
FROM rows(issuer_id text, changes bigint) AS v -- sqlite
;

"""


class Part(msgspec.Struct, frozen=True):
    """What a process does."""

    url: str
    number: int
    writers: int
    issuers: int
    counted: bool


# ── writers, in a process of their own ──


def items_of(part: Part, number: int) -> Iterator[Item]:
    """Yield what one writer tells: the stories of its own cards, spread over so many issuers."""
    tag = f"{time.time_ns() // 1_000_000:x}-{number}"
    names = [f"{ISSUER_ID[:-1]}{n}" for n in range(part.issuers)]
    chance = random.Random(number)
    of_card: dict[str, str] = {}
    for text in events(tag, range(MAX_CARDS), 64, number):
        if '"cardId"' in text:
            card = text[text.index('"cardId":"') :].split('"', 4)[3]
            issuer = of_card.setdefault(card, chance.choice(names))
            item = item_of(EVERYONE, text.replace(ISSUER_ID, issuer).encode(), wall_clock())
            assert isinstance(item, Item), item
            yield item


async def write(db: Database, part: Part) -> None:
    """For each line that comes in, let the writers write for so many seconds and print how much was committed."""
    writers = [items_of(part, part.number + n) for n in range(part.writers)]
    while line := await asyncio.to_thread(sys.stdin.readline):
        until = time.monotonic() + float(line)
        print(sum(await asyncio.gather(*(_tell(db, items, until) for items in writers))), flush=True)


async def _tell(db: Database, items: Iterator[Item], until: float) -> int:
    """Record one event after the other until the time is over; return how many were committed."""
    done = 0
    while time.monotonic() < until:
        [outcome] = await db.transact(partial(_record, next(items)))
        assert outcome == "accepted", outcome
        done += 1
    return done


OUTBOX = Outbox(wall_clock)


def _record(item: Item, tx: Transaction) -> list[str]:
    return [outcome.result for outcome in record(tx, [item], lambda _sender, _issuer: True, OUTBOX)]


def be_writer(part: Part) -> None:
    """Write whenever a line comes in, until none does."""
    text = queries() if part.counted else _COUNT.sub(lambda _: _UNCOUNTED, queries())
    db = open_database(part.url, text)
    try:
        asyncio.run(write(db, part))
    finally:
        db.close()


# ── one alone ──


class _Timed:
    """A transaction that notes when the counter was asked for."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.counted = 0.0

    def each(self, name: str, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        if name == "count_changes":
            self.counted = time.perf_counter()
        return self._tx.each(name, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


async def held(db: Database, part: Part) -> float:
    """Return the median share of a transaction's time from the counter to the commit."""
    shares = []
    for item in islice(items_of(part, part.number), ALONE):
        begun, timed = time.perf_counter(), list[_Timed]()

        def work(tx: Transaction, item: Item = item, timed: list[_Timed] = timed) -> None:
            timed.append(_Timed(tx))
            _record(item, cast("Transaction", timed[-1]))

        await db.transact(work)
        ended = time.perf_counter()
        shares.append((ended - timed[-1].counted) / (ended - begun))
    return median(shares)


def held_on(url: str) -> float:
    """`held`, on a new database of PostgreSQL."""
    db = open_store(url)
    try:
        return asyncio.run(held(db, Part(url, 0, 1, 1, counted=True)))
    finally:
        db.close()


# ── all of them ──


class Team:
    """The writers of one way to number changes, on a database of their own; idle between its turns."""

    def __init__(self, url: str, issuers: int, stack: ExitStack, *, counted: bool) -> None:
        open_store(url).close()
        if url.startswith("postgresql"):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(SEQUENCE)
        each = 1 if url.startswith("postgresql") else WRITERS
        parts = [Part(url, number, each, issuers, counted) for number in range(0, WRITERS, each)]
        self._processes = [stack.enter_context(_writing(part)) for part in parts]
        self.rate(WARM_UP)

    def rate(self, seconds: float) -> float:
        """Return events a second of all writers together. Raises VoidError."""
        for process in self._processes:
            process.stdin.write(f"{seconds}\n")  # type: ignore[union-attr]  # it is a pipe
            process.stdin.flush()  # type: ignore[union-attr]  # as above
        told = [process.stdout.readline() for process in self._processes]  # type: ignore[union-attr]  # as above
        if not all(line.strip().isdigit() for line in told):
            raise VoidError(f"a writer said {told}")
        return sum(map(int, told)) / seconds


@contextmanager
def _writing(part: Part) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "bench.counter", "--writer", msgspec.json.encode(part).decode()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def contestants(new_url: Callable[[], str], seconds: float, stack: ExitStack) -> list[Contestant[float]]:
    """Return the ways to number changes; those that are compared stand side by side."""
    ways = [(issuers, counted) for issuers in (1, ISSUERS) for counted in (False, True)]
    teams = [Team(new_url(), issuers, stack, counted=counted) for issuers, counted in ways]
    return [
        (_name(*way), lambda _turn, team=team: team.rate(seconds))  # type: ignore[misc]  # mypy cannot type the default
        for way, team in zip(ways, teams, strict=True)
    ]


def _name(issuers: int, counted: bool) -> str:  # noqa: FBT001 -- one way, spelled out
    return f"{'' if counted else 'no '}counter, {issuers} issuer{'s' * (issuers > 1)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both engines and print their tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.counter", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1, help="length of one turn, default 1")
    parser.add_argument("--rounds", type=int, default=25, help="rounds, default 25")
    parser.add_argument("--writer", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.writer:
        be_writer(msgspec.json.decode(chosen.writer, type=Part))
        return 0
    unwind_on_signals()
    say = Console(width=max(Console().width, 120), highlight=False)
    say.print(machine.description())
    say.print(machine.warning(), style="yellow")
    with ExitStack() as stack:
        stack.callback(engines.end_run, engines.begin_run())
        folder = stack.enter_context(TemporaryDirectory(dir=Path(__file__).parent, prefix=".data-"))
        numbers = iter(range(100))
        servers: dict[str, Callable[[], str]] = {
            "PostgreSQL": lambda: stack.enter_context(engines.fresh_database(engines.server_url())),
            "SQLite": lambda: f"sqlite:///{folder}/{next(numbers)}.db",
        }
        for name, new_url in servers.items():
            with ExitStack() as writers:
                rows = alternate(contestants(new_url, chosen.seconds, writers), chosen.rounds, say)
            title = f"{name}: {WRITERS} writers, one event of one card in each transaction"
            show(say, title, ("events/s", "of no counter", "lowest–highest"), rows, partial(_figures, rows))
        share_held = held_on(servers["PostgreSQL"]())
        say.print(f"PostgreSQL, one writer alone: it holds the counter for {share_held:.2f} of a transaction's time")
    return 0


def _figures(rows: Sequence[Row[float]], row: Row[float]) -> list[str]:
    """Return a row's figures; each is compared with no counter over as many issuers."""
    bare = next(other for other in rows if other.name == f"no {row.name.removeprefix('no ')}")
    return [f"{median(row.runs):,.0f}", share(row.runs, bare.runs), f"{min(row.runs):,.0f}–{max(row.runs):,.0f}"]


if __name__ == "__main__":
    sys.exit(main())
