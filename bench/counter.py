"""What the counter costs: `python -m bench.counter` lets eight writers ingest at once, with it and without.

A writer has one transaction under way, in which `record` takes one event of a site about one card: the whole of ingest
but HTTP and gathering, so that nothing hides the wait for the counter. On PostgreSQL each writer is a process; on
SQLite all are in one, as one process shares its commits among them. Without the counter, numbers come from a sequence
on PostgreSQL and from chance on SQLite; a feed by such numbers skips changes.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

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
from cardtrail.platform.ingest import Sender, item_of
from cardtrail.platform.record import Item, record
from cardtrail.platform.store import open_store, queries
from tests import engines

WRITERS = 8
ISSUERS = 8
PATIENCE = 60.0
"""Longest wait for the writers to come up and to end, seconds."""
AHEAD = 1_500
"""Events made ahead for each second of a writer."""
EVERYONE = Sender("bench", frozenset("*"), frozenset("*"), frozenset("*"))
SEQUENCE = "CREATE SEQUENCE change_numbers INCREMENT BY 1000 START WITH 1000"
_COUNT = re.compile(r"(?<=-- name: count_changes\n)(?s:.+?);\n\n")
_UNCOUNTED = """-- Numbers from anywhere.
SELECT v.issuer_id, nextval('change_numbers') FROM rows(issuer_id text, changes bigint) AS v -- postgres
SELECT v.issuer_id, (abs(random()) / 2000 + 1) * 1000 + 0 * v.changes -- sqlite
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
    seconds: float


# ── a writer, in a process of its own ──


def items_of(part: Part, number: int) -> list[Item]:
    """Return what one writer tells: the stories of its own cards, spread over so many issuers."""
    wanted = int(AHEAD * part.seconds)
    tag = f"{time.time_ns() // 1_000_000:x}-{number}"
    told = islice((text for text in events(tag, range(wanted), 64, number) if '"cardId"' in text), wanted)
    names = [f"{ISSUER_ID[:-1]}{n}" for n in range(part.issuers)]
    chance = random.Random(number)
    of_card: dict[str, str] = {}
    items = []
    for text in told:
        card = text[text.index('"cardId":"') :].split('"', 4)[3]
        issuer = of_card.setdefault(card, chance.choice(names))
        item = item_of(EVERYONE, text.replace(ISSUER_ID, issuer).encode(), wall_clock())
        assert isinstance(item, Item), item
        items.append(item)
    return items


async def write(db: Database, part: Part) -> int:
    """Let the writers write until the time is over; return how many events were committed."""
    told = [items_of(part, part.number + n) for n in range(part.writers)]
    print("ready", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + part.seconds
    return sum(await asyncio.gather(*(_tell(db, items, until) for items in told)))


async def _tell(db: Database, items: Sequence[Item], until: float) -> int:
    """Record one event after the other."""
    for done, item in enumerate(items):
        if time.monotonic() > until:
            return done
        [outcome] = await db.transact(partial(_record, item))
        assert outcome == "accepted", outcome
    raise VoidError("the events ran out: raise AHEAD")


def _record(item: Item, tx: Transaction) -> list[str]:
    return [outcome.result for outcome in record(tx, [item], lambda _sender, _issuer: True)]


def be_writer(part: Part) -> None:
    """Write, and print how many events were committed."""
    text = queries() if part.counted else _COUNT.sub(lambda _: _UNCOUNTED, queries())
    db = open_database(part.url, text)
    try:
        print(asyncio.run(write(db, part)))
    finally:
        db.close()


# ── all of them ──


def rate(url: str, issuers: int, seconds: float, turn: int, *, counted: bool) -> float:
    """Return events a second of all writers together. Raises VoidError."""
    each = 1 if url.startswith("postgresql") else WRITERS
    numbers = range(turn * WRITERS, (turn + 1) * WRITERS, each)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_writing(Part(url, number, each, issuers, counted, seconds))) for number in numbers
        ]
        for process in processes:
            _until_ready(process)
        for process in processes:
            process.stdin.write("go\n")  # type: ignore[union-attr]  # it is a pipe
            process.stdin.flush()  # type: ignore[union-attr]  # as above
        try:
            told = [process.communicate(timeout=seconds + PATIENCE)[0] for process in processes]
        except subprocess.TimeoutExpired:
            raise VoidError("a writer did not end in time") from None
        if any(process.returncode for process in processes):
            raise VoidError(" ".join(told).strip()[-500:])
        return sum(map(int, told)) / seconds


@contextmanager
def _writing(part: Part) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "bench.counter", "--writer", msgspec.json.encode(part).decode()]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _until_ready(process: "subprocess.Popen[str]") -> None:
    line = process.stdout.readline()  # type: ignore[union-attr]  # it is a pipe
    if line != "ready\n":
        raise VoidError(line + process.communicate(timeout=PATIENCE)[0])


def contestants(new_url: Callable[[], str], seconds: float) -> Iterator[Contestant[float]]:
    """Yield the ways to number changes, each with a database of its own, the bare sequence first."""
    for name, issuers, counted in (
        ("no counter, one issuer", 1, False),
        ("counter, one issuer", 1, True),
        (f"counter, {ISSUERS} issuers", ISSUERS, True),
        (f"no counter, {ISSUERS} issuers", ISSUERS, False),
    ):
        url = new_url()
        open_store(url).close()
        if url.startswith("postgresql"):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(SEQUENCE)
        yield (
            name,
            lambda turn, url=url, issuers=issuers, counted=counted: rate(  # type: ignore[misc]  # mypy cannot type the defaults
                url, issuers, seconds, turn, counted=counted
            ),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both engines and print their tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.counter", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="length of one turn, default 6")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, default 5")
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
            rows = alternate(list(contestants(new_url, chosen.seconds)), chosen.rounds, say)
            title = f"{name}: {WRITERS} writers, one event of one card in each transaction"
            show(say, title, ("events/s", "of no counter", "lowest–highest"), rows, partial(_figures, rows))
    return 0


def _figures(rows: Sequence[Row[float]], row: Row[float]) -> list[str]:
    """Return a row's figures; each is compared with no counter over as many issuers."""
    bare = next(other for other in rows if other.name == f"no {row.name.removeprefix('no ')}")
    return [f"{median(row.runs):,.0f}", share(row.runs, bare.runs), f"{min(row.runs):,.0f}–{max(row.runs):,.0f}"]


if __name__ == "__main__":
    sys.exit(main())
