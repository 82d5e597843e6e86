"""Receives notifications, without and with an event loop; neither receiver knows a framework. Contract section 7.

What an answer tells the sender::

    204  taken, and committed; a duplicate, too
    400  nothing of this can ever be taken: do not send it again as it is
    401  a proof is missing or wrong
    404  no such issuer here
    413  too large or too many elements: send it in halves
    415  not JSON, or compressed
    503  not now; Retry-After says when

Whether an operation is new is judged by the mirror, each by itself, and never by `webhook-id`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any

from cardtrail.errors import SettingError
from cardtrail.issuer.gather import Gatherer
from cardtrail.issuer.mirror import AsyncMirror, Mirror, wall_clock
from cardtrail.issuer.receipt import Receipt
from cardtrail.issuer.trust import Trust
from cardtrail.issuer.way import Check, Desk, Given, Taking, headers_of
from cardtrail.protocol.certificate import HEADER

CHECK_SECONDS = 10.0
"""Longest time that an issuer's own asynchronous check may take."""


class Receiver(Desk):
    """Receives for programs without an event loop, such as WSGI applications; threads may share it."""

    def __init__(
        self, mirror: Mirror, trusts: Mapping[str, Trust], *, trusted_proxies: Sequence[str] = (),
        certificate_header: str = HEADER, wall: Callable[[], int] = wall_clock,
    ) -> None:  # fmt: skip
        """Take a mirror and what each issuer asks for; the rest as `Desk` has it. Raises SettingError."""
        super().__init__(trusts, trusted_proxies, certificate_header, wall)
        self.mirror = mirror
        if any(iscoroutinefunction(trust.authenticate) for trust in trusts.values()):
            raise SettingError("authenticate: an asynchronous check needs AsyncReceiver")

    def receive(self, headers: Given, body: bytes, issuer_id: str, *, peer: str = "") -> Receipt:
        """Take a notification in and return how to answer it. `peer` is the address that the call came from.

        Raises nothing that a call's content could bring about.
        """
        given = headers_of(headers)
        way = self.way(given, body, issuer_id, peer)
        try:
            step = next(way)
            while True:
                try:
                    found = self._done(step)
                except Exception as error:  # noqa: BLE001 -- the way decides what it means
                    step = way.throw(error)
                else:
                    step = way.send(found)
        except StopIteration as end:
            return self.noted(issuer_id, end.value, given)

    def _done(self, step: Check | Taking) -> Any:
        if isinstance(step, Check):
            return step.authenticate(step.headers)
        message = step.message
        return self.mirror.take(step.issuer_id, message.observed, mark=message.mark, sightings=message.sightings)


class AsyncReceiver(Desk):
    """Receives for programs with an event loop; what comes at the same time is committed together."""

    def __init__(
        self, mirror: AsyncMirror, trusts: Mapping[str, Trust], *, trusted_proxies: Sequence[str] = (),
        certificate_header: str = HEADER, wall: Callable[[], int] = wall_clock,
    ) -> None:  # fmt: skip
        """Take a mirror and what each issuer asks for; the rest as `Desk` has it. Raises SettingError."""
        super().__init__(trusts, trusted_proxies, certificate_header, wall)
        self.mirror = mirror
        self._gatherer = Gatherer(mirror, list(trusts))

    async def receive(self, headers: Given, body: bytes, issuer_id: str, *, peer: str = "") -> Receipt:
        """Take a notification in and return how to answer it. `peer` is the address that the call came from.

        Raises nothing that a call's content could bring about.
        """
        given = headers_of(headers)
        way = self.way(given, body, issuer_id, peer)
        try:
            step = next(way)
            while True:
                try:
                    found = await self._done(step)
                except Exception as error:  # noqa: BLE001 -- the way decides what it means
                    step = way.throw(error)
                else:
                    step = way.send(found)
        except StopIteration as end:
            return self.noted(issuer_id, end.value, given)

    async def _done(self, step: Check | Taking) -> Any:
        if isinstance(step, Taking):
            return await self._gatherer.take(step.issuer_id, step.message)
        answer = step.authenticate(step.headers)
        if not isawaitable(answer):
            return answer
        async with asyncio.timeout(CHECK_SECONDS):
            return await answer
