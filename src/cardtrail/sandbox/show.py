"""Showing: a live table on a terminal, a line for each change elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cardtrail.core.status import ProductionStatus, ShipmentStatus
from cardtrail.sandbox.watch import WHOLE_WAY, Screen, Sight

_STYLES: dict[str, str] = {
    ProductionStatus.EXCEPTION: "yellow", ProductionStatus.RETURNED: "red", ProductionStatus.DATA_EXCEPTION: "red",
    ProductionStatus.CANCELED: "red", ShipmentStatus.DELIVERED: "green", ShipmentStatus.ATTEMPT_FAIL: "yellow",
    ShipmentStatus.EXCEPTION: "yellow",
}  # fmt: skip
ORDER_WIDTH = 8
NARROW = 90
"""Widest table without room for remarks and wide gaps, characters."""
SPARE = 4
"""Columns that stay free on the right, so that the terminal's own `^C` does not break a line."""
_COLUMNS = {"card": 13, "order": ORDER_WIDTH, "production": 19, "shipment": 14, "since": 5, "way": WHOLE_WAY}
"""Widths in characters; the bar has one for each step."""


class Lines:
    """A line for each change."""

    def __init__(self, file: IO[str]) -> None:
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
        self._live.update(table_of(sights, time.monotonic(), self._console.width - SPARE), refresh=True)

    def say(self, text: str) -> None:
        """Print as it is: a line that was broken for the screen could not be pasted."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


def table_of(sights: Sequence[Sight], now: float, width: int) -> Table:
    """Return the cards as a table that keeps its shape on `width` characters; the remark takes what is left."""
    gap = 2 if width > NARROW else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim", width=width)
    for name, least in _COLUMNS.items():
        table.add_column(name, no_wrap=True, min_width=least, justify="right" if name == "since" else "left")
    table.add_column("", no_wrap=True, ratio=1, style="dim")
    for sight in sights:
        style = _STYLES.get(sight.shipment) or _STYLES.get(sight.stage) or ""
        table.add_row(
            sight.card_id, sight.operation_id[:ORDER_WIDTH], Text(sight.stage, style), Text(sight.shipment, style),
            f"{now - sight.since:.0f} s", _bar_of(sight, style), sight.remark if width > NARROW else "",
        )  # fmt: skip
    return table


def _bar_of(sight: Sight, style: str) -> ProgressBar:
    colour = style or "cyan"
    return ProgressBar(WHOLE_WAY, sight.steps, WHOLE_WAY, complete_style=colour, finished_style=colour)


@contextmanager
def screen_of(console: Console) -> Iterator[Screen]:
    """Return a live table on a terminal, else lines."""
    if not console.is_terminal:
        yield Lines(console.file)
        return
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        yield LiveTable(console, live)
