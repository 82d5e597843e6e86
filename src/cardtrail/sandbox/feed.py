"""The world's way to the platform: real calls, by the bank for orders and by the producer for events."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from random import Random
from typing import Any

from cardtrail.errors import CardtrailError, Refused, StoreUnavailable
from cardtrail.sandbox.call import BASE_PATH, INGEST_PATH, Caller
from cardtrail.sandbox.world.course import Event
from cardtrail.sandbox.world.owed import Wish

_JWE_HEADER = b'{"alg":"ECDH-ES","enc":"A256GCM"}'


class Feed:
    """Calls the platform once at a time; orders and events are known by their ids, so that repeating is safe."""

    def __init__(self, issuer_id: str, issuer: Caller, producer: Caller, seed: int) -> None:
        self._path = f"{BASE_PATH}/issuers/{issuer_id}/physicalCards/operations:production"
        self._issuer = issuer
        self._producer = producer
        self._seed = seed

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        """Report events of sites and carriers; return their results. Raises Refused or StoreUnavailable."""
        answer = await self._producer.post(INGEST_PATH, {"events": events})
        results: Sequence[Any] = answer["results"]
        return results

    async def order(self, wishes: Sequence[Wish]) -> Sequence[CardtrailError | None]:
        """Have the bank order cards; return why each was not taken, None where it was.

        Raises Refused or StoreUnavailable for all.
        """
        answer = await self._issuer.post(self._path, {"cards": [self._card_of(wish) for wish in wishes]})
        return [None if "operationId" in result else error_of(result) for result in answer["results"]]

    def _card_of(self, wish: Wish) -> dict[str, object]:
        """Return an order on the wire: the same whenever it is made, since by its id another would be refused."""
        chance = Random(f"{self._seed}|credentials|{wish.request_id}")  # noqa: S311 -- they hold nothing
        return {
            "cardId": wish.card_id, "issuerRequestId": wish.request_id, "distributionChannel": "CENTRAL",
            "services": {"issuance": "CREATION"}, "shipment": {}, "paymentApplication": {},
            "encryptedData": encrypted_nothing(chance),
        }  # fmt: skip


def error_of(result: dict[str, Any]) -> CardtrailError:
    """Return why an order was not taken, as its result tells."""
    code, text = result.get("errorCode"), f"{result.get('errorCode')}: {result.get('error')}"
    return StoreUnavailable(text) if code == StoreUnavailable.code else Refused(text)


def encrypted_nothing(chance: Random) -> str:
    """Return what has the shape of card credentials as a compact JWE, and holds nothing."""
    parts = (_JWE_HEADER, b"", chance.randbytes(12), chance.randbytes(48), chance.randbytes(16))
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
