"""The desk of a case: fresh cards, signed calls, lines, and what the receiver says of a card."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any, Self

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from cardtrail.heed import heeded
from cardtrail.protocol.failure import Failure, failure_of, plain
from cardtrail.protocol.signature import Signer, headers_of
from cardtrail.sandbox.examine.answer import Answer, taken
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.case import Failed, Silent
from cardtrail.sandbox.examine.line import CONNECT_SECONDS, Line, connected
from cardtrail.sandbox.examine.picture import body_of, operation_id_of, picture

PREFIX = "exam-"
"""What every card of an examination begins with, so that it never meets a real one."""
CALL_SECONDS = 15.0
"""Longest time for an answer: as long as the platform waits, unless told otherwise."""
GRACE_SECONDS = 1.0
"""How long a receiver that answers before it has stored may take to show what it was told."""
LOOK_SECONDS = 0.05
"""Pause between two looks at its state."""
MAX_ANSWER = 4_194_304
"""Longest answer of the read hook, bytes."""
MAX_IDLE = 16
"""Most connections that are kept for the next calls."""


class Exam:
    """One examination of one receiver; `run_id` is in every id that it makes. Use it as a context."""

    def __init__(self, candidate: Candidate, run_id: str) -> None:
        self.candidate = candidate
        self.run_id = run_id
        self._numbers = count(1)
        self._signer = Signer([candidate.secret]) if candidate.secret else None
        self._http = _client(candidate, MAX_IDLE)
        self._fresh = _client(candidate, 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._fresh.close()

    # ── what goes out ──

    def card(self) -> str:
        """Return the id of a card that nobody has heard of."""
        return f"{PREFIX}{self.run_id}-{next(self._numbers)}"

    def headers(
        self, body: bytes, *, signer: Signer | None = None, webhook_id: str = "", age: int = 0
    ) -> dict[str, str]:
        """Return the headers of a call, signed where there is a secret, as of `age` seconds ago."""
        webhook_id = webhook_id or f"exam_{self.run_id}_{next(self._numbers)}"
        headers = {"content-type": "application/json", "user-agent": "cardtrail-examine"}
        if self.candidate.token:
            headers["authorization"] = f"Bearer {self.candidate.token}"
        signer = signer or self._signer
        return headers | (headers_of(signer, webhook_id, int(time.time()) - age, body) if signer else {})

    async def send(self, *operations: object, **members: object) -> Answer:
        """Send operations in one call, as the platform does; `members` stand beside them. Raises Silent."""
        return await self.post(body_of(*operations, **members))

    async def post(
        self, body: bytes, headers: Mapping[str, str] | None = None, *, issuer_id: str = "", method: str = "POST",
        path: str = "",
    ) -> Answer:  # fmt: skip
        """Send a body, with headers of one's own or else those of a good call. Raises Silent."""
        candidate = self.candidate
        url = candidate.origin + (path or candidate.path_of(issuer_id or candidate.issuer_id))
        sent = self.headers(body) if headers is None else dict(headers)
        return await self._call(method, url, sent, body if method == "POST" else None)

    async def tell(self, *operations: object) -> None:
        """Send operations one after the other, each of which must be taken. Raises Failed."""
        for number, operation in enumerate(operations, 1):
            taken(await self.send(operation), f"call {number} of {len(operations)}" if len(operations) > 1 else "")

    async def _call(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        """Make a call; where a kept connection had been closed meanwhile, as after an error, once more on a new one."""
        try:
            answer = await heeded(_answer_of(self._http, method, url, headers, body))
        except _CutOff:
            answer = await heeded(_answer_of(self._fresh, method, url, headers, body))
        return msgspec.structs.replace(answer, hide=self.candidate.hide)

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """Open a connection of its own. Raises Silent."""
        async with connected(self.candidate) as line:
            yield line

    # ── what the receiver says ──

    async def orders(self, card_id: str) -> list[dict[str, Any]]:
        """Return what the read hook shows of a card; nothing for one it has not heard of. Raises Failed."""
        url = f"{self.candidate.state.rstrip('/')}/{card_id}"
        answer = await self._call("GET", url, {"accept": "application/json"})
        if answer.status == 404:  # noqa: PLR2004 -- an HTTP status
            return []
        try:
            found = msgspec.json.decode(answer.body, type=_State) if answer.is_taken else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if found is None:
            raise Failed(f'the read hook answered {answer}; 404, or 200 with {{"operations":[…]}} expected')
        return found.operations

    async def settle(self) -> None:
        """Wait until the receiver shows what it was told last, for those that answer before they store."""
        marker = self.card()
        await self.tell(picture(marker))
        deadline = time.monotonic() + GRACE_SECONDS
        while not await self.orders(marker) and time.monotonic() < deadline:  # noqa: ASYNC110 -- it is elsewhere
            await asyncio.sleep(LOOK_SECONDS)

    async def shown(self, card_id: str, operation_id: str = "") -> tuple[str, str]:
        """Return stage and shipment status that the receiver shows of an order; empty texts where it has none.

        Without the id of an operation it is the card's first order, which the hook says is its newest.
        """
        orders = await self.orders(card_id)
        named = [each for each in orders if operation_id and each.get("operationId") == operation_id]
        details = _object((named or orders or [{}])[0].get("details"))
        return str(details.get("status") or ""), str(_object(details.get("shipment")).get("status") or "")

    async def expect(self, card_id: str, stage: str, shipment: str = "", *, newest: bool = False) -> None:
        """Raise Failed unless the receiver, when all is settled, shows this stage, and this shipment status if any.

        `newest` looks at the card's newest order, whichever that is, not at the one that `picture` makes.
        """
        await self.settle()
        wanted = (stage, shipment) if shipment else (stage,)
        operation_id = "" if newest else operation_id_of(card_id)
        deadline = time.monotonic() + GRACE_SECONDS
        while (seen := await self.shown(card_id, operation_id))[: len(wanted)] != wanted:
            if time.monotonic() > deadline:
                raise Failed(f"it shows {_said(seen)}; {_said(wanted)} expected")
            await asyncio.sleep(LOOK_SECONDS)

    async def expect_all(self, cards: Sequence[str], stage: str) -> None:
        """Raise Failed unless the receiver shows each of these cards in this stage."""
        await self.settle()
        missing = [card for card in cards if (await self.shown(card))[0] != stage]
        if missing:
            raise Failed(f"{len(missing)} of the {len(cards)} that were looked up are missing or wrong")

    async def expect_nothing(self, card_id: str) -> None:
        """Raise Failed where the receiver has stored what it should not; without a read hook it is not known."""
        if self.candidate.state:
            await self.settle()
            if await self.orders(card_id):
                raise Failed("it was stored nevertheless")


class _State(msgspec.Struct):
    """What the read hook answers; members beside the operations are not looked at."""

    operations: list[dict[str, Any]]


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _said(seen: Sequence[str]) -> str:
    return plain(" ".join(filter(None, seen))) or "nothing"


def _client(candidate: Candidate, idle: int) -> Client:
    """Return an HTTP client that goes nowhere but where it is sent: no proxy, no redirect, nothing unpacked.

    `idle` is how many connections it keeps for the next calls.
    """
    builder = (
        ClientBuilder().no_proxy().follow_redirects(enable=False).http1_only()
        .gzip(enable=False).brotli(enable=False).zstd(enable=False).deflate(enable=False)
        .timeout(timedelta(seconds=CALL_SECONDS)).connect_timeout(timedelta(seconds=CONNECT_SECONDS))
        .pool_max_idle_per_host(idle)
    )  # fmt: skip
    return (builder.add_root_certificate_pem(candidate.ca_pem) if candidate.ca_pem else builder).build()


class _CutOff(Silent):
    """The connection ended before the answer did."""


async def _answer_of(http: Client, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
    request = http.request(method, url).headers(headers)
    try:
        async with (request if body is None else request.body_bytes(body)).build_streamed() as response:
            data = await response.body_reader.read(MAX_ANSWER)
            return Answer(response.status, {}, b"" if data is None else data.to_bytes())
    except PyreqwestError as error:
        failure, text = failure_of(error)
        raise (_CutOff if failure is Failure.RESET else Silent)(f"no answer: {text}") from None
