"""The tables about deliverers: their rate beside the receiver's ceiling, and what bad endpoints cost the others."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.backlog import Backlog
from bench.child import VoidError, cpu_seconds, free_port
from bench.client_load import client_load
from bench.deliver import delivering
from bench.load import posts
from bench.ours import NAMES, place
from bench.rounds import Contestant, Measure, Row, alternate, share, show, spread
from bench.servers import Ground
from bench.sink import Sink, sink

SIZES = {1: 700, 100: 59_500}
"""Notifications in a call -> bytes of its body."""
A_SECOND = 10_000
"""Notifications of a backlog for each second that a turn is to last."""
HEALTHY = 8
"""Endpoints that take everything at once, in the table of bad ones."""
DELAY = 5
"""Seconds after which a slow endpoint answers."""


@dataclass(frozen=True)
class Delivered:
    """One turn: operations a second, and CPU time of an operation in µs: ours, or the receiver's in its ceiling."""

    rate: float
    cpu: float


# ── the rate ──


def rates(engines: Sequence[str], ground: Ground, measure: Measure) -> None:
    """Measure and print how fast a backlog is delivered, one operation in a call and 100."""
    with ExitStack() as stack:
        receiver = stack.enter_context(sink(ground.folder / "logs/sink.log"))
        for batch in SIZES:
            backlogs = {engine: place(engine, f"rate-{batch}", ground) for engine in engines}
            for backlog in backlogs.values():
                backlog.register("main", receiver.url, batch_size=batch)
            contestants: list[Contestant[Delivered]] = [
                ("receiver's ceiling: wrk, 1 in a POST", partial(_ceiling, receiver, measure.seconds)),
                ("pyreqwest alone", partial(_client, "bare", receiver, batch, measure.seconds)),
                ("Egress.post alone", partial(_client, "egress", receiver, batch, measure.seconds)),
            ]
            contestants += [
                (f"cardtrail on {NAMES[engine]}, settled", partial(_backlog, backlog, receiver, ground, batch, measure))
                for engine, backlog in backlogs.items()
            ]
            _show_rates(batch, contestants, measure)


def _show_rates(batch: int, contestants: Sequence[Contestant[Delivered]], measure: Measure) -> None:
    rows = alternate(contestants, measure.rounds, measure.say)
    ceiling = [run.rate for run in rows[0].runs]
    work = [1 / run.cpu for run in rows[0].runs if run.cpu]
    show(
        measure.say,
        f"Delivery, {batch} in a POST: {measure.seconds * A_SECOND:,} notifications, 64 connections, one core",
        ("operations/s", "of ceiling", "lowest–highest", "CPU µs", "of ceiling\nby CPU"),
        rows,
        lambda row: [
            f"{median(run.rate for run in row.runs):,.0f}",
            share([run.rate for run in row.runs], ceiling),
            spread([run.rate for run in row.runs]),
            f"{median(run.cpu for run in row.runs):.2f}",
            share([1 / run.cpu for run in row.runs if run.cpu], work),
        ],
    )


def _ceiling(receiver: Sink, seconds: int, _number: int) -> Delivered:
    before = cpu_seconds(receiver.process)
    rate = posts(receiver.port, SIZES[1], seconds).rate
    return Delivered(rate, (cpu_seconds(receiver.process) - before) * 1e6 / (rate * seconds))


def _client(client: str, receiver: Sink, batch: int, seconds: int, _number: int) -> Delivered:
    rate, cpu = client_load(client, receiver.port, SIZES[batch], seconds)
    return Delivered(rate * batch, cpu / batch)


def _backlog(backlog: Backlog, receiver: Sink, ground: Ground, batch: int, measure: Measure, _number: int) -> Delivered:
    counts = {"main": measure.seconds * A_SECOND}
    run = _delivered(backlog, receiver, ground, counts, ["main"])
    backlog.check(counts)
    if receiver.tally().calls > counts["main"] / batch * 1.1 + 10:
        raise VoidError("run void, the batches were not full")
    return run


def _delivered(
    backlog: Backlog, receiver: Sink, ground: Ground, counts: dict[str, int], awaited: Sequence[str]
) -> Delivered:
    """Let a deliverer work off a backlog; from the first call at the receiver until the last is settled."""
    backlog.refill(counts)
    receiver.tally(anew=True)
    with delivering(backlog.url, backlog.secret_key_file, ground.folder / "logs/deliver.log") as process:
        first = receiver.await_first(process)
        before = cpu_seconds(process)
        end = backlog.await_settled(awaited, process)
        cpu = cpu_seconds(process) - before
    total = sum(counts[endpoint_id] for endpoint_id in awaited)
    return Delivered(total / (end - first), cpu * 1e6 / total)


# ── bad endpoints ──


def isolation(engines: Sequence[str], ground: Ground, measure: Measure) -> None:
    """Measure and print what a dead endpoint and a slow one cost eight healthy ones."""
    with ExitStack() as stack:
        receiver = stack.enter_context(sink(ground.folder / "logs/sink.log"))
        slow = stack.enter_context(sink(ground.folder / "logs/slow.log", "--delay", str(DELAY)))
        contestants: list[Contestant[tuple[Delivered, Delivered]]] = []
        for engine in engines:
            backlog = place(engine, "isolation", ground)
            for endpoint_id in _healthy():
                backlog.register(endpoint_id, receiver.url, concurrency=8)
            backlog.register("dead", f"http://127.0.0.1:{free_port()}", concurrency=8)
            backlog.register("slow", slow.url, concurrency=8)
            contestants.append((f"cardtrail on {NAMES[engine]}", partial(_pair, backlog, receiver, ground, measure)))
        rows = alternate(contestants, measure.rounds, measure.say)
    show(
        measure.say,
        f"{HEALTHY} healthy endpoints alone, then beside a dead one and one that answers after {DELAY} s",
        ("alone\noperations/s", "beside\noperations/s", "of alone", "lowest–highest", "of alone\nby CPU"),
        rows,
        _isolation_figures,
    )


def _healthy() -> list[str]:
    return [f"healthy-{number}" for number in range(HEALTHY)]


def _pair(
    backlog: Backlog, receiver: Sink, ground: Ground, measure: Measure, number: int
) -> tuple[Delivered, Delivered]:
    """Return a turn alone and one beside, every other round in the other order."""
    each = measure.seconds * A_SECOND // HEALTHY
    alone = dict.fromkeys(_healthy(), each)
    turns = [alone, {**alone, "dead": each, "slow": each}]
    runs = []
    for counts in turns if number % 2 else turns[::-1]:
        runs.append(_delivered(backlog, receiver, ground, counts, _healthy()))
        backlog.check(alone)
    return (runs[0], runs[1]) if number % 2 else (runs[1], runs[0])


def _isolation_figures(row: Row[tuple[Delivered, Delivered]]) -> list[str]:
    alone, beside = [run[0] for run in row.runs], [run[1] for run in row.runs]
    shares = [after.rate / before.rate for before, after in row.runs]
    return [
        f"{median(run.rate for run in alone):,.0f}",
        f"{median(run.rate for run in beside):,.0f}",
        share([run.rate for run in beside], [run.rate for run in alone]),
        f"{min(shares):.3f}–{max(shares):.3f}",
        share([1 / run.cpu for run in beside if run.cpu], [1 / run.cpu for run in alone if run.cpu]),
    ]
