"""Retention: what waited too long goes, what was settled long ago is sealed. Small batches, so that nobody waits."""

from collections.abc import Callable, Iterable, Sequence

from cardtrail.db import Database, Row, Transaction

DAY = 86_400_000_000
"""Microseconds in a day."""
BATCH = 200
"""Most cards, parcels or orders of one transaction."""


class Sweep:
    """Removes and seals in small steps; `clock` gives domain time in µs, retention is in days, 0 keeps for ever."""

    def __init__(self, db: Database, clock: Callable[[], int], waiting_days: int, seal_days: int) -> None:
        self._db = db
        self._clock = clock
        self._waiting = waiting_days * DAY
        self._seal = seal_days * DAY

    async def run_once(self) -> int:
        """Do one batch of each; return how many cards, parcels and orders were swept."""
        now = self._clock()
        swept = 0
        if self._waiting:
            swept += await self._db.transact(lambda tx: _drop_waiting(tx, now - self._waiting, now))
        if self._seal:
            swept += await self._db.transact(lambda tx: _seal(tx, now - self._seal, now))
        return swept


def _drop_waiting(tx: Transaction, before: int, now: int) -> int:
    """Remove events whose order never came, with their keys, so that they could be sent again.

    What has found its order between the look and the lock stays.
    """
    cards = tx.all("waiting_cards", before=before, most=BATCH)
    emptied = {row[2:] for row in tx.each("parcels_of_cards", cards)}
    operations = _still_waiting(tx, "lock_operation_refs", tx.all("waiting_operations", before=before, most=BATCH), 3)
    tx.each("drop_operation_events", operations)
    tx.each("drop_operation_refs", operations)
    found = set(tx.all("waiting_parcels", before=before, most=BATCH))
    parcels = [key for key in _still_waiting(tx, "lock_parcels", found | emptied, 2) if key in found]
    tx.each("drop_parcel_events", parcels)
    tx.each("drop_parcels", parcels)
    cards = _still_waiting(tx, "lock_cards", cards, 2)
    _drop_cards(tx, cards)
    linked = {row[:2] for row in tx.each("links_of_parcels", [(*key, "", "") for key in sorted(emptied)])}
    tx.each("set_parcels_waiting", [(*key, now) for key in sorted(emptied - linked)])
    return len(operations) + len(parcels) + len(cards)


def _drop_cards(tx: Transaction, cards: Sequence[Row]) -> None:
    """Remove cards that have no order, with all they have."""
    tx.each("forget_card_events", [row[:2] for row in tx.each("keys_of_cards", cards)])
    tx.each("drop_events_of_cards", cards)
    tx.each("drop_links", cards)
    tx.each("drop_cards", cards)


def _still_waiting(tx: Transaction, lock: str, found: Iterable[Row], since: int) -> list[Row]:
    """Lock the rows with these keys; return the keys of those whose member `since` still says that they wait."""
    return [row[:2] for row in tx.each(lock, sorted(found)) if row[since] is not None]


def _seal(tx: Transaction, before: int, now: int) -> int:
    """Seal orders that were settled long ago."""
    return seal_cards(tx, sorted({row[:2] for row in tx.all("orders_to_seal", before=before, most=BATCH)}), before, now)


def seal_cards(tx: Transaction, cards: Sequence[Row], before: int, now: int) -> int:
    """Seal these cards' orders that ended and have not changed since `before`; return how many. Times are µs.

    Their events go but for the request, their picture stays. What was told of a parcel goes with the last order that
    travelled in it.
    """
    parcels = sorted({row[2:] for row in tx.each("parcels_of_cards", cards)})
    tx.each("lock_parcels", parcels)
    tx.each("lock_cards", cards)
    sealed = tx.each("seal_orders", [(*card, before, now) for card in cards])
    unsealed = set(tx.each("unsealed_of_cards", cards))
    whole = [card for card in cards if card not in unsealed]
    tx.each("forget_card_events", [row[:2] for row in tx.each("keys_of_cards", whole) if not row[2]])
    tx.each("drop_sealed_events", whole)
    tx.each("drop_parcel_events", tx.each("settled_parcels", parcels))
    return len(sealed)
