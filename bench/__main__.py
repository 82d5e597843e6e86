"""`python -m bench`: cardtrail beside its floors and its peers, in alternating rounds, as tables."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from bench import looking, machine, notifying, outgoing, polling, reconciling, sections, simulating, taking
from bench.child import NotMeasuredError, unwind_on_signals
from bench.load import need_wrk
from bench.ours import OURS
from bench.peers import start as peers
from bench.rounds import Measure, start
from bench.servers import Ground, Server, Target

DATA = Path(__file__).with_name(".data")
SERVED = ("reads", "beside", "ingest", "feed", "pages")
"""Tables about servers that all run from the first round to the last."""
SECTIONS = (*SERVED, "delivery", "latency", "isolation", "notified", "received", "reconciled", "polling", "simulated")
FEW = 1_000
"""Orders in the databases of the other tables."""


def targets() -> list[Target]:
    """Return every row of the tables, the floor first."""
    return [peers.floor(), *OURS, peers.fastapi_stack(), peers.prism(), peers.wiremock()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    chosen = _parser().parse_args(arguments)
    say = Console(width=max(Console().width, 120), highlight=False)
    unwind_on_signals()
    try:
        need_wrk()
        _run(chosen, say)
    except NotMeasuredError as reason:
        say.print(str(reason), style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        say.print("stopped; every server has been ended", style="yellow")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--orders", type=int, help="orders in each database, default 1,000,000")
    parser.add_argument("--rounds", type=int, help="rounds of the first table, default 5; others take 3/5 of it")
    parser.add_argument("--seconds", type=int, help="length of one turn, default 6")
    parser.add_argument("--quick", action="store_true", help="10,000 orders, 2 rounds of 2 s: a minute")
    keys = ", ".join((*SECTIONS, *(target.key for target in targets())))
    parser.add_argument("--only", default="", help=f"tables and rows, with commas between: {keys}")
    return parser


def _run(chosen: argparse.Namespace, say: Console) -> None:
    orders = chosen.orders or (10_000 if chosen.quick else 1_000_000)
    rounds = chosen.rounds or (2 if chosen.quick else 5)
    measure = Measure(rounds, chosen.seconds or (2 if chosen.quick else 6), say)
    words = set(filter(None, chosen.only.split(",")))
    tables = [name for name in SECTIONS if name in words] or list(SECTIONS)
    say.print(machine.description())
    say.print(machine.warning(), style="yellow")
    stolen = machine.Stolen()
    fewer = Measure(max(1, measure.rounds * 3 // 5), max(1, measure.seconds * 2 // 3), measure.say)
    served = [name for name in SERVED if name in tables]
    if served:
        with ExitStack() as stack:
            ground = Ground(_fresh(DATA, stack), orders, stack)
            servers, troubles = start(_selected(words), ground, say)
            _measure(served, servers, troubles, measure, fewer)
    with ExitStack() as stack:
        _measure_outgoing(tables, _engines(words), Ground(_fresh(DATA, stack), FEW, stack), fewer)
    if "polling" in tables:
        polling.polling(say, 20_000 if chosen.quick else polling.WHOLE)
    if "simulated" in tables:
        simulating.simulating(say, 1_000 if chosen.quick else 10_000)
    say.print(f"The host gave {stolen.share():.0%} of the cores' working time to others.")


def _selected(words: set[str]) -> list[Target]:
    """Return the rows asked for, and always the floor. Raises NotMeasuredError for an unknown word."""
    every = targets()
    unknown = words - set(SECTIONS) - {target.key for target in every}
    if unknown:
        raise NotMeasuredError(f"no table or row is called {', '.join(sorted(unknown))}")
    rows = words - set(SECTIONS)
    return [target for target in every if not rows or target.key in rows or target.key == "floor"]


def _fresh(folder: Path, stack: ExitStack) -> Path:
    """Return an empty folder that goes when the run ends, however it ends."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _engines(words: set[str]) -> list[str]:
    """Return the engines asked for."""
    return [target.key for target in OURS if target.key in words] or [target.key for target in OURS]


def _measure(
    tables: Sequence[str], servers: list[Server], troubles: dict[str, str], measure: Measure, fewer: Measure
) -> None:
    taking = [server for server in servers if server.target.ingest_token]
    measure.say.print()
    if "reads" in tables:
        sections.reads(servers, troubles, measure)
    if "beside" in tables:
        sections.beside(taking, fewer)
    if "ingest" in tables:
        sections.taking_events(taking, fewer)
    if "feed" in tables:
        outgoing.feed(taking, fewer)
    if "pages" in tables:
        looking.looked(taking, fewer)


def _measure_outgoing(tables: Sequence[str], engines: Sequence[str], ground: Ground, measure: Measure) -> None:
    if "delivery" in tables:
        notifying.rates(engines, ground, measure)
    if "latency" in tables:
        outgoing.latencies(engines, ground, measure)
    if "isolation" in tables:
        notifying.isolation(engines, ground, measure)
    if "notified" in tables:
        outgoing.notified(engines, ground, measure)
    if "received" in tables:
        taking.received(engines, ground, measure)
    if "reconciled" in tables:
        reconciling.reconciled(engines, ground, measure)


if __name__ == "__main__":
    sys.exit(main())
