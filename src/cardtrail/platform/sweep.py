"""Retention: what waited too long goes, what was settled long ago is sealed. Small batches, so that nobody waits."""

from collections.abc import Callable

from cardtrail.db import Database, Transaction

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
            swept += await self._db.transact(lambda tx: _drop_waiting(tx, now - self._waiting))
        if self._seal:
            swept += await self._db.transact(lambda tx: _seal(tx, now - self._seal, now))
        return swept


def _drop_waiting(tx: Transaction, before: int) -> int:
    """Remove events whose order never came, with their keys, so that they could be sent again."""
    parcels = tx.all("waiting_parcels", before=before, most=BATCH)
    tx.each("lock_parcels", sorted(parcels))
    tx.each("drop_parcel_events", parcels)
    tx.each("drop_parcels", parcels)
    cards = tx.all("waiting_cards", before=before, most=BATCH)
    locked = [row[:2] for row in tx.each("lock_cards", sorted(cards)) if row[2] is not None]
    tx.each("forget_card_events", [row[:2] for row in tx.each("keys_of_cards", locked)])
    tx.each("drop_events_of_cards", locked)
    tx.each("drop_cards", locked)
    return len(parcels) + len(cards)


def _seal(tx: Transaction, before: int, now: int) -> int:
    """Seal settled orders: their events go but for the request, their picture stays."""
    cards = sorted({row[:2] for row in tx.all("orders_to_seal", before=before, most=BATCH)})
    tx.each("lock_cards", cards)
    sealed = tx.each("seal_orders", [(*card, before, now) for card in cards])
    whole = [card for card in cards if not tx.each("unsealed_of_cards", [card])]
    tx.each("forget_card_events", [row[:2] for row in tx.each("keys_of_cards", whole) if not row[2]])
    tx.each("drop_sealed_events", whole)
    return len(sealed)
