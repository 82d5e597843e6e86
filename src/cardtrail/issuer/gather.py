"""Gathers messages that come at the same time: one transaction for all of an issuer that wait, each its own outcomes.

Whoever writes to an issuer's mirror does so alone, so while one transaction commits, the messages that come meanwhile
would each wait for a turn of its own. Together they need one.
"""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from cardtrail.db import Lanes
from cardtrail.errors import StoreUnavailable
from cardtrail.issuer.message import Message
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.standing import Outcome

MAX_WORK = 1_000
"""Most operations in one transaction; a message is never split."""
MAX_WAITING = 20_000
"""Most operations and messages of an issuer that may wait; the next sender is told to come again."""


class _Waiting(Struct, frozen=True):
    """A message, and where its outcomes go."""

    message: Message
    outcomes: "asyncio.Future[list[Outcome]]"

    @property
    def size(self) -> int:
        return 1 + len(self.message.observed)


class _Queue:
    """The messages of one issuer."""

    def __init__(self, mirror: AsyncMirror, issuer_id: str) -> None:
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._waiting: list[_Waiting] = []
        self._size = 0
        self._lanes = Lanes(1, self._drain)

    async def take(self, message: Message) -> list[Outcome]:
        this = _Waiting(message, asyncio.get_running_loop().create_future())
        if self._size + this.size > MAX_WAITING and self._waiting:
            raise StoreUnavailable(f"more than {MAX_WAITING} operations of {self._issuer_id} are waiting")
        self._waiting.append(this)
        self._size += this.size
        self._lanes.wake()
        return await asyncio.shield(this.outcomes)

    async def _drain(self) -> None:
        while self._waiting:
            group = self._next_group()
            try:
                outcomes = await self._put(group)
            except Exception as error:  # noqa: BLE001 -- each sender gets it as its own answer
                await self._fail(group, error)
                continue
            start = 0
            for each in group:
                end = start + len(each.message.observed)
                each.outcomes.set_result(outcomes[start:end])
                start = end

    def _next_group(self) -> list[_Waiting]:
        size, count = 0, 0
        for each in self._waiting:
            if count and size + each.size > MAX_WORK:
                break
            size, count = size + each.size, count + 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._size -= size
        return group

    async def _put(self, group: Sequence[_Waiting]) -> list[Outcome]:
        messages = [each.message for each in group]
        return await self._mirror.take(
            self._issuer_id,
            [observed for message in messages for observed in message.observed],
            mark=next((message.mark for message in reversed(messages) if message.mark is not None), None),
            sightings=[sighting for message in messages for sighting in message.sightings],
            messages=len(messages),
        )

    async def _fail(self, group: Sequence[_Waiting], error: Exception) -> None:
        """Answer a failed group; what is no fault of the store is tried alone, so that it fails only its sender."""
        alone = len(group) > 1 and not isinstance(error, StoreUnavailable)
        for each in group:
            outcomes = await self._tried(each) if alone else error
            if isinstance(outcomes, Exception):
                each.outcomes.set_exception(outcomes)
                each.outcomes.exception()  # read here once: a sender that hung up leaves no warning behind
            else:
                each.outcomes.set_result(outcomes)

    async def _tried(self, this: _Waiting) -> list[Outcome] | Exception:
        try:
            return await self._put([this])
        except Exception as error:  # noqa: BLE001 -- the sender's answer
            return error


class Gatherer:
    """Takes messages into a mirror, those of one issuer together. `issuers` are all that there are."""

    def __init__(self, mirror: AsyncMirror, issuers: Sequence[str]) -> None:
        self._queues = {issuer_id: _Queue(mirror, issuer_id) for issuer_id in issuers}

    async def take(self, issuer_id: str, message: Message) -> list[Outcome]:
        """Take a message in, and return what became of its operations. Raises what the mirror raises."""
        return await self._queues[issuer_id].take(message)
