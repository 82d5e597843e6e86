"""The feeder: a bank that orders cards, a site that makes them and a carrier that brings them, by real calls.

Each *slot* plays one card's story after another. The first slot is the card of the printed curl: slow, and ordered
again when its story has ended, so that there is always something to see. The others go on with new cards.
"""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import structlog

from cardtrail.errors import Refused, StoreUnavailable
from cardtrail.sandbox.call import BASE_PATH, INGEST_PATH, Caller
from cardtrail.sandbox.story import Ordered, Story, events_of

SLOTS = 6
"""Cards under way at once."""
MAX_CARDS = 500
"""Cards that are ordered before the fast slots rest for good, after three quarters of an hour or so."""
MAX_ROUNDS = 500
"""Times the first card is ordered: about eight hours."""
FIRST_PACE = (4.0, 4.0)
PACE = (0.8, 2.4)
"""Seconds between two events of the first card and of any other: from, to."""
FIRST_REST = (8.0, 8.0)
REST = (4.0, 16.0)
"""Seconds from the end of a story to the next order: from, to."""
RETRY_SECONDS = 1.0

_OPENING = (Story.HAPPY, Story.HAPPY, Story.REWORK, Story.HOLD, Story.MISSED, Story.RETURNED)
"""The first story of each slot, so that every run shows them all."""
_JWE_HEADER = b'{"alg":"ECDH-ES","enc":"A256GCM"}'

_log = structlog.get_logger()


class Feeder:
    """Moves cards. `issuer` and `producer` are two parties' calls; `seed` decides every choice that is made."""

    def __init__(self, issuer_id: str, issuer: Caller, producer: Caller, seed: int) -> None:
        self._issuer_id = issuer_id
        self._issuer = issuer
        self._producer = producer
        self._seed = seed
        self._run = f"sandbox-{time.time_ns() // 1_000_000:x}"
        self._cards = SLOTS
        self._orders = 0
        self._taken = 0
        self.cards = [card_id_of(number) for number in range(1, SLOTS + 1)]
        """The card of each slot."""
        self.begun = asyncio.Event()
        """Set when as many orders as there are slots were taken."""

    async def run(self) -> None:
        """Play until all is told."""
        async with asyncio.TaskGroup() as slots:
            for slot in range(SLOTS):
                slots.create_task(self._play_slot(slot))

    async def _play_slot(self, slot: int) -> None:
        chance = Random(f"{self._seed}-{slot}")  # noqa: S311 -- a story is no secret
        story = _OPENING[slot]
        pace, rest = (FIRST_PACE, FIRST_REST) if slot == 0 else (PACE, REST)
        for _ in range(MAX_ROUNDS):
            try:
                await self._play(self.cards[slot], story, pace, chance)
            except Refused as error:
                _log.error("story_ended_early", card=self.cards[slot], error=str(error))
            await asyncio.sleep(chance.uniform(*rest))
            if slot > 0:
                if self._cards >= MAX_CARDS:
                    return
                story = chance.choice(list(Story))
                self._cards += 1
                self.cards[slot] = card_id_of(self._cards)

    async def _play(self, card_id: str, story: Story, pace: tuple[float, float], chance: Random) -> None:
        order = await self._order(card_id, chance)
        for event in events_of(order, story, chance, datetime.now(UTC).date()):
            await asyncio.sleep(chance.uniform(*pace))
            await self._report(event | {"occurredAt": datetime.now(UTC).isoformat(timespec="milliseconds")})

    async def _order(self, card_id: str, chance: Random) -> Ordered:
        self._orders += 1
        path = f"{BASE_PATH}/issuers/{self._issuer_id}/physicalCards/{card_id}/operations:production"
        order = {
            "distributionChannel": "CENTRAL", "issuerRequestId": f"{self._run}-{self._orders}",
            "services": {"issuance": "CREATION"}, "shipment": {}, "paymentApplication": {},
            "encryptedData": encrypted_nothing(chance),
        }  # fmt: skip
        answer = await _insist(lambda: self._issuer.post(path, order))
        self._taken += 1
        if self._taken == SLOTS:
            self.begun.set()
        return Ordered(self._issuer_id, card_id, answer["operationId"])

    async def _report(self, event: dict[str, str]) -> None:
        answer = await _insist(lambda: self._producer.post(INGEST_PATH, {"events": [event]}))
        [result] = answer["results"]
        if result["result"] == "rejected":
            raise Refused(f"{event}: {result}")


def card_id_of(number: int) -> str:
    """Return the name of a demo card, counted from 1."""
    return f"card-demo-{number}"


def encrypted_nothing(chance: Random) -> str:
    """Return what has the shape of card credentials as a compact JWE, and holds nothing."""
    parts = (_JWE_HEADER, b"", chance.randbytes(12), chance.randbytes(48), chance.randbytes(16))
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def _insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call until it is answered; orders and events are known by their ids, so that repeating is safe."""
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            _log.warning("tried_again", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
