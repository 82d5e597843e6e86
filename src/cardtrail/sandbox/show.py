"""Showing: a live table on a terminal, a line for each change elsewhere."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cardtrail.core.status import ProductionStatus, ShipmentStatus
from cardtrail.sandbox.bank import Books
from cardtrail.sandbox.receiver import Known
from cardtrail.sandbox.watch import WHOLE_WAY, Screen, Sight

_STYLES: dict[str, str] = {
    ProductionStatus.EXCEPTION: "yellow", ProductionStatus.RETURNED: "red", ProductionStatus.DATA_EXCEPTION: "red",
    ProductionStatus.CANCELED: "red", ShipmentStatus.DELIVERED: "green", ShipmentStatus.ATTEMPT_FAIL: "yellow",
    ShipmentStatus.EXCEPTION: "yellow",
}  # fmt: skip
ORDER_WIDTH = 8
MIDDLE = 92
"""From this width on there is room for how long and how far, characters."""
WIDE = 124
"""From this width on there is room for everything, and for wide gaps."""
SPARE = 4
"""Columns that stay free on the right, so that the terminal's own `^C` does not break a line."""
_COLUMNS = {
    "card": (13, 0), "order": (ORDER_WIDTH, WIDE), "production": (19, 0), "shipment": (14, 0), "since": (5, MIDDLE),
    "way": (WHOLE_WAY, MIDDLE), "bank knows": (22, 0), "lag": (3, 0), "": (0, WIDE),
}  # fmt: skip
"""Width in characters, and from which width of the table on it is shown; the bar has one for each step."""
_RIGHT = ("since", "lag")
_BEHIND = "yellow"


class Lines:
    """A line for each change."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def show(self, sights: Sequence[Sight], changed: Sequence[Sight], books: Books) -> None:
        """Write what has changed."""
        del sights, books  # a log of changes has no use for what stayed
        for sight in changed:
            self._note(sight.card_id, sight.stage, sight.shipment, sight.remark)

    def hear(self, known: Known) -> None:
        """Write what the bank was told."""
        self._note(known.card_id, "bank notified:", known.stage, known.shipment, f"sequence {known.sequence}")

    def _note(self, *words: str) -> None:
        told = "  ".join(word for word in words if word)
        self.say(f"{datetime.now():%H:%M:%S}  {told}")  # noqa: DTZ005 -- for a person at a clock

    def say(self, text: str) -> None:
        """Write a line at once, also into a pipe."""
        self._file.write(text + "\n")
        self._file.flush()


class LiveTable:
    """A table that is drawn anew in its place; what is said stays above it."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live

    def show(self, sights: Sequence[Sight], changed: Sequence[Sight], books: Books) -> None:
        """Draw the table, and a line about the bank below it."""
        del changed
        width = self._console.width - SPARE
        table = table_of(sights, books.known, time.monotonic(), width)
        self._live.update(Group(table, "", footer_of(books, width)), refresh=True)

    def hear(self, known: Known) -> None:
        """Leave it to the next drawing."""

    def say(self, text: str) -> None:
        """Print as it is: a line that was broken for the screen could not be pasted."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


def table_of(sights: Sequence[Sight], known: Mapping[str, Known], now: float, width: int) -> Table:
    """Return the cards as a table of those columns that `width` characters have room for."""
    columns = {name: least for name, (least, room) in _COLUMNS.items() if width >= room}
    gap = 2 if width >= WIDE else 1
    table = Table(
        box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim", width=width if width >= WIDE else None
    )
    for name, least in columns.items():
        table.add_column(
            name, no_wrap=True, min_width=least, justify="right" if name in _RIGHT else "left",
            ratio=None if name else 1, style="" if name else "dim",
        )  # fmt: skip
    for sight in sights:
        cells = _cells_of(sight, known.get(sight.operation_id), now)
        table.add_row(*(cells[name] for name in columns))
    return table


def _cells_of(sight: Sight, known: Known | None, now: float) -> dict[str, RenderableType]:
    style = _STYLES.get(sight.shipment) or _STYLES.get(sight.stage) or ""
    # The bank may be ahead of us, who only look twice a second.
    lag = max(0, sight.sequence - (known.sequence if known else 0))
    return {
        "card": sight.card_id, "order": sight.operation_id[:ORDER_WIDTH], "production": Text(sight.stage, style),
        "shipment": Text(sight.shipment, style), "since": f"{now - sight.since:.0f} s", "way": _bar_of(sight, style),
        "bank knows": _told(known), "lag": Text(str(lag), _BEHIND if lag else "dim"), "": sight.remark,
    }  # fmt: skip


def _told(known: Known | None) -> Text:
    if known is None:
        return Text("   nothing yet", "dim")
    style = _STYLES.get(known.shipment) or _STYLES.get(known.stage) or ""
    return Text.assemble((f"{known.sequence:>2} ", "dim"), (known.shipment or known.stage, style))


def footer_of(books: Books, width: int) -> Text:
    """Return a line about the bank; its address stands in it where `width` characters have room."""
    state = Text("receiver up", "green") if books.is_up else Text("receiver stopped", _BEHIND)
    address = f" at {books.url}" if books.is_up else ""
    pending = f" · {books.pending} pending"
    waits = f" · oldest {books.oldest:.0f} s" if books.pending else ""
    tail = Text.assemble(f" · {books.notifications} notifications", (pending + waits, _BEHIND if waits else ""))
    whole = Text.assemble(state, address, tail)
    return whole if len(whole) <= width else Text.assemble(state, tail)


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
