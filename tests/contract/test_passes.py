"""Passes: which one is gone on with, which begins anew, and that a full pass is owed until its end. Both engines."""

import asyncio
from collections.abc import Iterator

import pytest

from cardtrail.errors import RemoteUnauthorized
from cardtrail.issuer.passes import RESUME_WITHIN, Passes
from cardtrail.issuer.ration import DayOver
from tests.keeping import DAY, HOUR, ISSUER, SECOND, Site, page, picture


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    site = Site(database_url)
    yield site
    site.mirror.close()


async def restored(site: Site) -> None:
    """Restore the platform: the mirror's cursor is of another epoch."""
    await site.mirror.db.transact(lambda tx: tx.run("set_cursor", issuer_id=ISSUER, cursor="expired", pulled_at=None))


async def interrupted(site: Site, *, again: bool = False) -> None:
    """Begin a full pass that ends when it asks for the first card by itself."""
    site.platform.refusing = {"all": 1_000}
    with pytest.raises(RemoteUnauthorized):
        await site.pull(again=again)
    site.platform.refusing = {}
    site.platform.asked.clear()


# ── without a feed ──


@pytest.mark.parametrize(("again", "asked"), [(False, 60), (True, 100)])
def test_a_pass_is_gone_on_with_unless_it_is_to_begin_anew(site: Site, again: bool, asked: int) -> None:  # noqa: FBT001 -- drawn
    async def run() -> int:
        await site.expect(100)
        with pytest.raises(DayOver):
            await site.sweep(per_day=40)
        site.platform.asked.clear()
        return (await site.sweep(again=again)).asked

    assert asyncio.run(run()) == 100
    assert len(site.platform.asked) == asked


def test_a_pass_that_rested_for_too_long_begins_anew_by_itself(site: Site) -> None:
    async def run() -> None:
        await site.expect(100)
        with pytest.raises(DayOver):
            await site.sweep(per_day=40)
        site.now += 36 * RESUME_WITHIN + SECOND
        site.platform.asked.clear()
        await site.sweep()

    asyncio.run(run())
    assert len(site.platform.asked) == 100


def test_no_card_is_left_out_where_a_new_day_begins_in_the_middle(site: Site) -> None:
    """Regression: the rest of a list was left out of the pass, if the day was over for it and a new one had begun."""

    def midnight() -> None:
        if len(site.platform.asked) == 40:
            site.now += DAY

    async def run() -> None:
        await site.expect(60)
        site.platform.meanwhile = midnight
        assert (await site.sweep(per_day=40)).asked == 60

    asyncio.run(run())
    assert len(set(site.platform.asked)) == len(site.platform.asked) == 60


# ── with a feed ──


def test_a_full_pass_that_was_interrupted_is_owed_however_long_ago(site: Site) -> None:
    """Regression: after an hour the feed was read on from the middle, and nobody asked for what was not in it."""

    async def run() -> None:
        await site.hear(picture("kept"), picture("lost"))
        await restored(site)
        site.platform.pages = [page(picture("moved"), cursor="1")]
        await interrupted(site)
        site.now += RESUME_WITHIN + HOUR
        site.platform.cards = {"kept": picture("kept", "CARD_PROD_ONGOING")}
        site.platform.pages = [page(picture("moved"), cursor="1")]
        await site.pull()

    asyncio.run(run())
    assert site.platform.since == ["expired", None, None]
    assert sorted(site.platform.asked) == ["kept", "lost"]
    assert site.rows("SELECT stage FROM operation WHERE card_id = 'kept'") == [("CARD_PROD_ONGOING",)]
    assert site.rows("SELECT count(*) FROM pass WHERE ended_at IS NULL") == [(0,)]


def test_a_full_pass_goes_on_within_the_hour_where_it_was(site: Site) -> None:
    async def run() -> None:
        await site.hear(picture("kept"))
        await restored(site)
        site.platform.pages = [page(picture("moved"), cursor="1")]
        await interrupted(site)
        await site.pull()

    asyncio.run(run())
    assert site.platform.since == ["expired", None, "1"]
    assert site.platform.asked == ["kept"]


def test_a_full_pass_that_goes_on_asks_for_no_card_a_second_time_known_to_the_platform_or_not(site: Site) -> None:
    """Regression: what the platform did not know was asked for again and again, so a day's calls never sufficed."""

    async def run() -> None:
        await site.hear(*(picture(card_id) for card_id in "abcde"))
        site.platform.cards = {"b": picture("b")}
        await restored(site)
        site.platform.pages = []
        for _ in range(2):
            with pytest.raises(DayOver):
                await site.pull(per_day=2)
            site.now += DAY
        await site.pull(per_day=2)

    asyncio.run(run())
    assert site.platform.asked == ["a", "b", "c", "d", "e"]
    assert site.rows("SELECT count(*) FROM pass WHERE ended_at IS NULL") == [(0,)]


