"""Live pages: told when their issuer's cards have moved, and of nothing else. On both engines."""

import asyncio

import pytest

from cardtrail.db import Database
from cardtrail.pages import live
from cardtrail.pages.live import MOVED, PING, Streams
from tests.desk import Desk, desk
from tests.events import event
from tests.serving import ISSUER


def live_of(db: Database) -> Streams:
    """Return live pages of a platform's store."""

    async def newest(issuer_id: str) -> int:
        rows = await db.read(lambda tx: tx.each("counters_of_issuers", [(issuer_id,)]))
        return int(rows[0][1]) if rows else 0

    return Streams(newest)


async def heard(streams: Streams, site: Desk, *moves: str) -> list[bytes]:
    """Open a page, tell an event of an issuer between looks, and return what the page heard."""
    stream = streams.of_issuer(ISSUER, every=0.01)
    told = [await anext(stream)]
    for number, issuer in enumerate(moves):
        if issuer:
            await site.take(event("requested", f"c-{number}-{issuer}", issuerId=issuer))
        told.append(await anext(stream))
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    return told


def test_a_page_hears_of_its_own_issuers_cards_only(database_url: str) -> None:
    with desk(database_url) as site:
        streams = live_of(site.db)
        told = site.run(heard(streams, site, "", ISSUER, "", "ISSUER0002", ISSUER))
        assert told == [PING, PING, MOVED, PING, PING, MOVED]


def test_so_many_pages_are_live_and_one_that_has_gone_makes_room(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS", 1)

    async def play(site: Desk) -> None:
        streams = live_of(site.db)
        stream = streams.of_issuer(ISSUER, every=0.01)
        await anext(stream)
        assert streams.is_full
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert not streams.is_full

    with desk(database_url) as site:
        site.run(play(site))


def test_a_service_that_stops_waits_for_no_page(database_url: str) -> None:
    async def play(site: Desk) -> None:
        streams = live_of(site.db)
        stream = streams.of_issuer(ISSUER, every=60)
        await anext(stream)
        streams.release()
        async with asyncio.timeout(5):
            assert [part async for part in stream] == []

    with desk(database_url) as site:
        site.run(play(site))
