"""The bank's receiver: what it believes, what it remembers, and that it is really gone while it is stopped."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pyreqwest.exceptions import RequestError
from standardwebhooks.webhooks import Webhook

from cardtrail.protocol.envelope import body_of
from cardtrail.protocol.signature import new_secret
from cardtrail.sandbox import receiver as module
from cardtrail.sandbox.call import client
from cardtrail.sandbox.receiver import HOST, Inbox, Known, Receiver

ISSUER = "DEMO-BANK1"
PATH = f"/notifications/d1/v2/issuers/{ISSUER}/cards"
SECRET = new_secret(bytes(range(32)))
NOW = 1_795_600_000
"""Whole seconds since 1970."""


def operation(sequence: int, *, order: str = "op-1", shipment: str = "") -> bytes:
    details: dict[str, Any] = {"status": "CARD_SHIPPED"}
    if shipment:
        details["shipment"] = {"carrier": "dhl", "trackingNumber": "1", "status": shipment}
    return msgspec.json.encode({
        "operationId": order, "operation": "PRODUCE", "status": "SUCCESSFUL", "cardId": "card-1", "details": details,
        "cardtrail": {"sequence": sequence},
    })  # fmt: skip


def signed(body: bytes, now: int = NOW) -> dict[str, str]:
    """Headers as another implementation makes them."""
    at = datetime.fromtimestamp(now, UTC)
    signature = Webhook(SECRET).sign("msg-1", at, body.decode())
    return {"webhook-id": "msg-1", "webhook-timestamp": str(now), "webhook-signature": signature}


def inbox() -> tuple[Inbox, list[Known]]:
    heard: list[Known] = []
    return Inbox(SECRET, heard.append), heard


def take(box: Inbox, *operations: bytes) -> int:
    body = body_of(operations, "mark")
    return box.take(signed(body), body, NOW)


# ── the inbox ──


def test_a_signed_picture_is_known_from_then_on() -> None:
    box, heard = inbox()
    assert take(box, operation(3, shipment="InTransit")) == 204
    assert box.newest == {"op-1": Known("card-1", 3, "CARD_SHIPPED", "InTransit")}
    assert heard == list(box.newest.values())
    assert (box.calls, box.notifications, box.duplicates, box.bad_signatures, box.cursor) == (1, 1, 0, 0, "mark")


def test_neither_repetition_nor_disorder_takes_back_what_is_known() -> None:
    box, heard = inbox()
    statuses = [take(box, operation(sequence)) for sequence in (2, 1, 2, 4, 3)]
    assert statuses == [204] * 5
    assert box.newest["op-1"].sequence == 4
    assert [known.sequence for known in heard] == [2, 4]
    assert (box.notifications, box.duplicates) == (5, 3)


def test_a_batch_is_read_order_by_order() -> None:
    box, _ = inbox()
    take(box, operation(2, order="op-1"), operation(5, order="op-2"))
    assert {order: known.sequence for order, known in box.newest.items()} == {"op-1": 2, "op-2": 5}
    assert (box.calls, box.notifications) == (1, 2)


def test_a_heartbeat_brings_nothing_but_the_high_water_mark() -> None:
    box, heard = inbox()
    assert take(box) == 204
    assert (box.cursor, box.notifications, heard) == ("mark", 0, [])


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_an_unsigned_call_is_refused_and_counted(missing: str) -> None:
    box, _ = inbox()
    body = body_of([operation(1)], "mark")
    headers = {name: value for name, value in signed(body).items() if name != missing}
    assert box.take(headers, body, NOW) == 401
    assert (box.bad_signatures, box.newest, box.cursor) == (1, {}, "")


def test_another_body_under_a_good_signature_is_refused() -> None:
    box, _ = inbox()
    headers = signed(body_of([operation(1)], "mark"))
    assert box.take(headers, body_of([operation(9)], "mark"), NOW) == 401
    assert (box.bad_signatures, box.newest) == (1, {})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"operations":[{}]}', b'{"operations":[{"operationId":1}]}', b"\xff", b"[" * 100_000]
)
def test_what_cannot_be_read_is_refused_even_when_it_is_signed(body: bytes) -> None:
    box, _ = inbox()
    text = body.decode("utf-8", "ignore")
    headers = signed(text.encode())
    assert box.take(headers, text.encode(), NOW) == 400
    assert box.newest == {}


def test_what_was_heard_of_first_is_forgotten_when_it_becomes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 2)
    box, _ = inbox()
    for number in range(3):
        take(box, operation(1, order=f"op-{number}"))
    assert list(box.newest) == ["op-1", "op-2"]


# ── the server ──


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Receiver, Inbox]]:
    with closing(Receiver(ISSUER)) as receiver:
        box, _ = inbox()
        await receiver.start(box)
        try:
            yield receiver, box
        finally:
            await receiver.stop()


async def post(receiver: Receiver, path: str, body: bytes, now: int | None = None) -> int:
    headers = signed(body, int(datetime.now(UTC).timestamp()) if now is None else now)
    async with client() as http:
        response = await http.post(receiver.url + path).headers(headers).body_bytes(body).build().send()
        return response.status


async def shown(receiver: Receiver) -> Any:
    async with client() as http:
        response = await http.get(receiver.url + "/").build().send()
        assert response.status == 200
        return msgspec.json.decode(bytes(await response.bytes()))


def test_it_takes_calls_on_the_published_path_and_shows_what_it_knows() -> None:
    async def play() -> None:
        body = body_of([operation(7, shipment="Delivered")], "mark")
        async with listening() as (receiver, _):
            assert await post(receiver, PATH, body) == 204
            assert await post(receiver, PATH, body, now=NOW - 10**8) == 401
            assert await post(receiver, "/", body) == 404
            assert await post(receiver, PATH.replace(ISSUER, "OTHERBANK1"), body) == 404
            assert await shown(receiver) == {
                "calls": 2, "notifications": 1, "duplicates": 0, "badSignatures": 1, "cursor": "mark",
                "operations": {
                    "op-1": {"cardId": "card-1", "sequence": 7, "stage": "CARD_SHIPPED", "shipment": "Delivered"}
                },
            }  # fmt: skip

    asyncio.run(play())


def test_a_body_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY", 1_000)

    async def play() -> None:
        async with listening() as (receiver, box):
            assert await post(receiver, PATH, b" " * 1_001) == 413
            assert box.calls == 0

    asyncio.run(play())


def test_a_call_that_breaks_off_is_not_counted_as_forged() -> None:
    async def play() -> None:
        async with listening() as (receiver, box):
            reader, writer = await asyncio.open_connection(HOST, receiver.port)
            writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
            writer.write_eof()
            await reader.read()
            writer.close()
            await shown(receiver)
            assert (box.calls, box.bad_signatures) == (0, 0)

    asyncio.run(play())


def test_stopped_it_drops_its_connections_and_refuses_new_ones_and_comes_back_on_its_port() -> None:
    async def play() -> None:
        async with listening() as (receiver, box):
            url = receiver.url
            assert await post(receiver, PATH, body_of([operation(7)], "mark")) == 204
            reader, writer = await asyncio.open_connection(HOST, receiver.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await receiver.stop()
            assert not receiver.is_up
            await asyncio.wait_for(reader.read(), 10)
            writer.close()
            with pytest.raises(RequestError):
                await shown(receiver)
            await receiver.start(box)
            assert (receiver.is_up, receiver.url) == (True, url)
            assert (await shown(receiver))["operations"]["op-1"]["sequence"] == 7

    asyncio.run(play())


def test_nobody_can_take_its_port_while_it_is_stopped() -> None:
    with closing(Receiver(ISSUER)) as receiver, closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind((HOST, receiver.port))


def test_a_stop_without_a_start_is_nothing() -> None:
    with closing(Receiver(ISSUER)) as receiver:
        asyncio.run(receiver.stop())
        assert not receiver.is_up