def test_what_a_pass_has_read_before_another_restore_does_not_count(site: Site) -> None:
    """Regression: a card that the first restored feed had and the second had not was not asked for."""

    async def run() -> None:
        await site.hear(picture("kept"), picture("other"))
        await restored(site)
        site.platform.pages = [page(picture("kept", "CARD_PROD_ONGOING"), cursor="1")]
        await interrupted(site)
        await restored(site)
        site.platform.pages = [page(cursor="2")]
        site.platform.cards = {"kept": picture("kept")}
        await site.pull()

    asyncio.run(run())
    assert sorted(site.platform.asked) == ["kept", "other"]
    assert site.rows("SELECT stage FROM operation WHERE card_id = 'kept'") == [("CARD_PROD_READY",)]


def test_a_sweep_meanwhile_does_not_take_the_place_of_a_full_pass(site: Site) -> None:
    """Regression: while the feed was away, a sweep of the open cards ended the full pass over all cards."""

    async def run() -> None:
        await site.hear(picture("settled", "CARD_PROD_CANCELED", status="FAILED"))
        site.platform.cards = {"settled": picture("settled", "CARD_PROD_CANCELED", status="FAILED")}
        await site.sweep()
        await restored(site)
        site.platform.pages = [page(picture("moved"), cursor="1")]
        await interrupted(site)
        site.platform.cards = {"settled": picture("settled")}
        await site.sweep()
        await site.pull()

    asyncio.run(run())
    assert site.rows("SELECT stage FROM operation WHERE card_id = 'settled'") == [("CARD_PROD_READY",)]


def test_a_doubt_about_an_older_order_is_ended_by_the_cards_history(site: Site) -> None:
    """Regression: the feed said nothing more of it, and whoever asked heard of the latest order only."""
    newer = picture("a", operationId="op-2", startTime="2026-11-01T01:00:00.000Z")

    async def run() -> None:
        await site.hear(picture("a", "CARD_PROD_EXCEPTION"), newer, picture("a", "CARD_PROD_ONGOING"))
        site.platform.cards, site.platform.older = {"a": newer}, {"a": [picture("a", "CARD_PROD_EXCEPTION")]}
        site.platform.pages = []
        await site.pull()
        await site.pull()  # and once is enough

    asyncio.run(run())
    assert site.platform.asked == ["a with history"]
    assert site.rows("SELECT stage, doubtful FROM operation ORDER BY operation_id") == [
        ("CARD_PROD_READY", 0), ("CARD_PROD_EXCEPTION", 0),
    ]  # fmt: skip


def test_a_doubt_whose_question_failed_is_asked_for_again(site: Site) -> None:
    async def run() -> None:
        await site.hear(picture("a", "CARD_PROD_EXCEPTION"), picture("a", "CARD_PROD_ONGOING"), picture("b"))
        site.platform.cards = {"a": picture("a", "CARD_PROD_EXCEPTION")}
        site.platform.pages, site.platform.down = [], True
        assert (await site.pull()).failed == 1
        site.platform.down = False
        await site.pull()

    asyncio.run(run())
    assert site.rows("SELECT stage, doubtful FROM operation WHERE card_id = 'a'") == [("CARD_PROD_EXCEPTION", 0)]


def test_to_begin_anew_is_to_read_the_whole_feed_and_ask_for_all_that_is_not_in_it(site: Site) -> None:
    async def run() -> None:
        await site.hear(picture("kept"))
        site.platform.pages = [page(picture("moved"), cursor="1")]
        await site.pull()
        site.platform.pages = [page(picture("moved"), cursor="1")]
        await interrupted(site, again=True)
        site.platform.pages = [page(picture("moved"), cursor="1")]
        await site.pull(again=True)

    asyncio.run(run())
    assert site.platform.since == [None, None, None]
    assert site.platform.asked == ["kept"]
    assert site.rows("SELECT count(*) FROM pass WHERE ended_at IS NULL") == [(0,)]


def test_a_full_pass_begins_and_forgets_the_cursor_by_one_commit(site: Site) -> None:
    """Regression: killed between the two, the next one read the feed anew and asked for nothing that was not in it."""

    async def run() -> bool:
        await restored(site)
        async with site.leased() as fence:
            passes = Passes(site.mirror, ISSUER, fence)
            await passes.begin("feed")
            return await passes.is_owed("feed")

    assert asyncio.run(run())
    assert site.rows("SELECT cursor FROM issuer") == [(None,)]
