"""What is to be seen of each fault between sites or carriers and the platform."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.wire.content import CODE, MEMBER, SCAN_STATUS
from cardtrail.sandbox.wire.events import Event, EventWire, Outgoing
from cardtrail.sandbox.wire.kinds import Hop, Kind
from tests.faults.wire import effect
from tests.faults.wire_answers import SHIPPED, Asking, asking, operation_of

HOP = Hop.EVENTS


def scan(number: int, status: str = "InTransit", **members: Any) -> Event:
    """Return what a carrier reports of the parcel of `card-1`."""
    return {
        "eventId": f"s{number}", "source": "carrier:deutsch-post", "kind": "scanned", "carrier": "deutsch-post",
        "trackingNumber": "N1", "code": "AA", "status": status, "occurredAt": f"2026-01-06T08:00:0{number}.000+00:00",
    } | members  # fmt: skip


def request(card_id: str) -> Event:
    """Return what a site reports of a new card."""
    return {
        "eventId": f"r-{card_id}", "source": "site:north", "kind": "requested", "issuerId": ISSUER_ID,
        "cardId": card_id, "occurredAt": "2026-01-05T08:00:00.000+00:00",
    }  # fmt: skip


class Reporting:
    """A wire for events, and the platform that they are sent to."""

    def __init__(self, site: Asking) -> None:
        self.site = site
        self.wire = EventWire(site.faults, site.wire.recorder)
        self.wire.on_events([SHIPPED])

    async def send(self, *batch: Event) -> tuple[Outgoing, list[str]]:
        """Send a batch through the wire; return what became of it, and what the platform says of what arrived."""
        outgoing = self.wire.on_events(list(batch))
        return outgoing, await self.deliver(outgoing.now)

    async def deliver(self, events: list[Event]) -> list[str]:
        """Send events; return what the platform says of each."""
        if not events:
            return []
        answer = await self.site.report(*events)
        assert answer.status == 200, answer
        return [each["result"] for each in msgspec.json.decode(answer.body)["results"]]

    async def checkpoints(self) -> list[Any]:
        """Return what the platform tells of the parcel of `card-1`."""
        checkpoints: list[Any] = operation_of(await self.site.ask())["cardtrail"]["checkpoints"]
        return checkpoints


# ── each event ──


@effect(Kind.DROP, HOP)
async def dropped(folder: Path) -> None:
    async with asking(folder) as site:
        reporting = Reporting(site)
        site.faults.set("drop", HOP, cards=["card-1"])
        assert (await reporting.send(scan(1), request("card-2")))[1] == ["accepted"]
        site.faults.clear()
        assert (await reporting.send(scan(2)))[1] == ["accepted"]
        assert len(await reporting.checkpoints()) == 1


@effect(Kind.DELAY, HOP)
async def delayed(folder: Path) -> None:
    async with asking(folder) as site:
        reporting = Reporting(site)
        site.faults.set("delay", HOP, seconds=86_400 * 3)
        outgoing, results = await reporting.send(scan(1))
        [later] = outgoing.later
        assert (results, later.seconds) == ([], 86_400 * 3)
        assert await reporting.deliver(later.take()) == ["accepted"]
        assert (later.take(), len(await reporting.checkpoints())) == ([], 1)


@effect(Kind.REORDER, HOP)
async def reordered(folder: Path) -> None:
    async with asking(folder) as site:
        reporting = Reporting(site)
        site.faults.set("reorder", HOP, seconds=60)
        outgoing, results = await reporting.send(scan(1))
        assert results == []
        behind, results = await reporting.send(request("card-2"), scan(2))
        assert [event["eventId"] for event in behind.now] == ["s2", "s1"]
        assert results == ["accepted"] * 2
        assert [later.take() for later in (*outgoing.later, *behind.later)] == [[], [request("card-2")]]


@effect(Kind.DUPLICATE, HOP)
async def sent_twice(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("duplicate", HOP)
        assert (await Reporting(site).send(scan(1)))[1] == ["accepted", "duplicate"]


@effect(Kind.UNKNOWN_STATUS, HOP)
async def unknown_status(folder: Path) -> None:
    async with asking(folder) as site:
        reporting = Reporting(site)
        site.faults.set("unknown-status", HOP)
        outgoing, results = await reporting.send(scan(1), request("card-2"))
        assert ([event.get("status") for event in outgoing.now], results) == ([SCAN_STATUS, None], ["accepted"] * 2)
        shipment = operation_of(await site.ask())["details"]["shipment"]
        assert shipment.get("status") != "InTransit"  # unknown stays unknown


@effect(Kind.UNKNOWN_MEMBER, HOP)
async def unknown_member(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("unknown-member", HOP)
        outgoing, results = await Reporting(site).send(scan(1))
        assert (MEMBER in outgoing.now[0], results) == (True, ["accepted"])


@effect(Kind.UNKNOWN_CARRIER, HOP)
async def unknown_code(folder: Path) -> None:
    async with asking(folder) as site:
        reporting = Reporting(site)
        site.faults.set("unknown-carrier", HOP)
        assert (await reporting.send(scan(1)))[1] == ["accepted"]
        [checkpoint] = await reporting.checkpoints()
        assert checkpoint["code"] == CODE
        assert checkpoint["status"] not in ("InTransit", "Delivered")


@effect(Kind.CLOCK_SKEW, HOP)
async def skewed(folder: Path) -> None:
    async with asking(folder) as site:
        reporting = Reporting(site)
        site.faults.set("clock-skew", HOP, seconds=-3_600)
        event = scan(1)
        outgoing, results = await reporting.send(event)
        assert (outgoing.now[0]["occurredAt"], results) == ("2026-01-06T07:00:01.000+00:00", ["accepted"])
        assert event == scan(1)
        assert (await reporting.checkpoints())[0]["time"] == "2026-01-06T07:00:01.000Z"


# ── the call with them ──


@effect(Kind.SERVER_ERROR, HOP)
async def answered_500(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("500", HOP, count=1)
        assert (await site.ask()).status == 200
        assert [(await site.report(scan(1))).status for _ in range(2)] == [500, 200]


@effect(Kind.TOO_MANY, HOP)
async def answered_429(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("429", HOP, seconds=4.2)
        answer = await site.report(scan(1))
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")


@effect(Kind.TOKEN_EXPIRY, HOP)
async def token_expired(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("token-expiry", HOP)
        assert ((await site.report(scan(1))).status, (await site.ask()).status) == (401, 200)
        await site.fetch(who=1)
        assert (await site.report(scan(1))).status == 200


@effect(Kind.DATABASE_STALL, HOP)
async def stalled(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("database-stall", HOP, seconds=60)
        reporting = asyncio.create_task(site.report(scan(1)))
        assert not (await asyncio.wait([reporting], timeout=0.3))[0]
        assert (await site.ask()).status == 200
        await site.wire.close()
        assert (await reporting).status == 200


@effect(Kind.SLOW, HOP)
async def answered_slowly(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("slow", HOP, seconds=60)
        sending = asyncio.create_task(site.report(request("card-2")))
        async with asyncio.timeout(20):
            while not await site.history("card-2"):  # noqa: ASYNC110 - another connection writes it
                await asyncio.sleep(0.01)
        assert not (await asyncio.wait([sending], timeout=0.2))[0]
        sending.cancel()


@effect(Kind.TRUNCATED, HOP)
async def broken_off(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("truncated", HOP, cards=["card-2"])
        assert await site.lost(site.report(request("card-2"))) == "ConnectionResetError"
        assert await site.history("card-2") == []
        assert (await site.report(request("card-3"))).status == 200


@effect(Kind.RESET, HOP)
async def reset(folder: Path) -> None:
    async with asking(folder) as site:
        site.faults.set("reset", HOP, count=1)
        assert await site.lost(site.report(request("card-2"))) == "ConnectionResetError"
        [result] = msgspec.json.decode((await site.report(request("card-2"))).body)["results"]
        assert result["result"] == "duplicate"
