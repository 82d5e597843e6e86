"""A call is read whole where it can be, and what cannot is passed on as it comes."""

import asyncio
from typing import Any

import pytest

from cardtrail.issuer.asgi import Receive, Scope, Send
from cardtrail.protocol.codec import MAX_BODY
from cardtrail.sandbox.wire import call as module
from cardtrail.sandbox.wire.call import Answer, Call, ask, gone, read_call

SCOPE = {"type": "http", "method": "POST", "headers": [(b"x-a", b"1"), (b"content-length", b"4")]}


def coming(*messages: Any) -> Receive:
    """Return what gives these messages, then nothing for ever."""
    waiting = [
        {"type": "http.request", "body": each, "more_body": True} if isinstance(each, bytes) else each
        for each in messages
    ]

    async def receive() -> Any:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    """Answer the body, and how it ended."""
    body, more, end = b"", True, b"whole"
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        end = b"whole" if message["type"] == "http.request" else b"gone"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body + b" ", "more_body": True})
    await send({"type": "http.response.body", "body": end})


def read(*messages: Any) -> Call:
    found = asyncio.run(read_call(SCOPE, coming(*messages)))
    assert found is not None
    return found


def test_a_body_in_parts_is_read_to_its_end() -> None:
    call = read(b"ab", b"cd", END)
    assert (call.body, call.whole, call.header(b"x-a"), call.header(b"x-b")) == (b"abcd", True, "1", "")


def test_a_caller_that_hangs_up_has_made_no_call() -> None:
    assert asyncio.run(read_call(SCOPE, coming(b"ab", GONE))) is None


def test_what_is_too_large_or_too_slow_is_passed_on_with_its_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)

    async def play() -> None:
        large = await read_call(SCOPE, coming(b"x" * (MAX_BODY + 1), b"rest", END))
        assert large is not None
        answer = await ask(echo, large)
        assert answer is not None
        assert (large.whole, len(answer.body)) == (False, MAX_BODY + 1 + len("rest whole"))
        slow = await read_call(SCOPE, coming(b"begun"))
        assert slow is not None
        assert (slow.whole, slow.more, slow.body) == (False, True, b"begun")

    asyncio.run(play())


def test_half_a_call_ends_in_the_middle_of_its_body() -> None:
    answer = asyncio.run(ask(echo, read(b"abcd", END), half=True))
    assert answer == Answer(200, [], b"ab gone")


def test_an_application_that_does_not_answer_to_the_end_has_given_no_answer() -> None:
    async def silent(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    assert asyncio.run(ask(silent, read(END))) is None


def test_a_changed_message_has_the_length_of_its_body_and_each_header_once() -> None:
    changed = read(b"abcd", END).changed(b"xy", [(b"x-a", b"2")])
    assert changed.scope["headers"] == [(b"x-a", b"2"), (b"content-length", b"2")]
    assert changed.without(b"x-a").scope["headers"] == [(b"content-length", b"2")]
    answer = Answer(200, [(b"etag", b"1"), (b"content-length", b"9")], b"").changed(b"xyz", [(b"etag", b"2")])
    assert answer.headers == [(b"etag", b"2"), (b"content-length", b"3")]
    assert answer.with_header(b"date", b"d").header(b"date") == "d"


def test_that_a_caller_has_gone_is_waited_for_no_longer_than_told() -> None:
    assert asyncio.run(gone(coming(b"x", GONE), 20))
    assert not asyncio.run(gone(coming(b"x"), 0.05))
