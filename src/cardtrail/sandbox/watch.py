"""What the platform answers about the demo's cards, asked twice a second: the demo shows answers, not intentions.

Beside it stands what the bank was told.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
import structlog

from cardtrail.core.status import MAIN_LINE, ProductionStatus, ShipmentStatus
from cardtrail.errors import CardtrailError
from cardtrail.sandbox.bank import Books
from cardtrail.sandbox.call import BASE_PATH, Caller
from cardtrail.sandbox.receiver import Known

EVERY = 0.5
"""Seconds between two looks."""

_log = structlog.get_logger()
_WAY = (
    *MAIN_LINE,
    ShipmentStatus.INFO_RECEIVED, ShipmentStatus.IN_TRANSIT, ShipmentStatus.OUT_FOR_DELIVERY, ShipmentStatus.DELIVERED,
)  # fmt: skip
WHOLE_WAY = len(_WAY) - 1
"""Steps from the request to the letter box."""
_BESIDE = {
    ProductionStatus.EXCEPTION: ProductionStatus.ONGOING,
    ProductionStatus.RETURNED: ShipmentStatus.DELIVERED,
    ShipmentStatus.ATTEMPT_FAIL: ShipmentStatus.OUT_FOR_DELIVERY,
    ShipmentStatus.EXCEPTION: ShipmentStatus.OUT_FOR_DELIVERY,
}
_STEPS = {str(status): step for step, status in enumerate(_WAY)}
_STEPS |= {str(status): _STEPS[near] for status, near in _BESIDE.items()}


class Sight(msgspec.Struct, frozen=True):
    """One card as the platform answers it; `since` is a moment of `time.monotonic`."""

    card_id: str
    operation_id: str
    sequence: int
    stage: str
    shipment: str
    remark: str
    since: float

    @property
    def steps(self) -> int:
        """How far it is on its way, 0 to WHOLE_WAY."""
        return max(_STEPS.get(self.stage, 0), _STEPS.get(self.shipment, 0))


class Screen(Protocol):
    """Where it is shown."""

    def show(self, sights: Sequence[Sight], changed: Sequence[Sight], books: Books) -> None:
        """Show all cards, and how it stands with the bank; `changed` are those of which there is news."""
        ...

    def hear(self, known: Known) -> None:
        """Show that the bank was notified."""
        ...

    def say(self, text: str) -> None:
        """Say something that stays."""
        ...


class Watch:
    """Looks at the cards that `cards()` names, and with `look` at the bank."""

    def __init__(
        self,
        issuer_id: str,
        issuer: Caller,
        cards: Callable[[], Sequence[str]],
        look: Callable[[], Awaitable[Books]],
        screen: Screen,
    ) -> None:
        self._path = f"{BASE_PATH}/issuers/{issuer_id}/physicalCards/productionStatus:batchGet"
        self._issuer = issuer
        self._cards = cards
        self._look = look
        self._screen = screen
        self._seen: dict[str, Sight] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.run_once()
            except CardtrailError as error:
                _log.warning("not_seen", error=str(error))
            await asyncio.sleep(EVERY)

    async def run_once(self) -> int:
        """Look once; return how many cards have changed. Raises Refused or StoreUnavailable."""
        answer = await self._issuer.post(self._path, {"cardIds": list(self._cards())})
        now = time.monotonic()
        sights = [sight_of(operation, now) for operation in answer["operations"]]
        changed = [sight for sight in sights if self._is_news(sight)]
        kept = [sight if sight in changed else self._seen[sight.card_id] for sight in sights]
        self._seen = {sight.card_id: sight for sight in kept}
        self._screen.show(kept, changed, await self._look())
        return len(changed)

    def _is_news(self, sight: Sight) -> bool:
        before = self._seen.get(sight.card_id)
        return before is None or (before.operation_id, before.sequence) != (sight.operation_id, sight.sequence)


def sight_of(operation: dict[str, Any], now: float) -> Sight:
    """Return what an operation of an answer says."""
    details = operation["details"]
    shipment = details.get("shipment", {})
    return Sight(
        operation["cardId"], operation["operationId"], operation["cardtrail"]["sequence"], details["status"],
        shipment.get("status", ""), details.get("reason") or shipment.get("message") or "", now,
    )  # fmt: skip
