"""The table of cards, platform and mirror beside each other, and the lines below it."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cardtrail.core.status import ProductionStatus, ShipmentStatus
from cardtrail.sandbox.bank import PULL_SECONDS, Books
from cardtrail.sandbox.compare import WHOLE_WAY, Row, Sight
from cardtrail.sandbox.wire.kinds import part_of

_STYLES: dict[str, str] = {
    ProductionStatus.EXCEPTION: "yellow", ProductionStatus.RETURNED: "red", ProductionStatus.DATA_EXCEPTION: "red",
    ProductionStatus.CANCELED: "red", ShipmentStatus.DELIVERED: "green", ShipmentStatus.ATTEMPT_FAIL: "yellow",
    ShipmentStatus.EXCEPTION: "yellow",
}  # fmt: skip
WORD_WIDTH = 22
PAUSED = "paused"
"""How the time is told to run that stands still."""
MIDDLE = 92
"""From this width on there is room for how long and how far, characters."""
WIDE = 120
"""From this width on there is room for everything, and for wide gaps."""
_COLUMNS = {
    "card": (13, 0), "platform": (WORD_WIDTH, 0), "since": (5, MIDDLE), "way": (WHOLE_WAY, MIDDLE),
    "mirror": (WORD_WIDTH, 0), "told": (8, 0), "inferred": (8, WIDE), "wrong": (7, 0), "": (0, WIDE),
}  # fmt: skip
"""Width in characters, and from which width of the table on it is shown; the bar has one for each step."""
_RIGHT = ("wrong", "inferred", "since")
_WRONG = "bold red"
_ATTENTION = "yellow"


def table_of(rows: Sequence[Row], now: float, width: int) -> Table:
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
    for row in rows:
        cells = _cells_of(row, now)
        table.add_row(*(cells[name] for name in columns))
    return table


def _cells_of(row: Row, now: float) -> dict[str, RenderableType]:
    truth, copy, wrong = row.truth, row.copy, row.wrong_for(now)
    inferred = copy.inferred if copy is not None else 0
    return {
        "card": truth.card_id, "platform": _word(truth),
        "mirror": Text("   nothing yet", "dim") if copy is None else _word(copy.sight),
        "told": "" if copy is None else Text(copy.told, "cyan" if copy.told == "answered" else ""),
        "wrong": Text("" if wrong is None else f"{wrong:.0f} s", _WRONG),
        "inferred": str(inferred) if inferred else "",
        "since": f"{now - row.since:.0f} s", "way": _bar_of(truth), "": truth.remark,
    }  # fmt: skip


def _word(sight: Sight) -> Text:
    return Text.assemble((f"{sight.sequence:>2} ", "dim"), (sight.word, _STYLES.get(sight.word, "")))


def _bar_of(sight: Sight) -> ProgressBar:
    colour = _STYLES.get(sight.word) or "cyan"
    return ProgressBar(WHOLE_WAY, sight.steps, WHOLE_WAY, complete_style=colour, finished_style=colour)


# ── below it ─────────────────────────────────────────────────────────────────────────────────────────────────


def footer_of(books: Books, wrong: int, width: int) -> list[Text]:
    """Return how the receiver, the wire before it and the mirror behind it are; `wrong` cards differ now.

    The receiver's address stands there where `width` characters have room.
    """
    lines = [_receiver(books, width), _wire(books), _mirror(books, wrong)]
    return [*lines, Text(f"it is {books.time}")] if books.time else lines


def _receiver(books: Books, width: int) -> Text:
    state = Text("receiver up", "green") if books.is_up else Text("receiver stopped", _ATTENTION)
    address = f" at {books.url}" if books.is_up else ""
    waits = f" · oldest {books.oldest:.0f} s" if books.pending else ""
    pending = (f" · {books.pending} pending{waits}", _ATTENTION if waits else "")
    tail = Text.assemble(f" · {books.taken} taken", pending)
    whole = Text.assemble(state, address, tail)
    return whole if len(whole) <= width else Text.assemble(state, tail)


def _wire(books: Books) -> Text:
    state = (f"dropping {part_of(books.share)} notifications", _WRONG) if books.share else "dropping off"
    return Text.assemble(state, f" · {books.thrown} thrown away")


def _mirror(books: Books, wrong: int) -> Text:
    state = (f"{wrong} card{'s' * (wrong > 1)} wrong", _WRONG) if wrong else ("no card wrong", "green")
    pulled = "not pulled yet" if books.pulled is None else f"last pull {books.pulled:.0f} s ago"
    return Text.assemble("mirror: ", state, f" · {books.repaired} repaired · {pulled}, one every {PULL_SECONDS} s")


def keys_of(books: Books) -> Text:
    """Return what each key does now."""
    drop = "lets notifications arrive again" if books.share else "throws notifications away"
    receiver = "stops the receiver" if books.is_up else "starts the receiver"
    time = "lets time go on" if books.time.endswith(PAUSED) else "stops time"
    keys = {"d": drop, "r": receiver, "p": time}
    return Text("   ").join(Text.assemble((f"{key} ", "bold"), (what, "dim")) for key, what in keys.items())
