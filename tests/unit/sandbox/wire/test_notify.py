"""The wire for notifications where faults meet, where it ends, and what it costs when there is none."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.issuer.asgi import Receive, Scope, Send
from cardtrail.protocol.codec import MAX_BODY
from cardtrail.protocol.signature import verify
from cardtrail.sandbox.wire import later, notify
from cardtrail.sandbox.wire.content import STATUS
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.notify import NotificationWire
from cardtrail.sandbox.wire.record import exchanges_of
from tests.faults.wire import ONGOING, OTHER, READY, SHIPPED, notifying
from tests.hosting import call
from tests.signed import SECRET

N = Hop.NOTIFICATIONS


async def unused(*_: Any) -> Any:
    raise AssertionError("nobody asks for it")


def test_with_no_fault_and_no_record_a_call_is_handed_on_as_it_is() -> None:
    given: list[tuple[Any, ...]] = []

    async def receiver(scope: Scope, receive: Receive, send: Send) -> None:
        given.append((scope, receive, send))

    wire = NotificationWire(receiver, Faults(1), secrets=unused, rotate=unused)
    scope = {"type": "http", "path": "/x"}
    asyncio.run(wire(scope, unused, unused))
    [(passed, receive, send)] = given
    assert passed is scope
    assert receive is send is unused


def test_the_same_seed_and_the_same_calls_meet_the_same_fate_on_the_wire(tmp_path: Path) -> None:
    async def fates(seed: int) -> list[int]:
        folder = tmp_path / str(seed)
        folder.mkdir(exist_ok=True)
        async with notifying(folder, seed) as wire:
            for kind, rate in (("drop", 0.3), ("500", 0.2), ("unknown-status", 0.5)):
                wire.faults.set(kind, N, rate=rate)
            return [(await wire.send(READY)).status for _ in range(60)]

    first, again, other = (asyncio.run(fates(seed)) for seed in (7, 7, 8))
    assert first == again != other
    assert set(first) == {202, 204, 500}


def test_several_faults_strike_the_same_notification_in_their_order(tmp_path: Path) -> None:
    async def play() -> None:
        async with notifying(tmp_path) as wire:
            for kind, seconds in (("unknown-status", None), ("clock-skew", -100), ("delay", 0.1), ("duplicate", None)):
                wire.faults.set(kind, N, seconds=seconds)
            assert (await wire.send(READY)).status == 204
            one, other = await wire.arrived.many(2)
            assert one == other
            assert one.stages == [STATUS]
            assert 98 < one.age < 103
            verify([SECRET], one.headers, one.body, int(time.time()))

    asyncio.run(play())


def test_a_receiver_with_two_secrets_in_use_is_signed_for_with_both(tmp_path: Path) -> None:
    async def play() -> None:
        async with notifying(tmp_path) as wire:
            older = SECRET.replace("AAEC", "AAED")
            wire.secrets = [SECRET, older]
            wire.faults.set("unknown-member", N)
            await wire.send(READY)
            [arrival] = wire.arrived.calls
            for secret in wire.secrets:
                verify([secret], arrival.headers, arrival.body, int(time.time()))

    asyncio.run(play())


def test_what_bears_no_signature_gets_none_and_is_not_struck_by_what_is_about_signatures(tmp_path: Path) -> None:
    async def play() -> None:
        async with notifying(tmp_path) as wire:
            for kind in ("old-signature", "corrupt-signature", "clock-skew", "unknown-status"):
                wire.faults.set(kind, N)
            body = msgspec.json.encode({"operations": [READY]})
            path = "/notifications/d1/v2/issuers/ISSUER0001/cards"
            assert (await call(wire.port, path, body, {"content-type": "application/json"})).status == 202
            [arrival] = wire.arrived.calls
            assert not [name for name in arrival.headers if name.startswith("webhook")]
            assert {fault.kind: fault.struck for fault in wire.faults.active()} == {
                Kind.UNKNOWN_STATUS: 1, Kind.CLOCK_SKEW: 0, Kind.OLD_SIGNATURE: 0, Kind.CORRUPT_SIGNATURE: 0
            }  # fmt: skip

    asyncio.run(play())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"operations":1}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_struck_like_anything_else(tmp_path: Path, body: bytes) -> None:
    async def play() -> None:
        async with notifying(tmp_path) as wire:
            wire.faults.set("drop", N, count=1)
            wire.faults.set("unknown-status", N)
            assert [(await wire.send(body=body)).status for _ in range(2)] == [204, 202]
            assert (wire.wire.thrown, [each.body for each in wire.arrived.calls]) == (0, [body])

    asyncio.run(play())


def test_another_path_and_a_body_that_nobody_takes_are_handed_on_and_not_struck(tmp_path: Path) -> None:
    async def play() -> None:
        async with notifying(tmp_path) as wire:
            wire.faults.set("500", N)
            wire.faults.set("truncated", N)
            assert (await call(wire.port, "/oauth2/token", b"x=1", {})).status == 202
            huge = b" " * (MAX_BODY + 100_000)
            assert (await wire.send(body=huge)).status == 202
            assert [len(each.body) for each in wire.arrived.calls] == [3, len(huge)]

    asyncio.run(play())


# ── bounds ──


def test_when_as_many_wait_as_may_the_next_is_handed_over_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later, "MAX_LATER", 2)

    async def play() -> None:
        async with notifying(tmp_path) as wire:
            fault = wire.faults.set("delay", N, seconds=3_600)
            assert [(await wire.send(READY)).status for _ in range(4)] == [204, 204, 202, 202]
            assert (len(wire.wire.later), fault.struck, len(wire.arrived.calls)) == (2, 2, 2)
            await wire.wire.close()
            assert (len(wire.wire.later), len(wire.arrived.calls)) == (0, 2)

    asyncio.run(play())


def test_when_as_many_are_held_as_may_the_next_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "MAX_HELD", 1)

    async def play() -> None:
        async with notifying(tmp_path) as wire:
            wire.faults.set("reorder", N, seconds=3_600)
            assert [(await wire.send(each)).status for each in (READY, OTHER, ONGOING)] == [204, 202, 202]
            arrivals = await wire.arrived.many(3)
            assert [each.stages for each in arrivals] == [
                ["CARD_PROD_READY"],
                ["CARD_PROD_ONGOING"],
                ["CARD_PROD_READY"],
            ]
            assert arrivals[0].operations[0]["cardId"] == "card-2"

    asyncio.run(play())


def test_a_held_notification_is_passed_only_by_one_of_its_own_card(tmp_path: Path) -> None:
    async def play() -> None:
        async with notifying(tmp_path) as wire:
            wire.faults.set("reorder", N, cards=["card-1"], seconds=3_600)
            assert [(await wire.send(each)).status for each in (READY, OTHER, ONGOING)] == [204, 202, 202]
            cards = [each.operations[0]["cardId"] for each in await wire.arrived.many(3)]
            assert cards == ["card-2", "card-1", "card-1"]
            assert wire.arrived.calls[2].stages == ["CARD_PROD_READY"]

    asyncio.run(play())


# ── the record ──


def test_the_record_tells_what_arrived_and_what_did_not_and_holds_no_secret(tmp_path: Path) -> None:
    async def play() -> None:
        async with notifying(tmp_path) as wire:
            await wire.send(READY)
            for kind in ("drop", "unknown-status", "reset", "truncated", "duplicate", "delay"):
                wire.faults.clear()
                wire.faults.set(kind, N, seconds=0.01 if kind == "delay" else None)
                await wire.lost(SHIPPED)
            await wire.arrived.many(7)
            await asyncio.gather(*wire.wire.later._tasks)

    asyncio.run(play())
    exchanges = list(exchanges_of(tmp_path / "wire.jsonl"))
    assert [(each.faults, each.status, each.arrived) for each in exchanges] == [
        ([], 202, True), (["drop"], 204, False), (["unknown-status"], 202, True), (["reset"], 202, True),
        (["truncated"], 202, False), (["duplicate"], 202, True), (["duplicate"], 202, True), (["delay"], 204, False),
        (["delay"], 202, True),
    ]  # fmt: skip
    assert [each.number for each in exchanges] == list(range(1, 10))
    assert STATUS in exchanges[2].request.body
    assert exchanges[0].request.headers.keys() >= {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert SECRET.removeprefix("whsec_") not in (tmp_path / "wire.jsonl").read_text()
