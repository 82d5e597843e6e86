"""The long poll: what ends it, and what is left of it."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from starlette.requests import Request

from cardtrail.platform.feed import Feed, Page
from cardtrail.platform.feed_http import body_of, changes_of
from cardtrail.protocol.cursor import Cursor, decode_cursor
from tests.desk import Desk, desk
from tests.events import event
from tests.serving import ISSUER

SOON = 15.0
"""Half of the longest wait, seconds."""
HERE = Cursor("0123456789abcdef", ISSUER, 7)


class Reader:
    """A client's end of one call."""

    def __init__(self, feed: Feed, query: str) -> None:
        self.hung_up = asyncio.Event()
        platform = SimpleNamespace(feed=feed)
        scope = {
            "type": "http", "app": SimpleNamespace(state=SimpleNamespace(platform=platform)),
            "query_string": query.encode(), "headers": [],
        }  # fmt: skip
        self.request = Request(scope, self.receive)
        self._sent = False

    async def receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


def test_an_answer_is_one_object_with_the_stored_bytes() -> None:
    page = Page([b'{"operationId":"a"}', b'{"operationId":"b"}'], HERE, more=True)
    answer = msgspec.json.decode(body_of(page))
    assert list(answer) == ["operations", "cursor", "more"]
    assert answer["operations"] == [{"operationId": "a"}, {"operationId": "b"}]
    assert decode_cursor(answer["cursor"]) == HERE
    assert answer["more"] is True
    assert msgspec.json.decode(body_of(Page([], HERE, more=False)))["operations"] == []


def ended(site: Desk, *, by_hanging_up: bool) -> list[Any]:
    """Let one reader wait for half a minute, then hang up or change something; return what it was answered."""

    async def story() -> list[Any]:
        feed = Feed(site.db)
        reader = Reader(feed, "wait=30")
        answering = asyncio.create_task(changes_of(reader.request, ISSUER))
        while not feed._count and not answering.done():  # noqa: ASYNC110 -- what is looked into from outside has no event
            await asyncio.sleep(0)
        if by_hanging_up:
            reader.hung_up.set()
        else:
            await site.take(event("requested", "card"))
        async with asyncio.timeout(SOON):
            answer = await answering
        assert (feed._count, feed._waiters) == (0, {})
        assert len(asyncio.all_tasks()) <= 2  # this one, and a watcher that is about to see that nobody waits
        await feed.stop()
        operations: list[Any] = msgspec.json.decode(answer.body)["operations"]
        return operations

    return site.run(story())


def test_a_wait_ends_with_a_change_or_when_the_reader_hangs_up_and_leaves_nothing(tmp_path: Path) -> None:
    with desk(f"sqlite:///{tmp_path}/store.db") as site:
        assert ended(site, by_hanging_up=True) == []
        assert [operation["cardId"] for operation in ended(site, by_hanging_up=False)] == ["card"]
