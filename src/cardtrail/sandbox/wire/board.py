"""The wire's part of the sandbox's control: faults are switched, the record is shown, a notification is signed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from cardtrail.pages.query import single
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.request import encoded, told
from cardtrail.protocol.signature import Signer, headers_of
from cardtrail.sandbox.switch import FAULTS_PATH, PAGE_PATH, RECORD_PATH, SIGN_PATH
from cardtrail.sandbox.wire.faults import FaultIn, Faults
from cardtrail.sandbox.wire.kinds import HOPS, TABLE, part_of
from cardtrail.sandbox.wire.page import MAX_SHOWN, page_of
from cardtrail.sandbox.wire.record import newest_of, older_of

CHUNK = 65_536
"""How much of a record is read at a time, bytes."""
SECOND = 1_000_000

Secrets = Callable[[], Awaitable[Sequence[str]]]


class SignIn(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What is to be signed."""

    webhook_id: str
    body: str


def fault_routes(faults: Faults, say: Callable[[str], None]) -> list[BaseRoute]:
    """Return the routes that switch faults. `say` tells a person what is switched."""

    async def look(_: Request) -> Response:
        kinds = [msgspec.structs.asdict(about) for about in TABLE]
        return encoded({"active": [fault.told() for fault in faults.active()], "kinds": kinds, "hops": HOPS})

    async def switch_on(request: Request) -> Response:
        wanted = await told(request, FaultIn, optional=True)
        kind = request.path_params["kind"]
        fault = faults.set(
            kind, wanted.hop, rate=wanted.rate, cards=wanted.cards, seconds=wanted.seconds, count=wanted.count
        )
        say(f"Fault {fault.kind} is on: {part_of(fault.rate)} {fault.hop}{_of_cards(len(fault.cards))}.")
        return encoded(fault.told())

    async def switch_off(request: Request) -> Response:
        kind = request.path_params.get("kind")
        hop = single(request, "hop")
        cleared = faults.clear(kind, hop)
        if cleared:
            place = f" at {hop}" if hop else ""
            say(f"Fault {kind}{place} is off." if kind else f"All faults{place} are off.")
        return encoded({"cleared": cleared})

    return [
        Route(FAULTS_PATH, look, methods=["GET"]),
        Route(FAULTS_PATH, switch_off, methods=["DELETE"]),
        Route(FAULTS_PATH + "/{kind}", switch_on, methods=["PUT"]),
        Route(FAULTS_PATH + "/{kind}", switch_off, methods=["DELETE"]),
    ]


def _of_cards(count: int) -> str:
    return f" of {count} card{'s' if count > 1 else ''}" if count else ""


def record_routes(record: Path, secrets: Secrets) -> list[BaseRoute]:
    """Return the routes that show the record at this path, and that sign what is sent again."""

    async def page(_: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(lambda: page_of(newest_of(record, MAX_SHOWN))))

    async def lines(_: Request) -> Response:
        return StreamingResponse(_lines_of(record), media_type="application/x-ndjson")

    async def sign(request: Request) -> Response:
        wanted = await told(request, SignIn)
        signer = Signer(list(await secrets()))
        return encoded(headers_of(signer, wanted.webhook_id, wall_clock() // SECOND, wanted.body.encode()))

    return [
        Route(PAGE_PATH, page, methods=["GET"]),
        Route(RECORD_PATH, lines, methods=["GET"]),
        Route(SIGN_PATH, sign, methods=["PUT"]),
    ]


async def _lines_of(record: Path) -> AsyncIterator[bytes]:
    """Yield a record as long as it is now, its older half first; one that moves on meanwhile is not waited for."""
    for path in (older_of(record), record):
        if not path.exists():
            continue
        with path.open("rb") as file:
            left = path.stat().st_size
            while left > 0 and (chunk := await run_in_threadpool(file.read, min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
