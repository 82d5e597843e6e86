"""Documents of somebody else's: how often they are fetched."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from cardtrail.errors import Unreachable
from cardtrail.pages.door.oidc.kept import HOLD_OFF, LIFE, PAUSE, Kept


class Library:
    """Gives its documents one after the other, or an error."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.fetched = 0
        self.open = True
        self.kept = Kept(self._fetch, lambda: self.now)

    async def _fetch(self) -> int:
        await asyncio.sleep(0)
        self.fetched += 1
        if not self.open:
            raise Unreachable("closed")
        return self.fetched


def run(play: Coroutine[Any, Any, None]) -> None:
    asyncio.run(play)


def test_a_document_is_fetched_once_for_all_who_ask_and_again_after_its_life() -> None:
    async def play() -> None:
        library = Library()
        assert await asyncio.gather(*(library.kept.get() for _ in range(5))) == [1] * 5
        library.now += LIFE - 1
        assert await library.kept.get() == 1
        library.now += 1
        assert await library.kept.get() == 2

    run(play())


def test_a_newer_one_is_fetched_after_a_pause() -> None:
    async def play() -> None:
        library = Library()
        assert await library.kept.get(newer=True) == 1
        library.now += PAUSE - 1
        assert await library.kept.get(newer=True) == 1
        library.now += 1
        assert await asyncio.gather(*(library.kept.get(newer=True) for _ in range(5))) == [2] * 5

    run(play())


def test_a_failure_is_everybodys_for_a_while_and_nothing_old_is_given_instead() -> None:
    async def play() -> None:
        library = Library()
        await library.kept.get()
        library.now, library.open = library.now + LIFE, False
        found = await asyncio.gather(*(library.kept.get() for _ in range(5)), return_exceptions=True)
        assert [type(each) for each in found] == [Unreachable] * 5
        assert library.fetched == 2
        library.now, library.open = library.now + HOLD_OFF, True
        assert await library.kept.get() == 3

    run(play())


def test_no_newer_document_leaves_the_old_one_in_use() -> None:
    async def play() -> None:
        library = Library()
        await library.kept.get()
        library.now, library.open = library.now + PAUSE, False
        with pytest.raises(Unreachable):
            await library.kept.get(newer=True)
        assert await library.kept.get() == 1

    run(play())
