"""The table keeps its shape on a narrow terminal, and says what both sides say; the lines below tell how it stands."""

import msgspec
import pytest
from rich.console import Console

from cardtrail.issuer.standing import Told
from cardtrail.sandbox.bank import PULL_SECONDS, Books
from cardtrail.sandbox.compare import Copy, Row, Sight
from cardtrail.sandbox.table import footer_of, keys_of, table_of

REWORK = Sight("card-demo-1", "op-1", 3, "CARD_PROD_EXCEPTION", "", "chip replaced, done again")
POSTED = Sight("card-demo-200", "op-2", 9, "CARD_SHIPPED", "OutForDelivery", "On its way to the recipient")
NEW = Sight("card-demo-3", "op-3", 2, "DATA_PREPARED")
ROWS = [
    Row(REWORK, 100.0, Copy(REWORK, Told.NOTIFIED)),
    Row(POSTED, 101.0, Copy(Sight("card-demo-200", "op-2", 7, "CARD_SHIPPED", "InTransit"), Told.ANSWERED, 4), 60.4),
    Row(NEW, 101.0, None, 157.4),
]
BOOKS = Books(url="http://127.0.0.1:54321", is_up=True, taken=1_234, pending=2, oldest=4.2, pulled=7.9, repaired=14)


def drawn(width: int, rows: list[Row] = ROWS) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table_of(rows, 160.4, width - 4))
    return capture.get().splitlines()


def test_80_columns_show_what_the_platform_says_and_what_the_mirror_says() -> None:
    head, *rows = (line.split() for line in drawn(80))
    assert head == ["card", "platform", "mirror", "told", "wrong"]
    assert rows[0] == ["card-demo-1", "3", "CARD_PROD_EXCEPTION", "3", "CARD_PROD_EXCEPTION", "notified"]
    assert rows[1] == ["card-demo-200", "9", "OutForDelivery", "7", "InTransit", "answered", "100", "s"]
    assert rows[2] == ["card-demo-3", "2", "DATA_PREPARED", "nothing", "yet", "3", "s"]


def test_100_columns_show_how_long_and_how_far_too() -> None:
    head, first, *_ = drawn(100)
    assert head.split() == ["card", "platform", "since", "way", "mirror", "told", "wrong"]
    assert "60 s" in first
    assert "recipient" not in "".join(drawn(100))


def test_a_wide_terminal_shows_what_was_inferred_and_remarks() -> None:
    head, _, second, _ = drawn(150)
    assert head.split() == ["card", "platform", "since", "way", "mirror", "told", "inferred", "wrong"]
    assert second.split("answered")[1].split()[0] == "4"
    assert "On its way to the recipient" in second


@pytest.mark.parametrize("width", [80, 95, 96, 100, 123, 124, 128, 140, 200])
def test_no_width_breaks_a_line_or_cuts_a_word(width: int) -> None:
    lines = drawn(width)
    assert len(lines) == 1 + len(ROWS)
    assert max(len(line.rstrip()) for line in lines) <= width - 4
    assert lines[1].count("CARD_PROD_EXCEPTION") == 2
    assert "OutForDelivery" in lines[2]
    assert "100 s" in lines[2]


def test_a_mirror_that_waits_for_a_notification_is_not_called_wrong() -> None:
    assert "s" not in drawn(80, [msgspec.structs.replace(ROWS[2], differs_since=160.0)])[1].split()


# ── below it ──


def told(books: Books, wrong: int = 0, width: int = 96) -> list[str]:
    return [line.plain for line in footer_of(books, wrong, width)]


def test_the_footer_tells_what_comes_in_what_is_lost_and_what_is_put_right() -> None:
    assert told(BOOKS) == [
        "receiver up at http://127.0.0.1:54321 · 1234 taken · 2 pending · oldest 4 s",
        "dropping off · 0 thrown away",
        f"mirror: no card wrong · 14 repaired · last pull 8 s ago, one every {PULL_SECONDS} s",
    ]
    assert told(BOOKS, width=66)[0] == "receiver up · 1234 taken · 2 pending · oldest 4 s"


@pytest.mark.parametrize(
    ("share", "dropping"),
    [(1.0, "dropping all notifications"), (0.3, "dropping 30% of the notifications"), (0.0, "dropping off")],
)
def test_the_footer_says_how_much_is_thrown_away(share: float, dropping: str) -> None:
    assert told(msgspec.structs.replace(BOOKS, share=share, thrown=12))[1] == f"{dropping} · 12 thrown away"


def test_the_footer_says_how_many_cards_are_wrong() -> None:
    assert told(BOOKS, 1)[2].startswith("mirror: 1 card wrong · 14 repaired")
    assert told(BOOKS, 2)[2].startswith("mirror: 2 cards wrong · 14 repaired")


def test_the_footer_says_when_the_receiver_is_stopped_and_when_nobody_has_asked_yet() -> None:
    first, _, third = told(msgspec.structs.replace(BOOKS, is_up=False, pulled=None))
    assert first == "receiver stopped · 1234 taken · 2 pending · oldest 4 s"
    assert "not pulled yet" in third


@pytest.mark.parametrize("width", [76, 96, 120])
def test_no_footer_is_wider_than_the_table(width: int) -> None:
    worst = Books(
        url="http://127.0.0.1:54321", is_up=False, taken=99_999, pending=1_000, oldest=999, share=0.3, thrown=99_999,
        pulled=999, repaired=9_999,
    )  # fmt: skip
    for books in (worst, msgspec.structs.replace(worst, is_up=True, pending=0)):
        assert max(map(len, [*told(books, 6, width), keys_of(books).plain])) <= width


def test_it_is_said_what_each_key_does_now() -> None:
    assert keys_of(BOOKS).plain == "d throws notifications away   r stops the receiver   p stops time"
    other = msgspec.structs.replace(BOOKS, share=0.3, is_up=False)
    assert keys_of(other).plain == "d lets notifications arrive again   r starts the receiver   p stops time"


def test_the_time_of_the_pretend_world_stands_below_and_its_key_says_what_it_does() -> None:
    running, paused = (
        Books(url="http://b", is_up=True, time=f"Mon 2026-01-05 06:00 UTC, {how}") for how in ("10x", "paused")
    )
    assert footer_of(running, 0, 120)[-1].plain == "it is Mon 2026-01-05 06:00 UTC, 10x"
    assert "p stops time" in keys_of(running).plain
    assert "p lets time go on" in keys_of(paused).plain
    assert len(footer_of(Books(url="http://b", is_up=True), 0, 120)) == 3
