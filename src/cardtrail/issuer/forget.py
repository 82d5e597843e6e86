"""Forgetting: what a mirror keeps of a person's parcel is erased on request; where the card is, and was, stays.

Tracking numbers, links to carriers' pages, places and carriers' words go from the pictures of the card's orders, from
the log of changes, and with all the rest from samples of what was not understood. What a picture said stays known by
its hash, so that the same picture again is a repetition, and does not bring back what was erased. The platform must
have forgotten it first, or the next different answer will.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from cardtrail.db import Row, Transaction
from cardtrail.errors import Conflict, NotFound
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.take import locked
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.trail import record

ACTION = "card.forget"
IN_SHIPMENT = ("trackingNumber", "trackingUrl", "message")
IN_CHECKPOINT = ("location", "message")
"""Members of a picture that are erased."""
AT_ONCE = 5_000
"""Numbers of the log of changes that are looked at in one transaction, so that nobody waits for long."""
SAMPLES = 100
"""Samples that are looked at in one transaction."""
_ERASING = "PRAGMA secure_delete=ON; -- sqlite\n"
"""What is deleted from now on is overwritten in its pages, too."""


class Forgotten(NamedTuple):
    """How many orders, changes and samples were written anew."""

    orders: int
    changes: int
    samples: int


async def forget(
    mirror: AsyncMirror, issuer_id: str, card_id: str, actor: str, *, travelling: bool = False
) -> Forgotten:
    """Erase, and write down who did it, without what was erased. Once more does no harm, and goes on where it ended.

    With `travelling` also a card that may be told of yet. Raises NotFound for a card that the mirror does not keep,
    Conflict where it is not settled, StoreUnavailable.
    """

    def begin(tx: Transaction) -> Changed[tuple[int, int]]:
        tx.script(_ERASING)
        number = locked(tx, issuer_id)
        _require_settled(tx, issuer_id, card_id, travelling=travelling)
        orders = _rewrite_orders(tx, issuer_id, card_id)
        return Changed(ACTION, f"{issuer_id}/{card_id}", None, {"orders": orders}, (orders, number))

    orders, last = await record(mirror.db, actor, mirror.clock(), begin)
    changes = 0
    for after in range(0, last + 1, AT_ONCE):
        changes += await mirror.db.transact(_changes(issuer_id, card_id, after))
    return Forgotten(orders, changes, await _forget_samples(mirror, issuer_id, card_id))


def _require_settled(tx: Transaction, issuer_id: str, card_id: str, *, travelling: bool) -> None:
    row = tx.one("card", issuer_id=issuer_id, card_id=card_id)
    if row is None:
        raise NotFound(f"the mirror of {issuer_id} has no card {card_id}")
    if row[1] != "settled" and not travelling:
        raise Conflict(f"card {card_id} is {row[1]}: more may be told of it; --travelling forgets what is there")


def _rewrite_orders(tx: Transaction, issuer_id: str, card_id: str) -> int:
    rows: list[Row] = []
    for row in tx.all("pictures_of_card", issuer_id=issuer_id, card_id=card_id):
        picture = bytes(row[-1])
        if (without := without_parcel(picture)) != picture:
            rows.append((issuer_id, card_id, row[1], without))
    tx.each("forget_operations", rows)
    return len(rows)


def _changes(issuer_id: str, card_id: str, after: int) -> Callable[[Transaction], int]:
    """Return the work that rewrites a card's changes among AT_ONCE numbers after one."""

    def work(tx: Transaction) -> int:
        tx.script(_ERASING)
        found = tx.all("changes_of_card", issuer_id=issuer_id, card_id=card_id, after=after, until=after + AT_ONCE)
        pictures = [(number, bytes(picture), without_parcel(bytes(picture))) for number, picture in found]
        rows = [(issuer_id, number, without) for number, picture, without in pictures if picture != without]
        tx.each("forget_changes", rows)
        return len(rows)

    return work


async def _forget_samples(mirror: AsyncMirror, issuer_id: str, card_id: str) -> int:
    """Empty every sample in which the card is named: it may say anything, and may be cut off in the middle."""
    last, emptied = ("", ""), 0
    while True:
        found = await mirror.db.read(_samples(issuer_id, *last))
        rows: list[Row] = [
            (issuer_id, kind, name, b"") for kind, name, sample in found if card_id.encode() in bytes(sample)
        ]
        if rows:
            await mirror.db.transact(_emptying(rows))
            emptied += len(rows)
        if len(found) < SAMPLES:
            return emptied
        last = (found[-1][0], found[-1][1])


def _samples(issuer_id: str, kind: str, name: str) -> Callable[[Transaction], list[Row]]:
    return lambda tx: tx.all("samples_after", issuer_id=issuer_id, kind=kind, name=name, most=SAMPLES)


def _emptying(rows: list[Row]) -> Callable[[Transaction], None]:
    def work(tx: Transaction) -> None:
        tx.script(_ERASING)
        tx.each("forget_samples", rows)

    return work


def without_parcel(picture: bytes) -> bytes:
    """Return a picture of any server without what is erased; the very same bytes where there is nothing of that."""
    members: dict[str, Any] = msgspec.json.decode(picture)
    erased = [place.pop(name, None) for place, names in _places(members) for name in names]
    return msgspec.json.encode(members) if any(each is not None for each in erased) else picture


def _places(members: dict[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """Yield the objects of a picture that have something to erase, and the names of that."""
    details, extension = members.get("details"), members.get("cardtrail")
    shipment = details.get("shipment") if isinstance(details, dict) else None
    if isinstance(shipment, dict):
        yield shipment, IN_SHIPMENT
    checkpoints = extension.get("checkpoints") if isinstance(extension, dict) else None
    for each in checkpoints if isinstance(checkpoints, list) else ():
        if isinstance(each, dict):
            yield each, IN_CHECKPOINT
