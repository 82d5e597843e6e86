"""What is to be seen of each fault between an issuer and the platform."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import msgspec

from cardtrail.platform.app import Platform, build
from cardtrail.platform.settings import Settings
from cardtrail.protocol.codec import etag_of
from cardtrail.protocol.token import GRANT, TOKEN_PATH, make_assertion
from cardtrail.sandbox.admit import ISSUER_ID, admit
from cardtrail.sandbox.call import BASE_PATH, INGEST_PATH, Pretender
from cardtrail.sandbox.wire.answers import AnswerWire
from cardtrail.sandbox.wire.content import CARRIER, MEMBER, STATUS
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.line import LineProtocol
from cardtrail.sandbox.wire.record import Recorder
from tests.faults.wire import effect
from tests.hosting import Answer, call, hosting

HOP = Hop.ANSWERS
JSON = {"content-type": "application/json"}
CARDS = f"{BASE_PATH}/issuers/{ISSUER_ID}/physicalCards"
REQUESTED = {
    "eventId": "e1", "source": "site:north", "kind": "requested", "occurredAt": "2026-01-05T08:00:00.000Z",
    "issuerId": ISSUER_ID, "cardId": "card-1",
}  # fmt: skip
SHIPPED = REQUESTED | {
    "eventId": "e2", "kind": "shipped", "occurredAt": "2026-01-05T09:00:00.000Z", "carrier": "deutsch-post",
    "trackingNumber": "N1",
}  # fmt: skip


class Asking:
    """A platform behind its wire, an issuer that asks it and a producer that reports to it."""

    def __init__(self, wire: AnswerWire, parties: tuple[Pretender, Pretender], port: int) -> None:
        self.wire = wire
        self.platform = wire.platform
        self.faults = wire.faults
        self.parties = parties
        self.port = port
        self.tokens = ["", ""]

    async def fetch(self, who: int = 0) -> Answer:
        """Fetch a token, for the issuer or for the producer; it is used from now on."""
        party = self.parties[who]
        assertion = make_assertion(party.party_id, party.kid, party.key, time.time_ns() // 1_000)
        answer = await call(
            self.port, TOKEN_PATH, msgspec.json.encode({"grant_type": GRANT, "assertion": assertion}), JSON
        )
        if answer.status == 200:
            self.tokens[who] = msgspec.json.decode(answer.body)["access_token"]
        return answer

    async def send(
        self, path: str, content: Any = None, method: str = "POST", who: int = 0, headers: dict[str, str] = JSON
    ) -> Answer:
        """Call with the token of one of them."""
        body = b"" if content is None else msgspec.json.encode(content)
        return await call(self.port, path, body, {**headers, "authorization": f"Bearer {self.tokens[who]}"}, method)

    async def ask(self, card_id: str = "card-1", headers: dict[str, str] = JSON) -> Answer:
        """Ask where a card is."""
        return await self.send(f"{CARDS}/{card_id}/productionStatus", None, "GET", headers=headers)

    async def order(self, card_id: str = "card-2", **members: str) -> Answer:
        """Order a card."""
        order = {"distributionChannel": "CENTRAL", "encryptedData": "e30.e30.e30.e30.e30", **members}
        return await self.send(f"{CARDS}/{card_id}/operations:production", order)

    async def report(self, *events: object) -> Answer:
        """Send events as the producer."""
        return await self.send(INGEST_PATH, {"events": events}, who=1)

    async def history(self, card_id: str) -> list[Any]:
        """Return all orders of a card, past the wire."""
        return await self.platform.db.read(lambda tx: tx.all("history", issuer_id=ISSUER_ID, card_id=card_id))

    async def lost(self, sending: Any) -> str:
        """Wait for a call; return how its connection ended without a whole answer."""
        try:
            await sending
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            return type(error).__name__
        return "answered"


@asynccontextmanager
async def asking(folder: Path, seed: int = 1, recorder: Recorder | None = None) -> AsyncIterator[Asking]:
    """Serve a platform with one card on its way, until the block ends; both parties have tokens."""
    platform = Platform(Settings(database=f"sqlite:///{folder}/cardtrail.db", deliver=False))
    recorder = recorder or Recorder(folder)
    parties = await admit(platform.db)
    wire = AnswerWire(build(platform), platform, Faults(seed), recorder)
    async with hosting(wire, http=LineProtocol, lifespan="on") as port:
        opened = Asking(wire, parties, port)
        for who in range(2):
            assert (await opened.fetch(who)).status == 200
        assert (await opened.report(REQUESTED, SHIPPED)).status == 200
        try:
            yield opened
        finally:
            await wire.close()
            recorder.close()


def operation_of(answer: Answer) -> Any:
    """Return the only operation of an answer."""
    [operation] = msgspec.json.decode(answer.body)["operations"]
    return operation


@effect(Kind.DROP, HOP)
async def dropped(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("drop", HOP, cards=["card-2"], seconds=0.1)
        assert await site.lost(site.order()) == "ConnectionResetError"
        assert (await site.ask()).status == 200
        assert await site.history("card-2") == []


@effect(Kind.SERVER_ERROR, HOP)
async def answered_500(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("500", HOP, count=1)
        answers = [await site.order(), await site.order()]
        assert [answer.status for answer in answers] == [500, 202]
        assert len(await site.history("card-2")) == 1


@effect(Kind.TOO_MANY, HOP)
async def answered_429(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("429", HOP, seconds=3)
        answer = await site.ask()
        assert (answer.status, answer.headers["retry-after"]) == (429, "3")
        assert msgspec.json.decode(answer.body)["errorCode"] == "TOO_MANY_REQUESTS"


@effect(Kind.SLOW, HOP)
async def answered_slowly(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("slow", HOP, seconds=60)
        ordering = asyncio.create_task(site.order())
        async with asyncio.timeout(20):
            while not await site.history("card-2"):  # noqa: ASYNC110 - another connection writes it
                await asyncio.sleep(0.01)
        assert not (await asyncio.wait([ordering], timeout=0.2))[0]
        ordering.cancel()
        site.faults.set("slow", HOP, seconds=0.05)
        assert (await site.ask()).status == 200


@effect(Kind.RESET, HOP)
async def reset(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("reset", HOP, count=1)
        assert await site.lost(site.order(issuerRequestId="r-1")) == "ConnectionResetError"
        [[picture, *_]] = await site.history("card-2")
        again = await site.order(issuerRequestId="r-1")
        assert msgspec.json.decode(again.body)["operationId"] == msgspec.json.decode(bytes(picture))["operationId"]


@effect(Kind.TRUNCATED, HOP)
async def broken_off(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("truncated", HOP)
        assert await site.lost(site.ask()) == "IncompleteReadError"


@effect(Kind.DUPLICATE, HOP)
async def arrives_twice(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("duplicate", HOP)
        assert (await site.order()).status == 202
        assert len(await site.history("card-2")) == 2
        assert (await site.order("card-3", issuerRequestId="r-1")).status == 202
        assert len(await site.history("card-3")) == 1


@effect(Kind.TOKEN_EXPIRY, HOP)
async def token_expired(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("token-expiry", HOP)
        for _ in range(2):
            answer = await site.ask()
            assert (answer.status, b"expired" in answer.body) == (401, True)
            assert "invalid_token" in answer.headers["www-authenticate"]
        await site.fetch()
        assert (await site.ask()).status == 200
        site.faults.set("token-expiry", HOP)
        assert (await site.ask()).status == 401


@effect(Kind.KEY_ROTATION, HOP)
async def key_rotated(folder: Path) -> None:
    async with asking(folder) as site:

        async def kids() -> set[str]:
            answer = await call(site.port, "/.well-known/jwks.json", b"", {}, "GET")
            return {key["kid"] for key in msgspec.json.decode(answer.body)["keys"]}

        before = await kids()
        site.faults.set("key-rotation", HOP)
        assert before < await kids()
        assert len(await kids()) == 2  # once, and not with every call
        assert (await site.ask()).status == 200


@effect(Kind.UNKNOWN_STATUS, HOP)
async def unknown_status(folder: Path) -> None:
    async with asking(folder) as site:
        before = await site.ask()
        site.faults.set("unknown-status", HOP, cards=["card-1"])
        answer = await site.ask(headers=JSON | {"if-none-match": before.headers["etag"]})
        assert operation_of(answer)["details"]["status"] == STATUS
        assert answer.headers["etag"] == etag_of(answer.body) != before.headers["etag"]
        many = await site.send(f"{CARDS}/productionStatus:batchGet", {"cardIds": ["card-1", "card-9"]})
        assert operation_of(many)["details"]["status"] == STATUS
        feed = await site.send(f"{CARDS}/operations", None, "GET")
        assert operation_of(feed)["details"]["status"] == STATUS
        site.faults.clear()
        assert (await site.ask(headers=JSON | {"if-none-match": before.headers["etag"]})).status == 304


@effect(Kind.UNKNOWN_MEMBER, HOP)
async def unknown_member(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("unknown-member", HOP)
        operation = operation_of(await site.ask())
        assert all(MEMBER in place for place in (operation, operation["details"], operation["details"]["shipment"]))
        ordered = msgspec.json.decode((await site.order()).body)
        assert ordered.keys() == {"operationId", MEMBER}


@effect(Kind.UNKNOWN_CARRIER, HOP)
async def unknown_carrier(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("unknown-carrier", HOP)
        assert operation_of(await site.ask())["details"]["shipment"]["carrier"] == CARRIER


@effect(Kind.CLOCK_SKEW, HOP)
async def skewed(folder: Path) -> None:
    async with asking(folder) as site:
        for seconds, why in ((600, b"expired"), (-600, b"not valid yet")):
            site.faults.set("clock-skew", HOP, seconds=seconds)
            refused = await site.fetch()
            assert (refused.status, why in refused.body) == (400, True)
            ahead = (parsedate_to_datetime((await site.ask()).headers["date"]) - datetime.now(UTC)).total_seconds()
            assert seconds - 3 < ahead < seconds + 3
        site.faults.set("clock-skew", HOP, seconds=30)
        assert (await site.fetch()).status == 200


@effect(Kind.DATABASE_STALL, HOP)
async def stalled(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("database-stall", HOP, seconds=60)
        assert (await site.ask()).status == 200
        ordering = asyncio.create_task(site.order())
        assert (await site.ask()).status == 200
        assert not (await asyncio.wait([ordering], timeout=0.3))[0]
        await site.wire.close()
        assert (await ordering).status == 202
