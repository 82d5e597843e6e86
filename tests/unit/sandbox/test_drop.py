"""The wire that loses notifications: what is thrown away is answered as if it had arrived, and counted."""

import asyncio
from typing import Any

import msgspec
import pytest

from cardtrail.issuer.asgi import Receive, Scope, Send
from cardtrail.sandbox import drop as module
from cardtrail.sandbox.drop import Drop, part_of

BODY = b'{"operations":[{},{}],"cardtrail":{"cursor":"mark"}}'


class Arrived:
    """A receiver that keeps what arrives, and answers 202 so that its answers are known."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "POST"
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def sent(drop: Drop, *parts: bytes) -> int:
    """Send a body in parts; return the status of the answer."""
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting[-1]["more_body"] = False
    statuses: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    asyncio.run(drop({"type": "http", "method": "POST"}, receive, send))
    assert len(statuses) == 2
    return int(statuses[0])


def test_everything_arrives_as_long_as_nothing_is_dropped() -> None:
    arrived = Arrived()
    drop = Drop(arrived, 1)
    assert [sent(drop, BODY) for _ in range(20)] == [202] * 20
    assert (len(arrived.bodies), drop.thrown) == (20, 0)


def test_what_is_thrown_away_is_answered_204_and_every_notification_of_it_is_counted() -> None:
    arrived = Arrived()
    drop = Drop(arrived, 1)
    drop.share = 1.0
    assert sent(drop, BODY) == 204
    assert sent(drop, BODY[:20], BODY[20:]) == 204
    assert (arrived.bodies, drop.thrown) == ([], 4)
    drop.share = 0.0
    assert sent(drop, BODY) == 202
    assert (arrived.bodies, drop.thrown) == ([BODY], 4)


def test_the_seed_decides_what_a_share_is() -> None:
    def fates(seed: int) -> list[int]:
        drop = Drop(Arrived(), seed)
        drop.share = 0.3
        return [sent(drop, BODY) for _ in range(1_000)]

    assert fates(7) == fates(7)
    assert fates(7) != fates(8)
    assert 250 < fates(7).count(204) < 350


def test_a_share_is_told_as_a_part() -> None:
    assert [part_of(share) for share in (0, 1, 1.0, 0.3, 0.001, 1 / 3)] == [
        "no", "all", "all", "30% of the", "0.1% of the", "33.3% of the"
    ]  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"operations":1}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_lost_like_anything_else(body: bytes) -> None:
    drop = Drop(Arrived(), 1)
    drop.share = 1.0
    assert (sent(drop, body), drop.thrown) == (204, 0)


def test_a_body_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY", 10)
    drop = Drop(Arrived(), 1)
    drop.share = 1.0
    assert sent(drop, b" " * 11, msgspec.json.encode({"operations": [{}]})) == 204
    assert drop.thrown == 0


def test_a_sender_that_hangs_up_is_not_waited_for() -> None:
    drop = Drop(Arrived(), 1)
    drop.share = 1.0
    gone = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return gone.pop(0)

    async def send(_: Any) -> None:
        pass

    asyncio.run(drop({"type": "http", "method": "POST"}, receive, send))
    assert (gone, drop.thrown) == ([], 0)
