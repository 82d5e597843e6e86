"""The read hook of an examination, in front of a receiver: what the mirror has of the examination's own cards.

`GET …/examination/{cardId}` is answered `{"operations":[…]}`, newest order first, for ids that begin with `exam-`. No
proof is asked for: of no other card anything is ever said, and 404 does not tell whether there is one.
"""

import re

from cardtrail.errors import CardtrailError, NotFound
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.receipt import JSON, Receipt, receipt_of
from cardtrail.protocol.codec import answer_of

PREFIX = "exam-"
"""What the ids of an examination's cards begin with."""

_PATH = re.compile(rf".*/examination/({PREFIX}[A-Za-z0-9_-]{{1,43}})", re.DOTALL)
_UNKNOWN = receipt_of(NotFound("no such card of an examination"))


def examinable(app: Asgi, mirror: AsyncMirror, issuer_id: str) -> Asgi:
    """Return the application with the read hook in front of it. For trying out: leave it out of production."""

    async def examined(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and "/examination/" in scope["path"]:
            await _send(send, await _answer(mirror, issuer_id, scope["path"]))
            return
        await app(scope, receive, send)

    return examined


async def _answer(mirror: AsyncMirror, issuer_id: str, path: str) -> Receipt:
    card = _PATH.fullmatch(path)
    if card is None:
        return _UNKNOWN
    try:
        held = await mirror.card(issuer_id, card[1])
    except CardtrailError as error:
        return receipt_of(error)
    if not held:
        return _UNKNOWN
    return Receipt(status=200, headers=JSON, body=answer_of([each.operation.raw for each in held]))


async def _send(send: Send, receipt: Receipt) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in receipt.headers.items()]
    headers.append((b"content-length", b"%d" % len(receipt.body)))
    await send({"type": "http.response.start", "status": receipt.status, "headers": headers})
    await send({"type": "http.response.body", "body": receipt.body})
