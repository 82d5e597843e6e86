"""Alternating rounds: all have their turn in every round, so that a noisy machine disturbs them alike.

All servers run for all rounds (a JVM and a page cache stay warm) and idle between their turns.
"""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Generic, TypeVar

from rich.console import Console
from rich.table import Table

from bench.child import NotMeasuredError, VoidError, running
from bench.load import load
from bench.servers import ROOT, Ground, Server, Target, serving

Run = TypeVar("Run")
Contestant = tuple[str, Callable[[int], Run]]
"""A name and what to do in round n, from 1 on; it may raise NotMeasuredError or VoidError."""


@dataclass(frozen=True)
class Measure:
    """How long (s) and how often."""

    rounds: int
    seconds: int
    say: Console


@dataclass
class Row(Generic[Run]):
    """A line of a table: the runs of one contestant, and what kept it from running."""

    name: str
    runs: list[Run] = field(default_factory=list)
    trouble: str = ""


def start(targets: Sequence[Target], ground: Ground, say: Console) -> tuple[list[Server], dict[str, str]]:
    """Prepare all, then start all; return the servers that run, and name -> why another does not."""
    servers: list[Server] = []
    ready, troubles = prepared(targets, ground, say)
    for target in ready:
        say.print(f"[dim]starting and warming {target.name}[/dim]")
        try:
            server = ground.stack.enter_context(serving(target, ground))
            load(server.port, ground.orders, target.warm_up, server.token)
            servers.append(server)
        except (NotMeasuredError, VoidError) as reason:
            troubles[target.name] = f"not measured: {reason}"
    return servers, troubles


def prepared(targets: Sequence[Target], ground: Ground, say: Console) -> tuple[list[Target], dict[str, str]]:
    """Return what could be prepared, and name -> why another could not; the databases are filled side by side."""
    troubles: dict[str, str] = {}
    with ExitStack() as fillings:
        begun = []
        for target in targets:
            say.print(f"[dim]preparing {target.name}[/dim]")
            try:
                begun.append((target, _filling(target, ground, fillings)))
            except NotMeasuredError as reason:
                troubles[target.name] = f"not measured: {reason}"
        for target, process in begun:
            if process is not None and process.wait() != 0:
                log = ground.folder / "logs" / f"fill-{target.key}.log"
                troubles[target.name] = f"not measured: {log.read_text(errors='replace')[-300:]}"
    return [target for target, _ in begun if target.name not in troubles], troubles


def _filling(target: Target, ground: Ground, fillings: ExitStack) -> subprocess.Popen[bytes] | None:
    """Start to fill a target's database; None where there is nothing to fill."""
    command = target.prepare(ground)
    if not command:
        return None
    log = ground.folder / "logs" / f"fill-{target.key}.log"
    return fillings.enter_context(running(command, log, ground.environment(target.env), ROOT))


def alternate(contestants: Sequence[Contestant[Run]], rounds: int, say: Console) -> list[Row[Run]]:
    """Return a row for each contestant, in order; one that fails is left out of later rounds."""
    rows: list[Row[Run]] = [Row(name) for name, _ in contestants]
    for number in range(1, rounds + 1):
        for row, (name, run) in zip(rows, contestants, strict=True):
            if row.trouble:
                continue
            say.print(f"[dim]round {number} of {rounds}: {name}[/dim]")
            try:
                row.runs.append(run(number))
            except (NotMeasuredError, VoidError) as reason:
                row.trouble = str(reason)
    return rows


def show(
    say: Console,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Row[Run]],
    figures: Callable[[Row[Run]], list[str]],
) -> None:
    """Print a line for each contestant with its figures and the number of its rounds; troubles below."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    for heading in (*headings, "rounds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        told = figures(row) if row.runs else ["–"] * len(headings)
        table.add_row(row.name, *told, str(len(row.runs)))
    say.print(table)
    for row in rows:
        if row.trouble:
            say.print(f"{row.name}: {row.trouble}", style="yellow", markup=False)
    say.print()


def share(rates: Sequence[float], base: Sequence[float]) -> str:
    """Return the median of the ratios within the same round."""
    shares = [rate / floor for rate, floor in zip(rates, base, strict=False)]
    return f"{median(shares):.3f}" if shares else "–"


def spread(rates: Sequence[float]) -> str:
    """Return the lowest and the highest."""
    return f"{min(rates):,.0f}–{max(rates):,.0f}"
