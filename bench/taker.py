"""Receivers under test, each a process of its own: `python -m bench.taker KIND --port N --secret S --mirror URL`.

`floor` reads a body and answers 204; `verified` verifies and decodes as well, and keeps nothing; `kept` is the whole.
"""

import argparse
from collections.abc import Sequence

import uvicorn

from bench.notify_load import ISSUER_ID
from cardtrail import AsyncMirror, AsyncReceiver, Trust, asgi_app
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.issuer.standing import Observed, Outcome
from cardtrail.issuer.take import Sighting

KINDS = ("floor", "verified", "kept")


async def floor(_: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body and answer 204."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Forgetful(AsyncMirror):
    """A mirror that keeps nothing."""

    async def take(
        self, issuer_id: str, observed: Sequence[Observed], *, mark: str | None, sightings: Sequence[Sighting],
        messages: int = 1,
    ) -> list[Outcome]:  # fmt: skip
        """Forget everything at once."""
        del issuer_id, observed, mark, sightings, messages
        return []


def app_of(kind: str, secret: str, url: str) -> Asgi:
    """Return the application of a kind."""
    if kind == "floor":
        return floor
    mirror = (Forgetful if kind == "verified" else AsyncMirror).open(url)
    return asgi_app(AsyncReceiver(mirror, {ISSUER_ID: Trust(secrets=[secret])}))


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.taker", description=__doc__)
    _parser.add_argument("kind", choices=KINDS)
    _parser.add_argument("--port", type=int, required=True)
    _parser.add_argument("--secret", required=True)
    _parser.add_argument("--mirror", required=True)
    _given = _parser.parse_args()
    uvicorn.run(
        app_of(_given.kind, _given.secret, _given.mirror),
        port=_given.port, access_log=False, lifespan="off", log_level="warning", proxy_headers=False,
    )  # fmt: skip
