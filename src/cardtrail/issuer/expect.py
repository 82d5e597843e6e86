"""Expected cards: the mirror is told which cards to hear of, so that one whose first notification was lost is missed.

A file has one card a line: CSV with a header that names `cardId`, or JSON Lines of objects that have it. `orderedAt`
says when it was ordered; a card that was ordered again needs it. What a line has beside that is not looked at.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from cardtrail.db import Transaction
from cardtrail.errors import InputError
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.rows import Card, card_of, card_rows, known_of
from cardtrail.issuer.schedule import Schedule
from cardtrail.issuer.standing import FOLDED, Known
from cardtrail.issuer.take import locked
from cardtrail.protocol.codec import CARD_ID, instant

CHUNK = 1_000
"""Cards that are kept by one transaction."""
MAX_LINE = 65_536
"""Longest line, characters."""


class Expected(msgspec.Struct, frozen=True):
    """A card that was ordered; `ordered_at` in µs, None where it was not told."""

    card_id: str
    ordered_at: int | None = None


async def expect(mirror: AsyncMirror, issuer_id: str, cards: Iterable[Expected]) -> int:
    """Have the mirror expect cards; return how many. Raises InputError or StoreUnavailable.

    One that is known already stays as it is, unless it was ordered again after its newest order that is known.
    """
    count, waiting = 0, iter(cards)
    while chunk := list(islice(waiting, CHUNK)):
        count += await mirror.db.transact(_expecting(issuer_id, chunk, mirror.schedule, mirror.clock()))
    return count


def _expecting(issuer_id: str, chunk: Sequence[Expected], schedule: Schedule, now: int) -> Callable[[Transaction], int]:
    wanted = {card.card_id: card for card in chunk}
    pairs = [(issuer_id, card_id) for card_id in sorted(wanted)]

    def work(tx: Transaction) -> int:
        locked(tx, issuer_id)
        cards = {row[0]: card_of(row) for row in tx.each("cards", pairs)}
        orders: dict[str, list[Known]] = {}
        for known in map(known_of, tx.each("operations", pairs)):
            if known.operation in FOLDED:  # a refused change of an order, say, tells nothing of where the card is
                orders.setdefault(known.card_id, []).append(known)
        for card_id, each in wanted.items():
            card = cards.setdefault(card_id, Card(card_id=card_id, known_at=now, seen_at=now))
            if each.ordered_at is not None:  # else any order of the card is the expected one
                card.expected_at, card.asks = each.ordered_at, 0
                card.digest = None  # a question under way was asked before that, and plans nothing
                card.answer = "failed" if card.answer == "failed" else ""  # a failed question is no look at anything
            schedule.set(card, orders.get(card_id, ()), now)
        tx.each("put_cards", card_rows(issuer_id, [cards[card_id] for _, card_id in pairs]))
        return len(wanted)

    return work


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
        return Expected(card_id)
    try:
        moment = datetime.fromisoformat(ordered_at)
    except (TypeError, ValueError):
        raise InputError(f"line {number}: orderedAt", "a time like 2026-11-01T08:00:00Z expected") from None
    return Expected(card_id, min(instant(moment, f"line {number}: orderedAt"), now))
