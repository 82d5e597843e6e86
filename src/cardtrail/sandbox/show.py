"""Showing: a live table on a terminal, a line for each change elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live

from cardtrail.issuer.mirror import Change
from cardtrail.sandbox.bank import Books
from cardtrail.sandbox.compare import Row, Sight
from cardtrail.sandbox.table import footer_of, keys_of, table_of
from cardtrail.sandbox.watch import View

SECOND = 1_000_000
SPARE = 4
"""Columns that stay free on the right, so that the terminal's own `^C` does not break a line."""


class Lines:
    """A line for each change."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def show(self, rows: Sequence[Row], moved: Sequence[Sight], learned: Sequence[Change], books: Books) -> None:
        """Write what has changed on either side."""
        del rows, books  # a log of changes has no use for what stayed
        for sight in moved:
            self._note(sight.card_id, sight.stage, sight.shipment, sight.remark)
        for change in learned:
            self._note(change.card_id, _told(change), change.stage, change.shipment_status or "", _wrong(change))

    def _note(self, *words: str) -> None:
        told = "  ".join(word for word in words if word)
        self.say(f"{datetime.now():%H:%M:%S}  {told}")  # noqa: DTZ005 -- for a person at a clock

    def say(self, text: str) -> None:
        """Write a line at once, also into a pipe."""
        self._file.write(text + "\n")
        self._file.flush()


def _told(change: Change) -> str:
    return "mirror notified:" if change.source == "notification" else "mirror answered:"


def _wrong(change: Change) -> str:
    if change.wrong_since is None:
        return ""
    return f"(was wrong for at most {(change.learned_at - change.wrong_since) / SECOND:.0f} s)"


class LiveTable:
    """A table that is drawn anew in its place; what is said stays above it. `keys` are listened to."""

    def __init__(self, console: Console, live: Live, *, keys: bool) -> None:
        self._console = console
        self._live = live
        self._keys = keys

    def show(self, rows: Sequence[Row], moved: Sequence[Sight], learned: Sequence[Change], books: Books) -> None:
        """Draw the table, and below it how it stands between platform and bank."""
        del moved, learned
        now, width = time.monotonic(), self._console.width - SPARE
        wrong = sum(row.wrong_for(now) is not None for row in rows)
        parts: list[RenderableType] = [table_of(rows, now, width), "", *footer_of(books, wrong, width)]
        if self._keys:
            parts.append(keys_of(books))
        self._live.update(Group(*parts), refresh=True)

    def say(self, text: str) -> None:
        """Print as it is: a line that was broken for the screen could not be pasted."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def view_on(console: Console, *, keys: bool) -> Iterator[View]:
    """Return a live table on a terminal, else lines."""
    if not console.is_terminal:
        yield Lines(console.file)
        return
    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        yield LiveTable(console, live, keys=keys)
