"""Showing: a table on a terminal, and elsewhere a line for each change on either side."""

import io

from rich.console import Console

from cardtrail.issuer.mirror import Change
from cardtrail.issuer.standing import Told
from cardtrail.sandbox.bank import Books
from cardtrail.sandbox.compare import Copy, Row, Sight
from cardtrail.sandbox.show import Lines, view_on

POSTED = Sight("card-demo-2", "op-2", 9, "CARD_SHIPPED", "OutForDelivery", "On its way to the recipient")
ROWS = [Row(POSTED, 100.0, Copy(POSTED, Told.NOTIFIED))]
BOOKS = Books(url="http://127.0.0.1:54321", is_up=True)


def change(source: str, wrong_since: int | None = None) -> Change:
    return Change(
        number=1, card_id="card-demo-2", operation_id="op-2", outcome="applied", source=source, why="",
        learned_at=100_000_000, wrong_since=wrong_since, stage_before=None, shipment_before=None, stage="CARD_SHIPPED",
        shipment_status="InTransit", picture=b"{}",
    )  # fmt: skip


def lines(moved: list[Sight], learned: list[Change]) -> list[str]:
    file = io.StringIO()
    Lines(file).show(ROWS, moved, learned, BOOKS)
    return [line.split(maxsplit=1)[1] for line in file.getvalue().splitlines()]


def test_without_a_terminal_only_changes_are_written() -> None:
    assert lines([], []) == []
    assert lines([POSTED], []) == ["card-demo-2  CARD_SHIPPED  OutForDelivery  On its way to the recipient"]


def test_without_a_terminal_what_the_mirror_has_learned_is_a_line_that_says_how() -> None:
    assert lines([], [change("notification")]) == ["card-demo-2  mirror notified:  CARD_SHIPPED  InTransit"]
    assert lines([], [change("answer", 88_000_000)]) == [
        "card-demo-2  mirror answered:  CARD_SHIPPED  InTransit  (was wrong for at most 12 s)"
    ]


def test_a_terminal_gets_the_table_and_the_keys_where_they_are_listened_to() -> None:
    for keys in (True, False):
        console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
        with view_on(console, keys=keys) as view:
            view.show(ROWS, [POSTED], [], BOOKS)
        written = console.file.getvalue()  # type: ignore[attr-defined]  # it is the one that was given
        assert "platform" in written
        assert "receiver up" in written
        assert ("d throws notifications away" in written) is keys
