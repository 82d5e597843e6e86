"""The table about polling by budget: 90 days of a million made-up cards, some of whose notifications get lost.

Beside the real policy, at several budgets, stands asking for every open card each hour, and each day. Nothing is
measured here but what was asked for and for how long the mirror was wrong; no clock of this machine matters.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.polling_run import Simulation
from bench.polling_told import Staleness, Told, evenly, open_cards
from bench.polling_world import BEGIN, DAY, HOUR, World, world_of
from cardtrail.issuer.budget import Limits

DAYS = 90
SEED = 7
LOST = (0.01,)
RATES = (0.5, 2.0)
"""Budgets, calls a second over a whole day, for a million cards; at most five times as many in any second."""
WHOLE = 1_000_000
EVENLY = (("each hour", HOUR), ("each day", DAY))


@dataclass(frozen=True)
class Polled:
    """One way to poll, and what it came to."""

    name: str
    result: Staleness


def polled(cards: int, lost: float, rates: Sequence[float] = RATES, world: World | None = None) -> list[Polled]:
    """Return what each way of polling comes to; `rates` are for a million cards, and scaled to fewer."""
    world = world or world_of(cards, DAYS, SEED)
    told, by_day = Told(world, lost), days_of(world)
    ways = [Polled(f"every open card {name}", evenly(told, period)) for name, period in EVENLY]
    for rate in rates:
        scaled = rate * cards / WHOLE
        limits = Limits(per_second=max(1.0, 5 * scaled), per_day=max(1, round(scaled * DAY / 1e6)))
        ways.append(Polled(f"by budget, {rate:g} calls/s", Simulation(told, by_day, limits).run()))
    return ways


def days_of(world: World) -> "list[array[int]]":
    """Return the changes of each day."""
    days = [array("l") for _ in range(world.days)]
    for number, at in enumerate(world.at):
        days[(at - BEGIN) // DAY].append(number)
    return days


def polling(say: Console, cards: int = WHOLE, shares: Sequence[float] = LOST) -> None:
    """Print the table for each share of lost notifications."""
    say.print(f"[dim]making {cards:,} cards and what happens to them in {DAYS} days[/dim]")
    world = world_of(cards, DAYS, SEED)
    for lost in shares:
        ways = polled(cards, lost, world=world)
        _show(say, ways, f"{cards:,} cards in {DAYS} days, at most {open_cards(world):,} open, {lost:.1%} lost")


def _show(say: Console, ways: Sequence[Polled], title: str) -> None:
    table = Table(title=f"Polling without a feed: {title}", title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    headings = ("calls", "of hourly", "wrong: p50 h", "p90 h", "p99 h", "longest h", "never repaired")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for way in ways:
        result = way.result
        table.add_row(
            way.name, f"{result.calls:,}", f"{result.calls / ways[0].result.calls:.3f}", f"{result.p50:.1f}",
            f"{result.p90:.1f}", f"{result.p99:.1f}", f"{result.longest:.1f}", f"{result.unrepaired:.2%}",
        )  # fmt: skip
    say.print(table)
    say.print()
