"""The wire between platform and receiver, which can lose notifications while the platform believes they arrived."""

from random import Random

from cardtrail.errors import InputError
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.issuer.way import MAX_BODY
from cardtrail.protocol.reading import envelope_of


def part_of(share: float) -> str:
    """Return which notifications a share means, for people; "no" for none."""
    if share in {0, 1}:
        return "all" if share else "no"
    return f"{100 * share:.3g}% of the"


class Drop:
    """An application in front of the receiver: of all calls it answers `share` with 204, and throws them away.

    `seed` decides which. That is a true loss: nobody will ever send them again, since for the platform they are
    delivered.
    """

    def __init__(self, receiver: Asgi, seed: int) -> None:
        self.share = 0.0
        """Part of the calls that is thrown away, 0 to 1."""
        self.thrown = 0
        """Notifications that were thrown away."""
        self._receiver = receiver
        self._chance = Random(f"{seed}-drop")  # noqa: S311 -- what is lost is no secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call, or lose it."""
        if self.share == 0 or self._chance.random() >= self.share:
            await self._receiver(scope, receive, send)
            return
        self.thrown += _count(await _body(receive))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    """Return the body of a call, as much of it as a receiver would take."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _count(body: bytes) -> int:
    """Return how many notifications a body holds; none where it is not readable."""
    try:
        return len(envelope_of(body).elements)
    except InputError:
        return 0
