"""A call as the wire sees it: read whole before anything is done with it, and its answer, before anybody gets it."""

import asyncio
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.protocol.codec import MAX_BODY
from cardtrail.protocol.problem import Problem
from cardtrail.sandbox.wire import line

BODY_SECONDS = 30.0
"""Longest wait for a body; what came until then is passed on, and whoever it is for decides."""
GONE_SECONDS = 2.0
"""Longest wait until a connection that was cut is really gone."""

Headers = Sequence[tuple[bytes, bytes]]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call. `receive` gives what follows the body: the rest of it, where there is `more`, or that nobody waits."""

    scope: Scope
    body: bytes
    receive: Receive
    more: bool = False

    @property
    def whole(self) -> bool:
        """Whether the body is here to its end, and no larger than anybody takes."""
        return not self.more and len(self.body) <= MAX_BODY

    def header(self, name: bytes) -> str:
        """Return a header, empty where there is none; `name` in lower case."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    def changed(self, body: bytes, headers: Headers) -> "Call":
        """Return the call with another body and with headers in place of those of the same name."""
        given = {name for name, _ in headers} | {b"content-length"}
        kept = [pair for pair in self.scope["headers"] if pair[0] not in given]
        scope = {**self.scope, "headers": [*kept, *headers, (b"content-length", b"%d" % len(body))]}
        return Call(scope=scope, body=body, receive=self.receive, more=self.more)

    def without(self, name: bytes) -> "Call":
        """Return the call without a header."""
        scope = {**self.scope, "headers": [pair for pair in self.scope["headers"] if pair[0] != name]}
        return Call(scope=scope, body=self.body, receive=self.receive, more=self.more)


class Answer(msgspec.Struct, frozen=True):
    """An answer; names of headers in lower case."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> str:
        """Return a header, empty where there is none; `name` in lower case."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")

    def changed(self, body: bytes, headers: Headers) -> "Answer":
        """Return the answer with another body, and with headers in place of those of the same name."""
        given = {name for name, _ in headers} | {b"content-length"}
        kept = [pair for pair in self.headers if pair[0] not in given]
        return Answer(self.status, [*kept, *headers, (b"content-length", b"%d" % len(body))], body)

    def with_header(self, name: bytes, value: bytes) -> "Answer":
        """Return the answer with a header, in place of another of its name."""
        return Answer(self.status, [*(pair for pair in self.headers if pair[0] != name), (name, value)], self.body)


NO_CONTENT = Answer(204, (), b"")


def answer_of(found: Problem) -> Answer:
    """Return a problem as an answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(found.body)), *found.headers]
    return Answer(found.status, headers, found.body)


async def read_call(scope: Scope, receive: Receive) -> Call | None:
    """Return a call with its body; None where the caller has hung up before its end."""
    parts: list[bytes] = []
    size, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            while more and size <= MAX_BODY:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                more = message.get("more_body", False)
    return Call(scope=scope, body=b"".join(parts), receive=receive, more=more)


async def ask(app: Asgi, call: Call, *, half: bool = False, alone: bool = False) -> Answer | None:
    """Return an application's answer to a call; None where it gave none, because nobody waits for one.

    With `half` it gets the first half of the body, and then the caller hangs up. A call that is made `alone` has no
    caller any more who could hang up.
    """
    head: list[tuple[int, Headers]] = []
    parts: list[bytes] = []
    done = False

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal done
        if message["type"] == "http.response.start":
            head.append((message["status"], list(message.get("headers", []))))
        else:
            parts.append(message.get("body", b""))
            done = not message.get("more_body", False)

    await app(call.scope, _receiving(call, half=half, alone=alone), send)
    return Answer(*head[0], b"".join(parts)) if head and done else None


def _receiving(call: Call, *, half: bool, alone: bool) -> Receive:
    body = call.body[: len(call.body) // 2] if half else call.body
    first = [{"type": "http.request", "body": body, "more_body": half or call.more}]

    async def receive() -> dict[str, object]:
        if first:
            return first.pop()
        if half:
            return {"type": "http.disconnect"}
        if alone:
            await asyncio.Event().wait()  # nobody hangs up; whoever listens for it is cancelled in the end
        return dict(await call.receive())

    return receive


# ── back to the caller ──


async def give(send: Send, answer: Answer) -> None:
    """Send an answer; a caller that has hung up harms nothing."""
    with suppress(OSError):
        await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
        await send({"type": "http.response.body", "body": answer.body})


async def give_half(scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
    """Send the head of an answer and half of its body, then end the connection."""
    length = max(len(answer.body), 2)
    cut = answer.changed(answer.body[: length // 2], ()).with_header(b"content-length", b"%d" % length)
    with suppress(OSError):
        await send({"type": "http.response.start", "status": cut.status, "headers": list(cut.headers)})
        await send({"type": "http.response.body", "body": cut.body, "more_body": True})
    line.close(scope)
    await gone(receive, GONE_SECONDS)


async def hang_up(scope: Scope, receive: Receive) -> None:
    """Reset the connection in place of an answer."""
    line.reset(scope)
    await gone(receive, GONE_SECONDS)


async def gone(receive: Receive, seconds: float) -> bool:
    """Wait until the caller has hung up; return whether it has within the time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            return True
    return False
