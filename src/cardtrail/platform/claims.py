"""Claims: what a lane has in hand of the notifications to its endpoint. They live in memory only.

A claim is a read. What is in hand is not read again until it was settled; after a crash nothing has to be taken back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from cardtrail.db import Database, Row, Transaction
from cardtrail.platform.call import MAX_BODY, Message
from cardtrail.platform.feed import position_of
from cardtrail.platform.lease import LaneKey
from cardtrail.platform.outbox import EXACT, LIVE, REPLAY
from cardtrail.protocol.cursor import encode_cursor
from cardtrail.protocol.envelope import FRAME

MAX_READY = 1_000
"""Most notifications that are claimed and not yet being sent."""
DRY = 0.01
"""Seconds for which workers believe that nothing is due, after one of them has looked."""
_START = (-1, "")
"""Before every place in the queue: due at, id."""


class Claims:
    """The claims of one lane; `wall` gives process time in µs, `monotonic` seconds."""

    def __init__(self, db: Database, key: LaneKey, wall: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self.ready: deque[Message] = deque()
        self.cursor = ""
        """The issuer's high-water mark when something was read last."""
        self._db = db
        self._key = key
        self._wall = wall
        self._monotonic = monotonic
        self._in_hand: set[str] = set()
        self._let_go_meanwhile: set[str] = set()
        self._place = _START
        self._dry_until = 0.0
        self._refilling = asyncio.Lock()

    def begin(self) -> None:
        """Look from the start of the queue again: what was committed late may be due early."""
        self._place, self._dry_until = _START, 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in hand."""
        return not self._in_hand

    async def refill(self, most: int) -> bool:
        """Claim what is due, live traffic first; return whether there is any. One asks for all who wait."""
        async with self._refilling:
            if self.ready:
                return True
            if self._monotonic() < self._dry_until:
                return False
            rows = await self._read(lambda tx: self._claim(tx, max(1, min(MAX_READY, most))))
            self._in_hand.update(row[0] for row in rows)
            self.ready += map(_message_of, rows)
            if not self.ready:
                self._dry_until = self._monotonic() + DRY
            return bool(self.ready)

    def next_batch(self, most: int) -> list[Message]:
        """Take what goes into one call, by number and bytes; nothing where nothing is ready."""
        ready, batch, size = self.ready, list[Message](), FRAME
        while ready and len(batch) < most:
            size += len(ready[0].picture) + 1
            if batch and size > MAX_BODY:
                break
            batch.append(ready.popleft())
        return batch

    def put_back(self, batch: Sequence[Message]) -> None:
        """Have a batch ready again that was not sent."""
        self.ready.extendleft(reversed(batch))

    async def probes(self, most: int) -> list[Message]:
        """Read what an endpoint could be tried with, whatever it is due at; `hold` what is sent."""
        return [_message_of(row) for row in await self._read(lambda tx: self._probes(tx, most))]

    def hold(self, message: Message) -> None:
        """Have a probe in hand."""
        self._in_hand.add(message.notification_id)

    def forget(self, messages: Iterable[Message]) -> None:
        """Have these in hand no longer: they are settled, or will not be sent."""
        ids = [each.notification_id for each in messages]
        self._in_hand.difference_update(ids)
        self._let_go_meanwhile.update(ids)

    def let_go(self) -> None:
        """Let go of what was claimed and is not being sent."""
        self.forget(self.ready)
        self.ready.clear()

    # ── reading ──

    async def mark(self) -> str:
        """Return the issuer's high-water mark."""
        return await self._db.read(lambda tx: _mark(tx, self._key[0]))

    async def _read(self, claim: Callable[[Transaction], list[Row]]) -> list[Row]:
        """Read what may be claimed: not what is in hand, nor what was when the read began and may have been settled."""
        self._let_go_meanwhile.clear()
        rows = await self._db.read(claim)
        return [row for row in rows if row[0] not in self._in_hand and row[0] not in self._let_go_meanwhile]

    def _claim(self, tx: Transaction, most: int) -> list[Row]:
        """Read on from where the last claim ended, and from the start where that gives nothing; replays come last."""
        self.cursor = _mark(tx, self._key[0])
        for place in dict.fromkeys((self._place, _START)):
            rows = self._claim_of_lot(tx, LIVE, place, most)
            if rows:
                self._place = (rows[-1][5], rows[-1][0])
                return rows
        return self._claim_of_lot(tx, REPLAY, _START, most) or self._claim_of_lot(tx, EXACT, _START, most)

    def _claim_of_lot(self, tx: Transaction, lot: int, after: tuple[int, str], most: int) -> list[Row]:
        """Read what is due and not in hand; what is in hand comes first where nothing tells the place to begin."""
        more = len(self._in_hand) if lot != LIVE else 0
        rows = tx.all(
            "claim", issuer_id=self._key[0], endpoint_id=self._key[1], lot=lot, now=self._wall(),
            after_due=after[0], after_id=after[1], most=most + more,
        )  # fmt: skip
        return [row for row in rows if row[0] not in self._in_hand][:most]

    def _probes(self, tx: Transaction, most: int) -> list[Row]:
        self.cursor = _mark(tx, self._key[0])
        return tx.all("claim_probe", issuer_id=self._key[0], endpoint_id=self._key[1], most=most)


def _mark(tx: Transaction, issuer_id: str) -> str:
    return encode_cursor(position_of(tx, issuer_id))


def _message_of(row: Row) -> Message:
    notification_id, operation_id, lot, round_, attempts, due_at, picture, strict_length, cause = row
    return Message(notification_id, operation_id, lot, round_, attempts, due_at, bytes(picture), strict_length, cause)
