"""The tables about requests: reads, reads while events come in, and ingest."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from bench.append_floor import append_floor
from bench.child import running
from bench.ingest_load import Ingested, Plan, command_of, ingest, ingested_of
from bench.load import CONNECTIONS, Reads, load
from bench.rounds import Contestant, Measure, Row, alternate, share, show, spread
from bench.servers import Server

STEADY = 1_000
"""Events a second that come in while reads are measured."""
SPLITS = ((100, 4), (1, 64))
"""(events in a request, connections) of the ingest table."""


# ── the on-demand answer ──


def reads(servers: Sequence[Server], troubles: dict[str, str], measure: Measure) -> None:
    """Measure and print random reads; the first server is the floor."""
    rows = alternate([_reading(server, measure.seconds) for server in servers], measure.rounds, measure.say)
    floor = [run.rate for run in rows[0].runs]
    orders = servers[0].ground.orders
    rows += [Row(name, trouble=why) for name, why in troubles.items()]
    show(
        measure.say,
        f"The on-demand answer: {orders:,} orders, random cards, {CONNECTIONS} connections, medians",
        ("requests/s", "of floor", "lowest–highest", "p50 ms", "p99 ms", "bytes"),
        rows,
        lambda row: _read_figures(row, floor),
    )


def _reading(server: Server, seconds: int) -> Contestant[Reads]:
    return (
        server.target.name,
        lambda number: load(server.port, server.ground.orders, seconds, server.token, seed=number),
    )


def _read_figures(row: Row[Reads], floor: Sequence[float]) -> list[str]:
    rates = [run.rate for run in row.runs]
    return [
        f"{median(rates):,.0f}",
        share(rates, floor),
        spread(rates),
        f"{median(run.p50 for run in row.runs):.2f}",
        f"{median(run.p99 for run in row.runs):.2f}",
        f"{median(run.size for run in row.runs):.0f}",
    ]


# ── reads while events come in ──


@dataclass(frozen=True)
class Beside:
    """One turn: reads of an idle server, then reads while events come in."""

    idle: Reads
    busy: Reads
    events: Ingested


def beside(servers: Sequence[Server], measure: Measure) -> None:
    """Measure and print reads with and without a steady stream of events."""
    contestants = [_both(server, measure.seconds) for server in servers]
    show(
        measure.say,
        f"Reads while {STEADY:,} events/s come in, 10 in a request",
        (
            "idle\nrequests/s",
            "busy\nrequests/s",
            "of idle",
            "idle\np99 ms",
            "busy\np99 ms",
            "events/s",
            "request\np99 ms",
        ),
        alternate(contestants, measure.rounds, measure.say),
        _beside_figures,
    )


def _both(server: Server, seconds: int) -> Contestant[Beside]:
    def turn(number: int) -> Beside:
        idle = load(server.port, server.ground.orders, seconds, server.token, seed=number)
        busy, events = _while_events_come(server, seconds, number)
        return Beside(idle, busy, events)

    return server.target.name, turn


def _while_events_come(server: Server, seconds: int, number: int) -> tuple[Reads, Ingested]:
    """Return what reads gave while events came; the events begin before and end after."""
    plan = Plan(server.port, batch=10, connections=8, seconds=seconds + 3, rate=STEADY, tag=new_tag())
    printed = server.log.with_suffix(".events")
    with running(command_of(plan), printed, {"BENCH_TOKEN": server.ingest_token}) as process:
        time.sleep(1.5)
        busy = load(server.port, server.ground.orders, seconds, server.token, seed=number)
        process.wait(plan.seconds + 30)
    return busy, ingested_of(printed.read_text(encoding="utf-8"))


def _beside_figures(row: Row[Beside]) -> list[str]:
    idle = [run.idle.rate for run in row.runs]
    busy = [run.busy.rate for run in row.runs]
    return [
        f"{median(idle):,.0f}",
        f"{median(busy):,.0f}",
        share(busy, idle),
        f"{median(run.idle.p99 for run in row.runs):.2f}",
        f"{median(run.busy.p99 for run in row.runs):.2f}",
        f"{median(run.events.rate for run in row.runs):,.0f}",
        f"{median(run.events.p99 for run in row.runs):.2f}",
    ]


# ── ingest ──


@dataclass(frozen=True)
class Rate:
    """Events a second, and the latencies of a request in milliseconds; None where there are no requests."""

    rate: float
    p50: float | None = None
    p99: float | None = None


def taking_events(servers: Sequence[Server], measure: Measure) -> None:
    """Measure and print ingest in batches and singly, beside append + fdatasync in the same groups."""
    folder = servers[0].ground.folder
    for batch, connections in SPLITS:
        contestants = [_appending(folder, batch, measure.seconds)]
        contestants += [
            ingesting(server, batch, connections, measure.seconds)
            for server in servers
            if batch == 1 or server.target.key != "floor"  # in batches the floor outruns the load generator
        ]
        rows = alternate(contestants, measure.rounds, measure.say)
        appended = [run.rate for run in rows[0].runs]
        show(
            measure.say,
            f"Ingest over HTTP, {batch} in a request, {connections} connections, answered after the commit",
            ("events/s", "of append", "lowest–highest", "p50 ms", "p99 ms"),
            rows,
            partial(_rate_figures, appended),
        )


def _appending(folder: Path, group: int, seconds: int) -> Contestant[Rate]:
    def turn(_number: int) -> Rate:
        return Rate(append_floor(folder, group, seconds / 2))

    return f"append + fdatasync, {group} together", turn


def ingesting(server: Server, batch: int, connections: int, seconds: int) -> Contestant[Rate]:
    """Return a server that takes events as fast as it can."""

    def turn(_number: int) -> Rate:
        result = ingest(Plan(server.port, batch, connections, seconds, tag=new_tag()), server.ingest_token)
        return Rate(result.rate, result.p50, result.p99)

    return server.target.name, turn


def _rate_figures(appended: Sequence[float], row: Row[Rate]) -> list[str]:
    rates = [run.rate for run in row.runs]
    return [
        f"{median(rates):,.0f}",
        share(rates, appended),
        spread(rates),
        latency(run.p50 for run in row.runs),
        latency(run.p99 for run in row.runs),
    ]


def latency(values: Iterable[float | None]) -> str:
    """Return the median of what is known, milliseconds."""
    known = [value for value in values if value is not None]
    return f"{median(known):.2f}" if known else "–"


def new_tag() -> str:
    """Return what makes the ids of one load unique."""
    return f"{time.time_ns() // 1_000_000:x}"
