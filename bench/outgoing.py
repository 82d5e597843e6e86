"""The tables of notifications as the service sees them: latency, the feed's rate, and what they cost ingest."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles

from bench.child import VoidError
from bench.deliver import delivering
from bench.feed_load import PAGE, Feed, feed_load, plain_load
from bench.ours import NAMES, ours
from bench.rounds import Contestant, Measure, Row, alternate, prepared, share, show, spread
from bench.sections import SPLITS, Rate, ingesting, latency, new_tag
from bench.servers import Ground, Server, Target, serving
from bench.sink import Sink, sink
from bench.trickle import trickled

PAUSE = 0.05
"""Seconds between two events, in the table of latencies."""
EVENTS_A_SECOND = 100
"""Events of a turn there, for each second that a turn is to last: 400 by default, in 20 s."""
SETTLING = 1.0
"""Seconds before the first event, in which start-up ends."""
IN_A_CALL = 100
"""Most notifications in a call, where ingest is measured."""


# ── latency ──


@dataclass(frozen=True)
class Latency:
    """One turn: from an event's answer to its notification at the receiver, and from when it was sent, ms."""

    p50: float
    p99: float
    longest: float
    from_sent: float


def latencies(engines: Sequence[str], ground: Ground, measure: Measure) -> None:
    """Measure and print how long a notification takes on an idle system, sent by the same process and by another."""
    with ExitStack() as stack:
        receiver = stack.enter_context(sink(ground.folder / "logs/sink.log", "--remember"))
        ground.values["sink"] = receiver.url
        made = [
            ours(engine, f"latency-{engine}-{processes}", f"{NAMES[engine]}, {text}", *options, batch_size=1)
            for engine in engines
            for processes, text, options in ((1, "one process", ()), (2, "two processes", ("--no-deliver",)))
        ]
        targets, troubles = prepared(made, ground, measure.say)
        contestants: list[Contestant[Latency]] = [
            (target.name, partial(_latencies, target, receiver, ground, measure)) for target in targets
        ]
        rows = alternate(contestants, measure.rounds, measure.say)
    rows += [Row(name, trouble=why) for name, why in troubles.items()]
    show(
        measure.say,
        f"From an event's answer to its notification: one event every {PAUSE * 1e3:.0f} ms",
        ("p50 ms", "p99 ms", "p99 lowest–highest", "longest ms", "from its sending\np50 ms"),
        rows,
        lambda row: [
            f"{median(run.p50 for run in row.runs):.2f}",
            f"{median(run.p99 for run in row.runs):.2f}",
            f"{min(run.p99 for run in row.runs):.2f}–{max(run.p99 for run in row.runs):.2f}",
            f"{max(run.longest for run in row.runs):.2f}",
            f"{median(run.from_sent for run in row.runs):.2f}",
        ],
    )


def _latencies(target: Target, receiver: Sink, ground: Ground, measure: Measure, _number: int) -> Latency:
    url, secret = ground.values[f"{target.key}_database"], ground.values[f"{target.key}_secret"]
    with ExitStack() as stack:
        server = stack.enter_context(serving(target, ground))
        if "--no-deliver" in target.command:
            stack.enter_context(delivering(url, secret, ground.folder / "logs/deliver.log"))
        time.sleep(SETTLING)
        receiver.tally(anew=True)
        sent = trickled(server.port, server.ingest_token, measure.seconds * EVENTS_A_SECOND, PAUSE, new_tag())
        time.sleep(SETTLING)
        arrivals = receiver.tally().arrivals
    lost = sent.keys() - arrivals.keys()
    if lost:
        raise VoidError(f"run void, {len(lost)} of {len(sent)} notifications did not arrive in time")
    waits = [(arrivals[card] - answered) * 1e3 for card, (_, answered) in sent.items()]
    cuts = quantiles(waits, n=100)
    whole = median((arrivals[card] - begun) * 1e3 for card, (begun, _) in sent.items())
    return Latency(cuts[49], cuts[98], max(waits), whole)


# ── the feed ──


def feed(servers: Sequence[Server], measure: Measure) -> None:
    """Measure and print how fast the changes feed is read; the first server is the floor."""
    contestants: list[Contestant[Feed]] = [(servers[0].target.name, partial(_feed, servers[0], measure.seconds))]
    for server in servers[1:]:
        url = server.ground.values[f"{server.target.key}_database"]
        contestants.append((f"{NAMES[server.target.key]}'s driver, same rows", partial(_plain, url, measure)))
        contestants.append((server.target.name, partial(_feed, server, measure.seconds)))
    rows = alternate(contestants, measure.rounds, measure.say)
    floor = [run.pages for run in rows[0].runs]
    plains = {row.name: [run.pages for run in rows[place - 1].runs] for place, row in enumerate(rows) if place % 2 == 0}
    show(
        measure.say,
        f"The changes feed: pages of {PAGE:,}, one reader, medians",
        ("operations/s", "of floor", "of plain", "p50 ms", "p99 ms", "bytes"),
        rows,
        lambda row: [
            f"{median(run.pages for run in row.runs) * PAGE:,.0f}",
            share([run.pages for run in row.runs], floor),
            share([run.pages for run in row.runs], plains[row.name])
            if row is not rows[0] and row.name in plains
            else "–",
            f"{median(run.p50 for run in row.runs):.2f}",
            f"{median(run.p99 for run in row.runs):.2f}",
            f"{median(run.size for run in row.runs):,.0f}",
        ],
    )


def _feed(server: Server, seconds: int, _number: int) -> Feed:
    return feed_load(server.port, server.token, seconds)


def _plain(url: str, measure: Measure, _number: int) -> Feed:
    return plain_load(url, measure.seconds)


# ── ingest with notifications ──


def notified(engines: Sequence[str], ground: Ground, measure: Measure) -> None:
    """Measure and print ingest without an endpoint, with one, and while notifications go out."""
    for engine in engines:
        with ExitStack() as stack:
            receiver = stack.enter_context(sink(ground.folder / "logs/sink.log"))
            ground.values["sink"] = receiver.url
            name = f"cardtrail on {NAMES[engine]}"
            targets, troubles = prepared([
                ours(engine, f"{engine}-off", f"{name}, no endpoint", "--no-deliver"),
                ours(engine, f"{engine}-on", f"{name}, enqueued", "--no-deliver", batch_size=IN_A_CALL),
                ours(engine, f"{engine}-sent", f"{name}, enqueued and sent", batch_size=IN_A_CALL),
            ], ground, measure.say)  # fmt: skip
            servers = [stack.enter_context(serving(target, ground)) for target in targets]
            for batch, connections in SPLITS:
                contestants = [ingesting(server, batch, connections, measure.seconds) for server in servers]
                rows = alternate(contestants, measure.rounds, measure.say)
                rows += [Row(name, trouble=why) for name, why in troubles.items()]
                _show_notified(rows, batch, connections, measure)


def _show_notified(rows: Sequence[Row[Rate]], batch: int, connections: int, measure: Measure) -> None:
    off = [run.rate for run in rows[0].runs]
    show(
        measure.say,
        f"Ingest with notifications: {batch} in a request, {connections} connections, calls of {IN_A_CALL}",
        ("events/s", "of no endpoint", "lowest–highest", "p50 ms", "p99 ms"),
        rows,
        lambda row: [
            f"{median(run.rate for run in row.runs):,.0f}",
            share([run.rate for run in row.runs], off),
            spread([run.rate for run in row.runs]),
            latency(run.p50 for run in row.runs),
            latency(run.p99 for run in row.runs),
        ],
    )
