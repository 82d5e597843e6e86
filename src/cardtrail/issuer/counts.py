"""How many orders are at each place: counted in the transaction that moves them, so that no page counts orders."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from cardtrail.core.place import OTHER, PLACES, name_of
from cardtrail.db import Database, Transaction
from cardtrail.issuer.standing import FOLDED, Known, Taken

_PUBLISHED: Final = frozenset(PLACES)


def place_of(known: Known) -> str | None:
    """Return where an order is; None for an operation that says nothing of that.

    A server that invents words all the time makes no new places.
    """
    if known.operation not in FOLDED:
        return None
    name = name_of(known.stage, known.shipment_status, is_held=known.held)
    return name if name in _PUBLISHED else OTHER


async def recount(db: Database, issuer_id: str) -> None:
    """Count an issuer's orders anew, while nobody else writes to its mirror. Raises StoreUnavailable.

    Releases from before the counts move orders without counting, as long as they run beside this one.
    """

    def work(tx: Transaction) -> None:
        if tx.one("lock_issuer", issuer_id=issuer_id) is not None:
            tx.run("clear_standing", issuer_id=issuer_id)
            tx.run("recount", issuer_id=issuer_id)

    await db.transact(work)


def moves_of(orders: Iterable[Sequence[Taken]]) -> list[tuple[str, int]]:
    """Return how many orders more, or fewer, are at each place, sorted; an order's changes are in their order."""
    moves = Counter[str | None]()
    for changes in orders:
        before, now = changes[0].outcome.before, changes[-1].known
        moves[place_of(before) if before else None] -= 1
        moves[place_of(now) if now else None] += 1
    return sorted((place, count) for place, count in moves.items() if place is not None and count)
