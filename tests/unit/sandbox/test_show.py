"""Showing: the table keeps its shape on a narrow terminal, and tells what the bank knows."""

import io

import msgspec
import pytest
from rich.console import Console

from cardtrail.sandbox.bank import Books
from cardtrail.sandbox.receiver import Known
from cardtrail.sandbox.show import Lines, footer_of, table_of
from cardtrail.sandbox.watch import Sight

SIGHTS = [
    Sight("card-demo-1", "op-12345678abc", 3, "CARD_PROD_EXCEPTION", "", "chip replaced, done again", 100.0),
    Sight("card-demo-200", "op-22345678abc", 9, "CARD_SHIPPED", "OutForDelivery", "On its way to the recipient", 101.0),
    Sight("card-demo-3", "op-32345678abc", 2, "DATA_PREPARED", "", "", 101.0),
]
KNOWN = {
    "op-12345678abc": Known("card-demo-1", 3, "CARD_PROD_EXCEPTION"),
    "op-22345678abc": Known("card-demo-200", 7, "CARD_SHIPPED", "InTransit"),
}
BOOKS = Books(url="http://127.0.0.1:54321", is_up=True, notifications=1_234, pending=2, oldest=4.2, known=KNOWN)


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table_of(SIGHTS, KNOWN, 160.4, width - 4))
    return capture.get()


def test_80_columns_show_what_the_platform_says_and_what_the_bank_knows() -> None:
    head, *rows = (line.split() for line in drawn(80).splitlines())
    assert head == ["card", "production", "shipment", "bank", "knows", "lag"]
    assert rows[0] == ["card-demo-1", "CARD_PROD_EXCEPTION", "3", "CARD_PROD_EXCEPTION", "0"]
    assert rows[1] == ["card-demo-200", "CARD_SHIPPED", "OutForDelivery", "7", "InTransit", "2"]
    assert rows[2] == ["card-demo-3", "DATA_PREPARED", "nothing", "yet", "2"]


def test_100_columns_show_how_long_and_how_far_too() -> None:
    head, first, *_ = drawn(100).splitlines()
    assert head.split() == ["card", "production", "shipment", "since", "way", "bank", "knows", "lag"]
    assert "60 s" in first
    assert "recipient" not in drawn(100)


def test_a_wide_terminal_shows_orders_and_remarks() -> None:
    assert "op-12345 " in drawn(140)
    assert "On its way to the recipient" in drawn(150)


@pytest.mark.parametrize("width", [80, 95, 96, 100, 127, 128, 140, 200])
def test_no_width_breaks_a_line_or_cuts_a_word(width: int) -> None:
    lines = drawn(width).splitlines()
    assert len(lines) == 1 + len(SIGHTS)
    assert max(len(line.rstrip()) for line in lines) <= width - 4
    assert "CARD_PROD_EXCEPTION" in lines[1]
    assert "OutForDelivery" in lines[2]


def test_a_bank_that_is_ahead_of_the_last_look_does_not_lag() -> None:
    ahead = {"op-32345678abc": Known("card-demo-3", 5, "CARD_PROD_DONE")}
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(table_of(SIGHTS[2:], ahead, 160.4, 76))
    assert capture.get().splitlines()[1].split()[-3:] == ["5", "CARD_PROD_DONE", "0"]


def test_the_footer_tells_where_the_receiver_is_and_what_waits() -> None:
    assert footer_of(BOOKS, 96).plain == (
        "receiver up at http://127.0.0.1:54321 · 1234 notifications · 2 pending · oldest 4 s"
    )
    assert footer_of(BOOKS, 76).plain == "receiver up · 1234 notifications · 2 pending · oldest 4 s"


def test_the_footer_says_when_the_receiver_is_stopped_and_when_nothing_waits() -> None:
    stopped = msgspec.structs.replace(BOOKS, is_up=False)
    assert footer_of(stopped, 96).plain == "receiver stopped · 1234 notifications · 2 pending · oldest 4 s"
    calm = msgspec.structs.replace(BOOKS, pending=0)
    assert footer_of(calm, 96).plain.endswith(" · 0 pending")


def test_without_a_terminal_only_changes_are_written() -> None:
    file = io.StringIO()
    Lines(file).show(SIGHTS, SIGHTS[:1], BOOKS)
    [line] = file.getvalue().splitlines()
    assert line.split(maxsplit=1)[1] == "card-demo-1  CARD_PROD_EXCEPTION  chip replaced, done again"


def test_without_a_terminal_each_notification_is_a_line() -> None:
    file = io.StringIO()
    Lines(file).hear(KNOWN["op-22345678abc"])
    [line] = file.getvalue().splitlines()
    assert line.split(maxsplit=1)[1] == "card-demo-200  bank notified:  CARD_SHIPPED  InTransit  sequence 7"
