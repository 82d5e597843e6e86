"""What is to be seen of each fault between the platform and a receiver."""

import asyncio
import time
from pathlib import Path

import pytest

from cardtrail.errors import Unauthorized
from cardtrail.protocol.reading import envelope_of, operation_of
from cardtrail.protocol.signature import StaleSignature, verify
from cardtrail.sandbox.wire.content import CARRIER, MEMBER, STATUS
from cardtrail.sandbox.wire.kinds import Hop, Kind
from tests.faults.wire import ONGOING, OTHER, READY, SHIPPED, Arrival, effect, notifying
from tests.signed import SECRET

HOP = Hop.NOTIFICATIONS


def is_good(arrival: Arrival) -> bool:
    """Tell whether a call bears a good signature of our secret, of now."""
    verify([SECRET], arrival.headers, arrival.body, int(time.time()))
    return True


@effect(Kind.DROP, HOP)
async def dropped(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("drop", HOP)
        assert (await wire.send(READY, OTHER)).status == 204
        wire.faults.clear()
        assert (await wire.send(ONGOING)).status == 202
        assert [each.stages for each in wire.arrived.calls] == [["CARD_PROD_ONGOING"]]
        assert wire.wire.thrown == 2


@effect(Kind.SERVER_ERROR, HOP)
async def answered_500(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("500", HOP, count=1)
        assert [(await wire.send(READY)).status for _ in range(2)] == [500, 202]
        assert len(wire.arrived.calls) == 1


@effect(Kind.TOO_MANY, HOP)
async def answered_429(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("429", HOP, seconds=7)
        answer = await wire.send(READY)
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert wire.arrived.calls == []


@effect(Kind.UNKNOWN_STATUS, HOP)
async def unknown_status(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("unknown-status", HOP, cards=["card-1"])
        assert (await wire.send(READY, OTHER)).status == 202
        [arrival] = wire.arrived.calls
        assert arrival.stages == [STATUS, "CARD_PROD_READY"]
        assert is_good(arrival)


@effect(Kind.UNKNOWN_MEMBER, HOP)
async def unknown_member(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("unknown-member", HOP)
        await wire.send(SHIPPED)
        [arrival] = wire.arrived.calls
        assert is_good(arrival)
        [told] = arrival.operations
        assert all(MEMBER in place for place in (told, told["details"], told["details"]["shipment"]))
        [raw] = envelope_of(arrival.body).elements
        assert f"details.shipment.{MEMBER}" in operation_of(raw).unknown


@effect(Kind.UNKNOWN_CARRIER, HOP)
async def unknown_carrier(folder: Path) -> None:
    async with notifying(folder) as wire:
        fault = wire.faults.set("unknown-carrier", HOP)
        await wire.send(READY)
        assert fault.struck == 0
        await wire.send(SHIPPED)
        assert wire.arrived.calls[1].operations[0]["details"]["shipment"]["carrier"] == CARRIER
        assert (fault.struck, is_good(wire.arrived.calls[1])) == (1, True)


@effect(Kind.CLOCK_SKEW, HOP)
async def skewed(folder: Path) -> None:
    async with notifying(folder) as wire:
        for seconds in (600, -200):
            wire.faults.set("clock-skew", HOP, seconds=seconds)
            await wire.send(READY)
        ahead, behind = wire.arrived.calls
        assert -602 < ahead.age < -598
        with pytest.raises(StaleSignature, match="seconds ahead"):
            is_good(ahead)
        assert 198 < behind.age < 202
        assert is_good(behind)


@effect(Kind.OLD_SIGNATURE, HOP)
async def signed_long_ago(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("old-signature", HOP)
        await wire.send(READY)
        [arrival] = wire.arrived.calls
        with pytest.raises(StaleSignature, match="seconds old"):
            is_good(arrival)
        verify([SECRET], arrival.headers, arrival.body, int(time.time()) - 3_600)


@effect(Kind.CORRUPT_SIGNATURE, HOP)
async def signed_wrongly(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("corrupt-signature", HOP)
        await wire.send(READY)
        [arrival] = wire.arrived.calls
        assert arrival.stages == ["CARD_PROD_READY"]
        with pytest.raises(Unauthorized, match="no signature of this call"):
            is_good(arrival)


@effect(Kind.KEY_ROTATION, HOP)
async def secret_rotated(folder: Path) -> None:
    async with notifying(folder) as wire:
        fault = wire.faults.set("key-rotation", HOP, seconds=60)
        assert [(await wire.send(READY)).status for _ in range(2)] == [202, 202]
        assert (wire.rotations, fault.struck, fault.is_spent) == ([60], 1, True)


@effect(Kind.DELAY, HOP)
async def delayed(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("delay", HOP, cards=["card-1"], seconds=0.2)
        assert (await wire.send(READY)).status == 204
        assert (await wire.send(OTHER)).status == 202
        arrivals = await wire.arrived.many(2)
        assert [each.operations[0]["cardId"] for each in arrivals] == ["card-2", "card-1"]
        assert is_good(arrivals[1])


@effect(Kind.REORDER, HOP)
async def reordered(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("reorder", HOP, seconds=60)
        assert (await wire.send(READY)).status == 204
        assert (await wire.send(ONGOING)).status == 202
        arrivals = await wire.arrived.many(2)
        assert [each.stages for each in arrivals] == [["CARD_PROD_ONGOING"], ["CARD_PROD_READY"]]
        wire.faults.set("reorder", HOP, seconds=0.1)
        assert (await wire.send(OTHER)).status == 204
        await wire.arrived.many(3)  # nothing came behind it, and it was not held for ever


@effect(Kind.DUPLICATE, HOP)
async def sent_twice(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("duplicate", HOP)
        assert (await wire.send(READY)).status == 202
        one, other = await wire.arrived.many(2)
        assert one == other


@effect(Kind.SLOW, HOP)
async def answered_slowly(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("slow", HOP, seconds=60)
        sending = asyncio.create_task(wire.send(READY))
        await wire.arrived.many(1)
        assert not (await asyncio.wait([sending], timeout=0.2))[0]
        sending.cancel()
        wire.faults.set("slow", HOP, seconds=0.05)
        assert (await wire.send(READY)).status == 202


@effect(Kind.TRUNCATED, HOP)
async def broken_off(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("truncated", HOP)
        assert await wire.lost(READY) == "ConnectionResetError"
        [arrival] = wire.arrived.calls
        assert not arrival.whole
        assert 0 < len(arrival.body) < int(arrival.headers["content-length"])


@effect(Kind.RESET, HOP)
async def reset(folder: Path) -> None:
    async with notifying(folder) as wire:
        wire.faults.set("reset", HOP)
        assert await wire.lost(READY) == "ConnectionResetError"
        [arrival] = wire.arrived.calls
        assert arrival.whole
