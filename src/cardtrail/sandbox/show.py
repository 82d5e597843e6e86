"""Showing: a live table on a terminal, a line for each change elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cardtrail.core.status import ProductionStatus, ShipmentStatus
from cardtrail.sandbox.watch import WHOLE_WAY, Screen, Sight

_STYLES = {
    ProductionStatus.EXCEPTION: "yellow", ProductionStatus.RETURNED: "red", ProductionStatus.DATA_EXCEPTION: "red",
    ProductionStatus.CANCELED: "red", ShipmentStatus.DELIVERED: "green", ShipmentStatus.ATTEMPT_FAIL: "yellow",
    ShipmentStatus.EXCEPTION: "yellow",
}  # fmt: skip
_BAR_WIDTH = 18
_SHORT_ID = 11


class Lines:
    """A line for each change."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, sights: Sequence[Sight], changed: Sequence[Sight]) -> None:
        """Write what has changed."""
        del sights  # a log of changes has no use for what stayed
        for sight in changed:
            known = "  ".join(word for word in (sight.stage, sight.shipment, sight.remark) if word)
            self.say(f"{datetime.now():%H:%M:%S}  {sight.card_id}  {known}")  # noqa: DTZ005 -- for a person at a clock

    def say(self, text: str) -> None:
        """Write a line at once, also into a pipe."""
        self._file.write(text + "\n")
        self._file.flush()


class LiveTable:
    """A table that is drawn anew in its place; what is said stays above it."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live

    def show(self, sights: Sequence[Sight], changed: Sequence[Sight]) -> None:
        """Draw the table."""
        del changed
        self._live.update(table_of(sights, time.monotonic()), refresh=True)

    def say(self, text: str) -> None:
        """Print as it is: a line that was broken for the screen could not be pasted."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


def table_of(sights: Sequence[Sight], now: float) -> Table:
    """Return the cards as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("card", "order", "stage", "shipment", "since", "way"):
        table.add_column(name, no_wrap=True, justify="right" if name == "since" else "left")
    table.add_column("", no_wrap=True, overflow="ellipsis", style="dim")
    for sight in sights:
        style = _STYLES.get(sight.shipment) or _STYLES.get(sight.stage) or ""  # type: ignore[call-overload]  # open strings are no members
        table.add_row(
            sight.card_id, f"{sight.operation_id[:_SHORT_ID]}…", Text(sight.stage, style), Text(sight.shipment, style),
            f"{now - sight.since:.0f} s", _bar_of(sight, style), sight.remark,
        )  # fmt: skip
    return table


def _bar_of(sight: Sight, style: str) -> ProgressBar:
    colour = style or "cyan"
    return ProgressBar(WHOLE_WAY, sight.steps, _BAR_WIDTH, complete_style=colour, finished_style=colour)


@contextmanager
def screen_of(console: Console) -> Iterator[Screen]:
    """Return a live table on a terminal, else lines."""
    if not console.is_terminal:
        yield Lines(console.file)
        return
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        yield LiveTable(console, live)
