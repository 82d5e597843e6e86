"""Receivers that always say the same, and examinations of whatever receives."""

import asyncio
from collections.abc import Sequence
from typing import Any

from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.case import Case
from cardtrail.sandbox.examine.result import Report, Result
from cardtrail.sandbox.examine.run import examine
from tests.hosting import hosting
from tests.serving import ISSUER
from tests.signed import SECRET


def always(status: int, *, first: int = 204, shown: bytes = b"") -> Asgi:
    """Return a receiver that answers its first notification `first` and whatever else `status`, reading it all.

    Its read hook shows `shown` of every card but the one that is asked for first, or knows none.
    """
    told = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal told
        if scope["type"] != "http":
            return
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        if scope["path"].startswith("/state/"):
            await answer(send, 200 if shown else 404, shown)
            return
        told += 1
        await answer(send, first if told == 1 else status, b"")

    return app


async def answer(send: Send, status: int, body: bytes) -> None:
    length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": length})
    await send({"type": "http.response.body", "body": body})


def examined(app: Asgi, cases: Sequence[Case], heard: list[Result] | None = None, **given: Any) -> Report:
    """Examine a receiver that is started for it; without other words it gives secrets, token and read hook."""

    async def run() -> Report:
        async with hosting(app) as port:
            root = f"http://127.0.0.1:{port}"
            candidate = Candidate(url=root, issuer_id=ISSUER, **{"state": f"{root}/state", **PROOFS, **given})
            candidate.check()
            return await examine(candidate, cases, (heard if heard is not None else []).append)

    return asyncio.run(run())


PROOFS = {"secret": SECRET, "second_secret": "whsec_" + "B" * 32, "token": "a-token-of-some-length"}
