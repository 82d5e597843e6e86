"""Who tells the platform the stories: sites, carriers and the bank, over HTTP, again until they are answered."""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from random import Random
from typing import Any
from urllib.parse import urlencode

from cardtrail.platform.auth import wall_clock
from cardtrail.protocol.token import GRANT, TOKEN_PATH, make_assertion
from tests.hosting import Answer, call
from tests.prove.proxy import BROKEN
from tests.prove.story import Batch, Order, Told, resolved
from tests.serving import PRODUCER, key_of

TELLERS = 8
"""How many tell at once."""
LONGEST = 60.0
"""Longest time until a call must have been answered, seconds, whatever happens meanwhile."""
ANSWERED = 6.0
"""Longest wait for one answer."""
GOOD = frozenset({200, 202})


class Teller:
    """Tells batches over `seconds`, and writes down what was answered."""

    def __init__(self, port: int, made: Sequence[Batch], chance: Random, seconds: float) -> None:
        self.accepted = Counter[tuple[str, str]]()
        """How often each event was answered `accepted`."""
        self.known = Counter[tuple[str, str]]()
        """The same for `duplicate`."""
        self.refused = Counter[str]()
        self.orders: dict[Order, set[str]] = {}
        """The operations that each order was answered with; there should be one."""
        self.calls = 0
        self._port = port
        self._left = deque(made)
        self._chance = chance
        self._pause = seconds * TELLERS / max(1, len(made))
        self._names: dict[str, tuple[str, int]] = {}
        self._unordered = {each.name for batch in made for each in batch if isinstance(each, Order)}
        self._tokens: dict[str, str] = {}

    async def run(self) -> None:
        """Tell everything. Raises TimeoutError where something is not answered for too long."""
        await asyncio.gather(*(self._tell() for _ in range(TELLERS)))

    async def _tell(self) -> None:
        while self._left or self._unordered:
            if not self._left:
                await asyncio.sleep(0.05)  # others still order what events are to be told of
                continue
            batch = self._left.popleft()
            for each in batch:
                if isinstance(each, Order):
                    await self._order(each)
            await self._report([each for each in batch if isinstance(each, Told)])
            await asyncio.sleep(self._chance.uniform(0, 2 * self._pause))

    async def _report(self, told: Sequence[Told]) -> None:
        later = [each for each in told if each.name in self._unordered]
        if later:
            self._left.append(later)
            await asyncio.sleep(0.01)
        now = [each for each in told if each not in later]
        sent = [each if each.name is None else resolved(each, *self._names[each.name]) for each in now]
        if not sent:
            return
        answer = await self._until_answered(PRODUCER, "/ingest/v1/events", {"events": [each.event for each in sent]})
        for event, result in zip((each.event for each in sent), answer["results"], strict=True):
            key = event["source"], event["eventId"]
            if result["result"] == "rejected":
                self.refused[result["errorCode"]] += 1
            else:
                (self.accepted if result["result"] == "accepted" else self.known)[key] += 1

    async def _order(self, order: Order) -> None:
        path = f"/banking/v1/issuers/{order.issuer_id}/physicalCards/{order.card_id}/operations:production"
        body = {"distributionChannel": "CENTRAL", "issuerRequestId": order.request_id}
        answers = [await self._until_answered(order.issuer_id, path, body)]
        if self._chance.random() < 0.2:  # a bank that is not sure orders once more, and gets the same order
            answers.append(await self._until_answered(order.issuer_id, path, body))
        self.orders[order] = {answer["operationId"] for answer in answers}
        self._names[order.name] = answers[0]["operationId"], wall_clock()
        self._unordered.discard(order.name)

    async def _until_answered(self, party: str, path: str, body: object) -> Any:
        deadline = time.monotonic() + LONGEST
        data = json.dumps(body).encode()
        while time.monotonic() < deadline:
            token = await self._token(party)
            answer = await self._call(path, data, {"content-type": "application/json", "authorization": token})
            if answer is not None and answer.status in GOOD:
                return json.loads(answer.body)
            if answer is not None and answer.status == 401:
                self._tokens.pop(party, None)
            assert answer is None or answer.status in {401, 429, 500, 502, 503}, answer
            await asyncio.sleep(self._chance.uniform(0.02, 0.3))
        raise TimeoutError(f"{path} was not answered for {LONGEST:.0f} s")

    async def _token(self, party: str) -> str:
        if party not in self._tokens:
            body = urlencode(
                {"grant_type": GRANT, "assertion": make_assertion(party, "k1", key_of(party), wall_clock())}
            )
            answer = await self._call(TOKEN_PATH, body.encode(), {"content-type": "application/x-www-form-urlencoded"})
            if answer is None or answer.status != 200:
                return ""
            self._tokens[party] = f"Bearer {json.loads(answer.body)['access_token']}"
        return self._tokens[party]

    async def _call(self, path: str, data: bytes, headers: dict[str, str]) -> Answer | None:
        self.calls += 1
        try:
            async with asyncio.timeout(ANSWERED):
                return await call(self._port, path, data, headers)
        except BROKEN:
            return None
