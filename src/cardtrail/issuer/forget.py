"""Forgetting: what a mirror keeps of a person's parcel is erased on request; where the card is, and was, stays.

What `erase.py` does not keep goes from the pictures of the card's orders and from the log of changes; samples of what
was not understood go as a whole. The orders are marked, and what is told of them later is erased before it is taken in.
"""

from collections.abc import Callable
from typing import NamedTuple

from cardtrail.db import Row, Transaction
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.issuer.erase import erased
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.standing import content_of
from cardtrail.issuer.take import WHOLE_KINDS, locked
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.trail import record
from cardtrail.protocol.reading import operation_of

ACTION = "card.forget"
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
    now = mirror.clock()

    def begin(tx: Transaction) -> Changed[tuple[int, int]]:
        tx.script(_ERASING)
        number = locked(tx, issuer_id)
        _require_settled(tx, issuer_id, card_id, travelling=travelling)
        orders = _rewrite_orders(tx, issuer_id, card_id, now)
        tx.run("forget_digest", issuer_id=issuer_id, card_id=card_id)
        return Changed(ACTION, f"{issuer_id}/{card_id}", None, {"orders": orders}, (orders, number))

    orders, last = await record(mirror.db, actor, now, begin)
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


def _rewrite_orders(tx: Transaction, issuer_id: str, card_id: str, now: int) -> int:
    rows: list[Row] = []
    for row in tx.all("pictures_of_card", issuer_id=issuer_id, card_id=card_id):
        picture = bytes(row[-1])
        if (without := erased(picture)) != picture:
            rows.append((issuer_id, card_id, row[1], without, content_of(operation_of(without)), now))
    tx.each("forget_operations", rows)
    return len(rows)


def _changes(issuer_id: str, card_id: str, after: int) -> Callable[[Transaction], int]:
    """Return the work that rewrites a card's changes among AT_ONCE numbers after one."""

    def work(tx: Transaction) -> int:
        tx.script(_ERASING)
        found = tx.all("changes_of_card", issuer_id=issuer_id, card_id=card_id, after=after, until=after + AT_ONCE)
        pictures = [(number, bytes(picture), erased(bytes(picture))) for number, picture in found]
        rows = [(issuer_id, number, without) for number, picture, without in pictures if picture != without]
        tx.each("forget_changes", rows)
        return len(rows)

    return work


async def _forget_samples(mirror: AsyncMirror, issuer_id: str, card_id: str) -> int:
    """Empty every sample that may be of the card."""
    last, emptied = ("", ""), 0
    while True:
        found = await mirror.db.read(_samples(issuer_id, *last))
        rows: list[Row] = [
            (issuer_id, kind, name, b"") for kind, name, sample in found if _may_be_of(kind, bytes(sample), card_id)
        ]
        if rows:
            await mirror.db.transact(_emptying(rows))
            emptied += len(rows)
        if len(found) < SAMPLES:
            return emptied
        last = (found[-1][0], found[-1][1])


def _may_be_of(kind: str, sample: bytes, card_id: str) -> bool:
    """Tell whether a sample may be of a card; of what cannot be read, or was cut off, nobody can tell otherwise."""
    if not sample:
        return False
    try:
        return kind in WHOLE_KINDS or operation_of(sample).card_id == card_id
    except InputError:
        return True


def _samples(issuer_id: str, kind: str, name: str) -> Callable[[Transaction], list[Row]]:
    return lambda tx: tx.all("samples_after", issuer_id=issuer_id, kind=kind, name=name, most=SAMPLES)


def _emptying(rows: list[Row]) -> Callable[[Transaction], None]:
    def work(tx: Transaction) -> None:
        tx.script(_ERASING)
        tx.each("forget_samples", rows)

    return work
