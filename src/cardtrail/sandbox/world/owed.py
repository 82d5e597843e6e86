"""What the platform has yet to hear of: kept until it has answered, and told in calls that it takes."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from cardtrail.errors import CardtrailError, Refused, StoreUnavailable
from cardtrail.protocol.codec import MAX_BODY
from cardtrail.sandbox.world.course import Event

MAX_BATCH = 1_000
"""Most events or orders of one call: what the platform takes at once."""
MAX_BYTES = MAX_BODY - 1_024
"""Most events of one call in another way: bytes of JSON, which with what is around them the platform takes."""


class Wish(msgspec.Struct, frozen=True):
    """A card that the bank orders at some time."""

    card_id: str
    request_id: str


class Outside(Protocol):
    """Where the world's doings go: to the platform, by whatever way.

    Either raises Refused where a call is refused as a whole, and StoreUnavailable where the same may succeed later.
    """

    async def report(self, events: Sequence[Event]) -> Sequence[Any]:
        """Report events; return each one's result, `accepted`, `duplicate` or `rejected`, as ingest answers it."""
        ...

    async def order(self, wishes: Sequence[Wish]) -> Sequence[CardtrailError | None]:
        """Have the bank order cards; return why each was not taken, None where it was.

        For one that may be taken later that is StoreUnavailable.
        """
        ...


class Owed:
    """Events and orders, the oldest first."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.wishes: list[Wish] = []

    @property
    def is_any(self) -> bool:
        """Whether there is anything of which the platform has not heard."""
        return bool(self.events or self.wishes)

    async def report(self, outside: Outside) -> Sequence[Any]:
        """Report the first events, as many as one call carries; return the results.

        Raises StoreUnavailable and keeps them, or Refused and does not.
        """
        batch = batch_of(self.events)
        try:
            results = await outside.report(batch)
        except Refused:
            del self.events[: len(batch)]
            raise
        del self.events[: len(batch)]
        return results

    async def order(self, outside: Outside, refused: Callable[[Wish, CardtrailError], None]) -> None:
        """Have the first cards ordered, as many as one call carries; `refused` hears of each that is not taken.

        Raises StoreUnavailable and keeps those that may be taken later, or Refused where all are refused at once.
        """
        asked = self.wishes[:MAX_BATCH]
        try:
            answers = await outside.order(asked)
        except Refused as error:
            del self.wishes[: len(asked)]
            for wish in asked:
                refused(wish, error)
            raise
        told = list(zip(asked, answers, strict=True))
        busy = {wish: answer for wish, answer in told if isinstance(answer, StoreUnavailable)}
        self.wishes[: len(asked)] = busy
        for wish, answer in told:
            if answer is not None and wish not in busy:
                refused(wish, answer)
        if busy:
            raise next(iter(busy.values()))


def batch_of(events: Sequence[Event]) -> Sequence[Event]:
    """Return the first events, as many as one call carries; one that is too large for any goes alone."""
    size = 0
    for count, event in enumerate(events[:MAX_BATCH]):
        size += len(msgspec.json.encode(event)) + 1
        if count and size > MAX_BYTES:
            return events[:count]
    return events[:MAX_BATCH]
