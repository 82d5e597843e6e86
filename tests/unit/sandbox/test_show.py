"""Showing: the table keeps its shape on a narrow terminal."""

import io

from rich.console import Console

from cardtrail.sandbox.show import Lines, table_of
from cardtrail.sandbox.watch import Sight

SIGHTS = [
    Sight("card-demo-1", "op-12345678abc", 3, "CARD_PROD_EXCEPTION", "", "chip replaced, done again", 100.0),
    Sight("card-demo-200", "op-22345678abc", 9, "CARD_SHIPPED", "OutForDelivery", "On its way to the recipient", 101.0),
]


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table_of(SIGHTS, 160.4, width - 4))
    return capture.get()


def test_nothing_but_the_remark_gives_way_on_80_columns() -> None:
    head, *rows = drawn(80).splitlines()
    assert head.split() == ["card", "order", "production", "shipment", "since", "way"]
    assert "card-demo-1 " in rows[0]
    assert "CARD_PROD_EXCEPTION" in rows[0]
    assert "60 s" in rows[0]
    assert "OutForDelivery" in rows[1]
    assert "card-demo-200" in rows[1]
    assert "recipient" not in drawn(80)


def test_a_wide_terminal_shows_remarks() -> None:
    assert "On its way to the recipient" in drawn(130)


def test_without_a_terminal_only_changes_are_written() -> None:
    file = io.StringIO()
    Lines(file).show(SIGHTS, SIGHTS[:1])
    [line] = file.getvalue().splitlines()
    assert line.split(maxsplit=1)[1] == "card-demo-1  CARD_PROD_EXCEPTION  chip replaced, done again"
