"""The changes feed over HTTP: parameters, the long poll, the answer. The application's state has `platform.feed`."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from cardtrail.pages.query import single
from cardtrail.platform.feed import DEFAULT_PAGE, MAX_PAGE, MAX_WAIT, Feed, Page
from cardtrail.platform.request import number
from cardtrail.protocol.codec import answer_of
from cardtrail.protocol.cursor import Cursor, cursor_for, encode_cursor

_HEADERS = {"Cache-Control": "private, no-cache"}


async def changes_of(request: Request, issuer_id: str) -> Response:
    """Answer what changed after the cursor; with `wait`, as soon as there is something. Raises InputError."""
    feed: Feed = request.app.state.platform.feed
    since = _since(request, issuer_id)
    limit = number(request, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
    seconds = number(request, "wait", 0, 0, MAX_WAIT)
    page = await feed.read(issuer_id, since, limit)
    if not page.pictures and seconds:
        await _wait(request, feed, page.cursor, seconds)
        # Also when the time is up: while it passed, the cursor may have expired.
        page = await feed.read(issuer_id, since, limit)
    return Response(body_of(page), 200, _HEADERS, "application/json")


def body_of(page: Page) -> bytes:
    """Return `{"operations":[…],"cursor":"…","more":…}`."""
    more = b"true" if page.more else b"false"
    return b'%b,"cursor":"%b","more":%b}' % (answer_of(page.pictures)[:-1], encode_cursor(page.cursor).encode(), more)


async def _wait(request: Request, feed: Feed, place: Cursor, seconds: float) -> None:
    """Wait for a change after `place`, but not for a reader that has hung up."""
    waiting = asyncio.create_task(feed.wait(place.issuer_id, place.number, seconds))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait([waiting, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (waiting, gone):
            task.cancel()
        await asyncio.gather(waiting, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Return when the reader has hung up; whatever body it may send is thrown away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _since(request: Request, issuer_id: str) -> Cursor | None:
    text = single(request, "since")
    return None if text is None else cursor_for(text, issuer_id)
