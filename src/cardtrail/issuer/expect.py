"""Expected cards: the mirror is told which cards to hear of, so that one whose first notification was lost is missed.

A file has one card a line: CSV with a header that names `cardId`, or JSON Lines of objects that have it. `orderedAt`
says when it was ordered, if that was not just now. What a line has beside that is not looked at.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from cardtrail.errors import InputError
from cardtrail.issuer.due import CardKnowledge, due_of
from cardtrail.issuer.dwell import Dwell
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.take import locked
from cardtrail.protocol.codec import CARD_ID, instant

CHUNK = 1_000
"""Cards that are kept by one transaction."""
MAX_LINE = 65_536
"""Longest line, characters."""


class Expected(msgspec.Struct, frozen=True):
    """A card that was ordered; `ordered_at` in µs."""

    card_id: str
    ordered_at: int


async def expect(mirror: AsyncMirror, issuer_id: str, cards: Iterable[Expected]) -> int:
    """Have the mirror expect cards; return how many. Raises InputError or StoreUnavailable.

    A card that was settled is expected anew: it was ordered again.
    """
    count, waiting, dwell = 0, iter(cards), Dwell()
    while chunk := list(islice(waiting, CHUNK)):
        rows = {
            card.card_id: (issuer_id, card.card_id, *_due(card, mirror.clock(), dwell), card.ordered_at)
            for card in chunk
        }

        def work(tx: Any, rows: Any = rows) -> None:
            locked(tx, issuer_id)
            tx.each("expect_cards", [rows[card_id] for card_id in sorted(rows)])

        await mirror.db.transact(work)
        count += len(rows)
    return count


def _due(card: Expected, now: int, dwell: Dwell) -> tuple[int, int]:
    due = due_of(CardKnowledge("", "", "", card.ordered_at), now, dwell)
    return int(due.why), due.at


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


def cards_of(lines: Iterable[str], now: int) -> Iterator[Expected]:
    """Read cards from the lines of a file; `now` in µs. Raises InputError naming line and field.

    A file that begins with `{` is JSON Lines, every other is CSV.
    """
    numbered = iter(lines)
    first = next(numbered, "")
    rest = (line for group in ([first], numbered) for line in group)
    read = _objects(rest) if first.lstrip("\ufeff \t\r\n").startswith("{") else _records(rest)
    for number, members in read:
        yield _card(members, number, now)


def _objects(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip("\ufeff \t\r\n"):
            continue
        if len(line) > MAX_LINE:
            raise InputError(f"line {number}", f"longer than {MAX_LINE} characters")
        try:
            yield number, msgspec.json.decode(line.lstrip("\ufeff"), type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            raise InputError(f"line {number}", f"a JSON object expected: {error}") from None


def _records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(line.lstrip("\ufeff") for line in lines)
    if "cardId" not in (reader.fieldnames or ()):
        raise InputError("line 1", "a header that names cardId expected, or JSON objects")
    try:
        for members in reader:
            yield reader.line_num, members
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}", str(error)) from None


def _card(members: dict[str, Any], number: int, now: int) -> Expected:
    card_id, ordered_at = members.get("cardId"), members.get("orderedAt")
    if not isinstance(card_id, str) or not CARD_ID.fullmatch(card_id):
        raise InputError(f"line {number}: cardId", "1 to 48 of A-Z, a-z, 0-9, - and _ expected")
    if not ordered_at:
        return Expected(card_id, now)
    try:
        moment = datetime.fromisoformat(ordered_at)
    except (TypeError, ValueError):
        raise InputError(f"line {number}: orderedAt", "a time like 2026-11-01T08:00:00Z expected") from None
    return Expected(card_id, min(instant(moment, f"line {number}: orderedAt"), now))
