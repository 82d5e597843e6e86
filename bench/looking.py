"""The table about pages: how soon they come beside a million orders, and what looking costs the on-demand answer."""

import asyncio
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from bench import cards
from bench.child import NotMeasuredError
from bench.load import Reads, load
from bench.rounds import Contestant, Measure, Row, alternate, share, show
from bench.servers import Server
from cardtrail.pages.door.account import ALL, Role
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.password import generated, hashed
from cardtrail.pages.door.sessions import Sessions
from cardtrail.platform.audit import Recorded
from cardtrail.platform.store import open_store

NAME = "bench"
PAGES = {
    "overview": f"/ui/issuers/{cards.ISSUER_ID}/", "a year": f"/ui/issuers/{cards.ISSUER_ID}/?range=365d",
    "stuck": f"/ui/issuers/{cards.ISSUER_ID}/stuck", "card": f"/ui/issuers/{cards.ISSUER_ID}/cards/{cards.card_id(1)}",
}  # fmt: skip
TIMES = 20
"""How often each page is asked for in a round."""
EVERY = 1.0
"""Seconds between two looks at overview and metrics while reads are measured."""


@dataclass(frozen=True)
class Looked:
    """One turn: milliseconds to the first byte of each page; reads of an idle server, and beside looking."""

    pages: dict[str, float]
    idle: Reads
    watched: Reads


def looked(servers: Sequence[Server], measure: Measure) -> None:
    """Measure and print how soon pages come, and what looking costs the on-demand answer; of our own rows only."""
    servers = [server for server in servers if f"{server.target.key}_database" in server.ground.values]
    show(
        measure.say,
        f"Pages beside {servers[0].ground.orders:,} orders; reads while overview and metrics are asked once a second",
        (*(f"{name}\nfirst byte ms" for name in PAGES), "idle\nrequests/s", "watched\nrequests/s", "of idle"),
        alternate([_contestant(server, measure.seconds) for server in servers], measure.rounds, measure.say),
        _figures,
    )


def _contestant(server: Server, seconds: int) -> Contestant[Looked]:
    cookie = asyncio.run(_cookie(server.ground.values[f"{server.target.key}_database"]))

    def turn(number: int) -> Looked:
        pages = {
            name: median(_first_byte(server.port, path, cookie) for _ in range(TIMES)) for name, path in PAGES.items()
        }
        idle = load(server.port, server.ground.orders, seconds, server.token, seed=number)
        with _looking(server.port, cookie):
            watched = load(server.port, server.ground.orders, seconds, server.token, seed=number)
        return Looked(pages, idle, watched)

    return server.target.name, turn


async def _cookie(database: str) -> str:
    """Return the cookie of somebody who may see all."""
    db = open_store(database)
    try:
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000  # noqa: E731 -- named for its two uses
        account = await Accounts(db, Recorded(db), clock).add(NAME, {ALL: Role.VIEWER}, hashed(generated()), "bench")
        token = await Sessions(db, clock).begin(NAME, account.generation)
    finally:
        db.close()
    return f"cardtrail={token}"


def _first_byte(port: int, path: str, cookie: str) -> float:
    """Return how long it took until the first byte of a page came, ms. Raises NotMeasuredError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        began = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        took = time.perf_counter() - began
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise NotMeasuredError(f"{path}: {answer.status} {body[:200]!r}")
    return took * 1_000


@contextmanager
def _looking(port: int, cookie: str) -> Iterator[None]:
    """Ask for the overview and the metrics once a second while the block lasts."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            _first_byte(port, PAGES["overview"], cookie)
            _first_byte(port, "/metrics", cookie)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def _figures(row: Row[Looked]) -> list[str]:
    idle = [run.idle.rate for run in row.runs]
    watched = [run.watched.rate for run in row.runs]
    firsts = [f"{median(run.pages[name] for run in row.runs):.1f}" for name in PAGES]
    return [*firsts, f"{median(idle):,.0f}", f"{median(watched):,.0f}", share(watched, idle)]
