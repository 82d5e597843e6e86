"""The world's way to the platform: real calls, by the bank for orders and by the producer for events."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import structlog

from cardtrail.errors import Refused, StoreUnavailable
from cardtrail.sandbox.call import BASE_PATH, INGEST_PATH, Caller
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.world import Wish

FIRST_SECONDS = 0.05
"""Wait before a call is made again; each further one is twice as long."""
RETRY_SECONDS = 1.0
"""The longest."""
_JWE_HEADER = b'{"alg":"ECDH-ES","enc":"A256GCM"}'

_log = structlog.get_logger()


class Feed:
    """Calls the platform until it answers; orders and events are known by their ids, so that repeating is safe."""

    def __init__(self, issuer_id: str, issuer: Caller, producer: Caller, seed: int) -> None:
        self._path = f"{BASE_PATH}/issuers/{issuer_id}/physicalCards/operations:production"
        self._issuer = issuer
        self._producer = producer
        self._chance = Random(f"{seed}|credentials")  # noqa: S311 -- they hold nothing

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        """Report events of sites and carriers; return their results. Raises Refused."""
        answer = await insist(lambda: self._producer.post(INGEST_PATH, {"events": events}))
        results: Sequence[Any] = answer["results"]
        return results

    async def order(self, wishes: Sequence[Wish]) -> Sequence[Refused | None]:
        """Have the bank order cards; return why each was refused, None where it was taken. Raises Refused for all."""
        cards = [
            {
                "cardId": wish.card_id, "issuerRequestId": wish.request_id, "distributionChannel": "CENTRAL",
                "services": {"issuance": "CREATION"}, "shipment": {}, "paymentApplication": {},
                "encryptedData": encrypted_nothing(self._chance),
            }
            for wish in wishes
        ]  # fmt: skip
        answer = await insist(lambda: self._issuer.post(self._path, {"cards": cards}))
        return [
            None if "operationId" in result else Refused(f"{result.get('errorCode')}: {result.get('error')}")
            for result in answer["results"]
        ]


def encrypted_nothing(chance: Random) -> str:
    """Return what has the shape of card credentials as a compact JWE, and holds nothing."""
    parts = (_JWE_HEADER, b"", chance.randbytes(12), chance.randbytes(48), chance.randbytes(16))
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call until it is answered. Raises Refused."""
    pause = FIRST_SECONDS
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            _log.warning("tried_again", error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS)
