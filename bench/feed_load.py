"""Reads of the changes feed: page after page of 1,000 operations over one connection; a process of its own.

`--plain URL` reads the same rows with the bare database driver instead. Prints one line of JSON. The token comes from
BENCH_TOKEN.
"""

import argparse
import http.client
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from statistics import quantiles

import psycopg

from bench.cards import ISSUER_ID, PREFIX
from bench.child import LOAD_CORE, SERVER_CORE, VoidError, output_of, pinned

PAGE = 1_000
"""Operations in a page."""
PATH = f"{PREFIX}operations?limit={PAGE}"
_CURSOR = b'"cursor":"'
_QUERY = """SELECT change_no, picture FROM operation
WHERE issuer_id = {0} AND change_no > {0} ORDER BY change_no LIMIT {0}"""

Turn = Callable[[], int]
"""Reads the next page, from the beginning after the last one; returns its bytes."""


@dataclass(frozen=True)
class Feed:
    """One run: pages a second, latencies of a page in milliseconds, bytes of a page."""

    pages: float
    p50: float
    p99: float
    size: float


def read(turn: Turn, seconds: float) -> Feed:
    """Read pages until the time is over."""
    waits: list[float] = []
    size = 0
    begun = now = time.perf_counter()
    while now < begun + seconds:
        size += turn()
        before, now = now, time.perf_counter()
        waits.append(now - before)
    cuts = quantiles(waits, n=100) if len(waits) > 1 else waits * 99
    return Feed(len(waits) / (now - begun), cuts[49] * 1e3, cuts[98] * 1e3, size / len(waits))


@contextmanager
def over_http(port: int, token: str) -> Iterator[Turn]:
    """Follow the feed by its cursors. Raises VoidError for any status but 200."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    since = ""

    def turn() -> int:
        nonlocal since
        connection.request("GET", PATH + since, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise VoidError(f"run void, answered {answer.status} {body[:200]!r}")
        cursor = body[body.rindex(_CURSOR) + len(_CURSOR) :].partition(b'"')[0].decode()
        since = f"&since={cursor}" if body.endswith(b"true}") else ""
        return len(body)

    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
        yield turn


@contextmanager
def plain(url: str) -> Iterator[Turn]:
    """Read the same rows with the driver alone."""
    place = 0
    is_sqlite = url.startswith("sqlite")
    query = _QUERY.format("?" if is_sqlite else "%s")
    with closing(sqlite3.connect(url.removeprefix("sqlite:///")) if is_sqlite else psycopg.connect(url)) as connection:

        def turn() -> int:
            nonlocal place
            rows = connection.execute(query, (ISSUER_ID, place, PAGE)).fetchall()
            place = rows[-1][0] if len(rows) == PAGE else 0
            return sum(len(picture) for _, picture in rows)

        yield turn


def feed_load(port: int, token: str, seconds: float) -> Feed:
    """Read over HTTP in a process on the load generator's core. Raises VoidError."""
    return _run(["--port", str(port)], token, seconds, LOAD_CORE)


def plain_load(url: str, seconds: float) -> Feed:
    """Read plainly in a process on the server's core. Raises VoidError."""
    return _run(["--plain", url], "", seconds, SERVER_CORE)


def _run(options: list[str], token: str, seconds: float, core: int) -> Feed:
    command = pinned([sys.executable, "-m", "bench.feed_load", *options, "--seconds", str(seconds)], core)
    return Feed(**json.loads(output_of(command, {"BENCH_TOKEN": token}, seconds + 30).splitlines()[-1]))


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.feed_load", description=__doc__)
    _parser.add_argument("--port", type=int)
    _parser.add_argument("--plain", help="URL of a database")
    _parser.add_argument("--seconds", type=float, default=5)
    _given = _parser.parse_args()
    _token = os.environ.get("BENCH_TOKEN", "none")
    try:
        with plain(_given.plain) if _given.plain else over_http(_given.port, _token) as _turn:
            print(json.dumps(asdict(read(_turn, _given.seconds))))
    except (VoidError, OSError) as reason:
        sys.exit(str(reason))
