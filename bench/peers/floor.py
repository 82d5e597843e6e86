"""The floors: what uvicorn does with a bare callable that asks, stores and decodes nothing."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ANSWER = b'{"operations":[{"pad":"' + b"x" * 573 + b'"}]}'
_PAGE = (
    b'{"operations":['
    + b",".join([b'{"pad":"' + b"x" * 579 + b'"}'] * 1000)
    + b'],"cursor":"%b","more":true}' % (b"x" * 36)
)
_ACCEPTED = b'{"eventId":"0000000000000000","source":"site:bench","result":"accepted"}'


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer a GET with 600 fixed bytes, one for a page with 1,000 times as many; accept whatever is posted."""
    if scope["type"] != "http":
        return
    body = await _accepted(receive) if scope["method"] == "POST" else _PAGE if scope["query_string"] else _ANSWER
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _accepted(receive: Receive) -> bytes:
    """Read the whole body and return as many acceptances as it has events."""
    events, more = 0, True
    tail = b""
    while more:
        message = await receive()
        part = tail + message["body"]
        events += part.count(b'"eventId"')
        tail = part[-8:]
        more = message["more_body"]
    return b'{"results":[' + b",".join([_ACCEPTED] * events) + b"]}"
