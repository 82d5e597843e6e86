"""How commands print: tables and grids for people, JSON for programs."""

import sys
from collections.abc import Mapping

import msgspec
from rich.console import Console
from rich.table import Table

from cardtrail.protocol.codec import timestamp


def print_all(*things: Table | str) -> None:
    """Print for a person; a name may hold brackets, so nothing in it is taken for markup."""
    Console(markup=False, highlight=False).print(*things, sep="\n")


def print_json(value: object) -> None:
    """Print for a program."""
    text = msgspec.json.encode(value, order="sorted")
    sys.stdout.write(msgspec.json.format(text, indent=2).decode() + "\n")


def table_of(*columns: str) -> Table:
    """Return an empty table; its first column is never folded."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    return table


def grid_of(members: Mapping[str, object]) -> Table:
    """Return a grid of names and values; a list has a line for each of its elements."""
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in members.items():
        grid.add_row(name, "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    return grid


def when(at: int | None) -> str:
    """Return µs to the second, in UTC, as short as a person reads it."""
    return "" if at is None else timestamp(at)[:19].replace("T", " ")


def plain(text: str) -> str:
    """Return somebody else's text without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
