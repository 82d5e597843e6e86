"""Keeping a mirror right: what is asked for next, within which budget, and when the feed is read. Both engines."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from cardtrail.errors import InputError, RemoteError, RemoteUnauthorized
from cardtrail.issuer import keep
from cardtrail.issuer.ask import WORKERS, Asker
from cardtrail.issuer.budget import Limits, Usage, bound_of
from cardtrail.issuer.due import Why
from cardtrail.issuer.expect import Expected, expect
from cardtrail.issuer.keep import Keeper
from cardtrail.issuer.lease import held
from cardtrail.issuer.ration import DayOver
from cardtrail.issuer.reconcile import AHEAD, Reconciler
from cardtrail.issuer.round import OUTAGE, Heard
from cardtrail.protocol.reading import operation_of
from tests.keeping import DAY, HOUR, ISSUER, SECOND, START, Site, page, picture


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    site = Site(database_url)
    yield site
    site.mirror.close()


# ── without a feed ──


def test_the_most_urgent_is_asked_for_first(site: Site) -> None:
    async def run() -> None:
        await site.expect(3)
        await site.hear(picture("doubtful", "CARD_PROD_EXCEPTION"), picture("doubtful", "CARD_PROD_ONGOING"))
        site.platform.cards["doubtful"] = picture("doubtful", "CARD_PROD_ONGOING")
        async with site.leased() as fence:
            await site.keeper(per_second=0.1).run_once(fence)

    asyncio.run(run())
    assert site.platform.asked[0] == "doubtful"
    assert site.rows("SELECT doubtful, stage FROM operation") == [(0, "CARD_PROD_ONGOING")]


def test_no_more_calls_are_made_in_a_day_than_were_allowed_whatever_restarts(site: Site) -> None:
    async def run() -> None:
        await site.expect(300)
        site.now += 2 * DAY
        async with site.leased() as fence:
            for _ in range(140):
                await site.keeper(per_second=1_000, per_day=50).run_once(fence)  # a new one: as after a restart
                site.now += 600 * SECOND

    asyncio.run(run())
    assert 40 <= len(site.platform.asked) <= 50
    usage = msgspec.json.decode(site.rows("SELECT usage FROM spent")[0][0], type=Usage)
    assert usage.calls == len(site.platform.asked)


def test_a_share_of_the_calls_is_always_the_sweeps(site: Site) -> None:
    async def run() -> None:
        await site.expect(1_000)
        site.now += 2 * DAY
        for number in range(1_000, 1_400):
            name = f"card-{number:05d}"
            await site.hear(picture(name, "CARD_PROD_EXCEPTION"), picture(name, "CARD_PROD_ONGOING"))
        async with site.leased() as fence:
            keeper = site.keeper(per_second=10)
            for _ in range(20):
                await keeper.run_once(fence)
                site.now += SECOND

    asyncio.run(run())
    swept = [card_id for card_id in site.platform.asked if card_id < "card-01000"]
    assert len(swept) >= 0.15 * len(site.platform.asked)


def test_what_the_platform_does_not_know_is_kept_as_unknown_and_asked_for_again_later(site: Site) -> None:
    async def run() -> None:
        await site.expect(1)
        site.now += 3 * DAY
        async with site.leased() as fence:
            keeper = site.keeper()
            await keeper.run_once(fence)
            first = len(site.platform.asked)
            await keeper.run_once(fence)
            assert first >= 1
            site.platform.cards["card-00000"] = picture("card-00000")
            site.now += 5 * DAY
            await keeper.run_once(fence)

    asyncio.run(run())
    assert site.rows("SELECT stage FROM operation") == [("CARD_PROD_READY",)]
    assert site.rows("SELECT answer, state FROM card") == [("found", "open")]


def test_batches_are_used_where_the_server_has_them(site: Site) -> None:
    site.platform.batch = True

    async def run() -> None:
        await site.expect(2_500)
        for number in range(2_500):
            site.platform.cards[f"card-{number:05d}"] = picture(f"card-{number:05d}")
        site.now += 3 * DAY
        async with site.leased() as fence:
            keeper = site.keeper()
            for _ in range(4):
                await keeper.run_once(fence)
                site.now += SECOND

    asyncio.run(run())
    assert set(site.platform.asked) <= {"1000 at once", "500 at once", "2500 at once"}
    assert site.rows("SELECT count(*) FROM operation") == [(2_500,)]


def test_the_bound_is_stated_and_the_longest_unconfirmed_stands_beside_it(site: Site) -> None:
    async def run() -> None:
        await site.expect(100)
        site.now += HOUR
        async with site.leased() as fence:
            await site.keeper(per_second=1.0).run_once(fence)

    asyncio.run(run())
    [(day, stated, worst)] = site.rows("SELECT day, stated, worst FROM bound")
    assert day == START // DAY
    assert stated == bound_of(100, Limits(per_second=1.0, per_day=1_000_000))
    assert worst == HOUR


def test_an_outage_stops_the_round_and_what_was_not_answered_is_asked_for_again(site: Site) -> None:
    async def run() -> None:
        await site.expect(100)
        site.now += 3 * DAY
        site.platform.down = True
        async with site.leased() as fence:
            with pytest.raises(RemoteError, match="calls in a row have failed"):
                await site.keeper().run_once(fence)
        assert len(site.platform.asked) < 60
        site.platform.down = False
        site.platform.cards |= {f"card-{number:05d}": picture(f"card-{number:05d}") for number in range(100)}
        async with site.leased() as fence:
            keeper = site.keeper()
            for _ in range(50):
                await keeper.run_once(fence)
                site.now += 600 * SECOND

    asyncio.run(run())
    assert site.rows("SELECT count(*) FROM operation") == [(100,)]


def test_one_pass_keeps_to_the_days_calls_too_and_goes_on_the_next_day_where_it_ended(site: Site) -> None:
    async def run() -> None:
        await site.expect(100)
        for spent in (40, 40, 80, 80):
            with pytest.raises(DayOver, match="40 calls of this day"):
                await site.sweep(per_day=40)
            assert len(site.platform.asked) == spent
            site.now += DAY // 2
        assert (await site.sweep(per_day=40)).asked == 100

    asyncio.run(run())
    assert len(set(site.platform.asked)) == len(site.platform.asked) == 100


def test_a_card_that_is_ordered_again_while_it_is_asked_for_is_not_settled(site: Site) -> None:
    """Regression: the same answer as before settled the card, and nobody asked for the new order."""
    ended = picture("card-00000", "CARD_PROD_CANCELED", status="FAILED")

    async def hear() -> None:
        await site.hear(ended)

    async def order_again() -> None:
        await expect(site.mirror, ISSUER, [Expected("card-00000", site.now)])

    async def run() -> None:
        await site.expect(1)
        site.platform.cards["card-00000"] = ended
        site.platform.meanwhile = hear  # so this answer is no last look
        await site.sweep()
        assert site.rows("SELECT state, digest IS NULL FROM card") == [("open", False)]
        site.now += 2 * DAY
        site.platform.meanwhile = order_again
        await site.sweep()

    asyncio.run(run())
    assert site.rows("SELECT state, priority FROM card") == [("open", Why.UNHEARD)]


@pytest.mark.parametrize("batch", [False, True])
def test_an_answer_about_another_card_is_not_believed(site: Site, batch: bool) -> None:  # noqa: FBT001 -- drawn
    """Regression: a mixed-up answer won over what was known of a card that was not asked for."""
    site.platform.batch = batch

    async def run() -> Heard:
        await site.hear(picture("settled", "CARD_PROD_CANCELED", status="FAILED"))
        site.platform.cards["settled"] = picture("settled", "CARD_PROD_CANCELED", status="FAILED")
        await site.sweep()
        await site.expect(1)
        site.platform.cards["card-00000"] = picture("settled")
        return await site.sweep()

    heard = asyncio.run(run())
    assert (heard.failed, heard.changed) == (1, 0)
    assert site.rows("SELECT card_id, stage FROM operation") == [("settled", "CARD_PROD_CANCELED")]
    assert site.rows("SELECT name FROM sighting")[0][0].startswith("cardId: a card that was not asked for")


# ── tokens that are refused ──


def test_a_question_that_is_refused_has_a_second_turn_and_costs_nothing(site: Site) -> None:
    """Regression: one token refused twice in a row ended a whole pass."""
    site.platform.refusing = {"card-00007": 1}

    async def run() -> Heard:
        await site.expect(100)
        return await site.sweep()

    heard = asyncio.run(run())
    assert (heard.calls, heard.asked, heard.failed, heard.unknown) == (101, 100, 0, 100)


def test_a_question_that_is_always_refused_is_given_up_and_asked_for_later(site: Site) -> None:
    refused = [f"card-{number:05d}" for number in range(0, 100, 7)]
    site.platform.refusing = dict.fromkeys(refused, 1_000)

    async def run() -> Heard:
        await site.expect(100)
        heard = await site.sweep()
        assert site.rows("SELECT card_id, asks FROM card WHERE answer = 'failed' ORDER BY card_id") == [
            (card_id, 1) for card_id in refused
        ]
        site.platform.refusing = {}
        site.now += HOUR
        async with site.leased() as fence:
            await site.keeper().run_once(fence)
        return heard

    heard = asyncio.run(run())
    assert (heard.asked, heard.failed, heard.unknown) == (100, 15, 85)
    assert site.rows("SELECT count(*) FROM card WHERE answer = 'unknown'") == [(100,)]


@pytest.mark.parametrize("cards", [1, 2, 1_000])
def test_who_is_locked_out_hears_it_soon_and_the_pass_can_be_gone_on_with(site: Site, cards: int) -> None:
    site.platform.refusing = {"all": 100_000}

    async def run() -> int:
        await site.expect(cards)
        with pytest.raises(RemoteUnauthorized, match="HTTP 401"):
            await site.sweep()
        calls = len(site.platform.asked)
        assert site.rows("SELECT count(*) FROM card WHERE answer <> '' OR asked_no > 0") == [(0,)]
        site.platform.refusing = {}
        assert (await site.sweep()).asked == cards
        return calls

    assert asyncio.run(run()) <= AHEAD * (WORKERS + OUTAGE)


def test_who_is_locked_out_in_the_middle_of_a_pass_keeps_what_was_answered(site: Site) -> None:
    async def run() -> None:
        await site.expect(200)
        site.platform.cards = {f"card-{number:05d}": picture(f"card-{number:05d}") for number in range(200)}
        site.platform.refusing = {f"card-{number:05d}": 9 for number in range(50, 200)}
        with pytest.raises(RemoteUnauthorized):
            await site.sweep()

    asyncio.run(run())
    assert site.rows("SELECT count(*) FROM operation") == [(50,)]


@pytest.mark.parametrize("refused", [1, 2])
def test_a_batch_that_is_refused_is_asked_for_once_more(site: Site, refused: int) -> None:
    site.platform.batch = True
    site.platform.refusing = {"batch": refused}

    async def run() -> None:
        await site.expect(3)
        if refused == 1:
            assert (await site.sweep()).unknown == 3
        else:
            with pytest.raises(RemoteUnauthorized):
                await site.sweep()

    asyncio.run(run())
    assert site.platform.asked == ["3 at once"] * 2


def test_a_page_of_the_feed_that_is_refused_is_asked_for_once_more(site: Site) -> None:
    site.platform.pages = [page(picture("a"), cursor="1")]
    site.platform.refusing = {"feed": 1}

    async def run() -> None:
        async with site.leased() as fence:
            await site.keeper().run_once(fence)

    asyncio.run(run())
    assert site.rows("SELECT card_id FROM operation") == [("a",)]


# ── with a feed ──


def test_the_feed_is_read_to_its_end_and_on_from_there(site: Site) -> None:
    site.platform.pages = [page(picture("a"), cursor="1", more=True), page(picture("b"), cursor="2")]

    async def run() -> None:
        async with site.leased() as fence:
            await site.keeper().run_once(fence)
            site.now += HOUR
            await site.keeper().run_once(fence)

    asyncio.run(run())
    assert site.rows("SELECT stated, worst FROM bound") == [(315 * SECOND, HOUR)]
    assert site.platform.since == [None, "1", "2"]
    assert site.rows("SELECT cursor, pulled_at FROM issuer") == [("2", START + HOUR)]
    assert site.platform.asked == []


def test_the_feed_is_read_at_most_once_an_interval_sooner_with_news_than_without(site: Site) -> None:
    site.platform.pages = []

    async def pulls_after(keeper: Keeper, fence: int, seconds: float) -> int:
        site.now += round(seconds * SECOND)
        await keeper.run_once(fence)
        return len(site.platform.since)

    async def run() -> list[int]:
        async with site.leased() as fence:
            keeper = site.keeper(pull_seconds=30)
            counts = [await pulls_after(keeper, fence, 0), await pulls_after(keeper, fence, 60)]
            await site.hear(picture("a"), mark="m1")
            counts.append(await pulls_after(keeper, fence, 0))
            await site.hear(picture("b"), mark="m2")
            counts += [await pulls_after(keeper, fence, 29), await pulls_after(keeper, fence, 2)]
            return [*counts, await pulls_after(keeper, fence, 299), await pulls_after(keeper, fence, 2)]

    assert asyncio.run(run()) == [1, 1, 2, 2, 3, 3, 4]


def test_a_cursor_that_has_expired_leads_to_a_full_pass_over_every_card(site: Site) -> None:
    async def run() -> None:
        await site.hear(picture("kept"), picture("lost"), picture("moved"))
        await site.mirror.db.transact(
            lambda tx: tx.run("set_cursor", issuer_id=ISSUER, cursor="expired", pulled_at=None)
        )
        site.platform.pages = [page(picture("moved", "CARD_PROD_DONE"), cursor="1")]
        site.platform.cards = {"kept": picture("kept", "CARD_PROD_ONGOING")}
        async with site.leased() as fence:
            await site.keeper().run_once(fence)

    asyncio.run(run())
    assert site.platform.since == ["expired", None]
    assert sorted(site.platform.asked) == ["kept", "lost"]
    assert dict(site.rows("SELECT card_id, stage FROM operation")) == {
        "kept": "CARD_PROD_ONGOING", "lost": "CARD_PROD_READY", "moved": "CARD_PROD_DONE",
    }  # fmt: skip
    assert site.rows("SELECT answer FROM card WHERE card_id = 'lost'") == [("unknown",)]


def test_a_bad_element_of_the_feed_costs_only_itself(site: Site) -> None:
    site.platform.pages = [page(b'{"cardId":7}', picture("a"), cursor="1")]

    async def run() -> None:
        async with site.leased() as fence:
            await site.keeper().run_once(fence)

    asyncio.run(run())
    assert site.rows("SELECT card_id FROM operation") == [("a",)]
    assert site.rows("SELECT kind FROM sighting") == [("element",)]
    with pytest.raises(InputError):
        operation_of(b'{"cardId":7}')


def test_a_feed_that_is_gone_is_found_out_and_cards_are_asked_for_instead(site: Site) -> None:
    site.platform.pages = []

    async def run() -> None:
        await site.expect(1)
        async with site.leased() as fence:
            keeper = site.keeper()
            await keeper.run_once(fence)
            site.platform.pages = None
            site.now += 3 * DAY
            for _ in range(3):
                await keeper.run_once(fence)

    asyncio.run(run())
    assert site.platform.asked
    assert set(site.platform.asked) == {"card-00000"}


def test_an_answer_does_not_stand_for_a_card_of_which_the_feed_told_since(site: Site) -> None:
    """Regression: a page of the feed left the digest of the last answer, which was then confirmed unread."""

    async def run() -> None:
        await site.expect(1)
        site.platform.cards["card-00000"] = picture("card-00000", reason="ON_HOLD: x")
        await site.sweep()
        assert site.rows("SELECT count(*) FROM card WHERE digest IS NOT NULL") == [(1,)]
        site.platform.pages = [page(picture("card-00000", "CARD_PROD_ONGOING"), cursor="1")]
        await site.pull()
        assert site.rows("SELECT stage FROM operation") == [("CARD_PROD_ONGOING",)]
        await site.sweep()  # restored: it says what it said first

    asyncio.run(run())
    assert site.rows("SELECT stage FROM operation") == [("CARD_PROD_READY",)]


@pytest.mark.parametrize("by", ["the loop", "one pass"])
def test_what_was_not_answered_in_a_full_pass_is_asked_for_again_beside_a_feed(site: Site, by: str) -> None:
    """Regression: where there is a feed, nobody asked again for a card that had failed in the pass after a restore."""

    async def run() -> None:
        await site.hear(picture("settled", "CARD_PROD_CANCELED", status="FAILED"), picture("open"))
        site.platform.pages = [page(cursor="1")]
        site.platform.down = True
        async with site.leased() as fence:
            work = Reconciler(Asker(ISSUER, site.platform, site.mirror, fence, many=False))
            assert (await work.read_anew()).failed == 2
            site.platform.down = False
            if by == "one pass":
                assert (await work.ask_failed()).asked == 2
            else:
                keeper = site.keeper()
                await keeper.run_once(fence)
                assert len(site.platform.asked) == 2  # its turn has not come yet
                site.now += HOUR
                await keeper.run_once(fence)

    asyncio.run(run())
    assert sorted(site.platform.asked) == ["open", "open", "settled", "settled"]
    assert site.rows("SELECT answer FROM card") == [("unknown",)] * 2


def test_a_card_that_is_never_answered_is_asked_for_once_a_pass_and_ever_more_seldom_by_the_loop(site: Site) -> None:
    async def run() -> list[int]:
        await site.hear(picture("open"))
        site.platform.pages, site.platform.down = [page(cursor="1")], True
        counts = []
        async with site.leased() as fence:
            work = Reconciler(Asker(ISSUER, site.platform, site.mirror, fence, many=False))
            await work.read_anew()
            assert (await work.ask_failed()).failed == 1
            keeper = site.keeper()
            for _ in range(2):
                for _ in range(12):
                    site.now += HOUR // 6
                    await keeper.run_once(fence)
                counts.append(len(site.platform.asked))
        return counts

    first, second = asyncio.run(run())
    assert second - first < first <= 8


# ── for ever ──


def test_somebody_who_wants_a_whole_pass_gets_a_turn_beside_the_loop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "HOLD_SECONDS", 0.2)
    monkeypatch.setattr(keep, "IDLE_SECONDS", 0.05)

    async def run() -> None:
        await site.expect(3)
        keeping = asyncio.create_task(site.keeper().run())
        async with held(site.mirror.db, ISSUER) as fence:
            asker = Asker(ISSUER, site.platform, site.mirror, fence, many=False)
            assert (await Reconciler(asker).sweep()).asked == 3
            assert not keeping.done()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(run())


def test_what_fails_is_tried_again_and_does_not_end_the_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(keep, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(keep, "GAP_SECONDS", 0.01)

    async def run() -> None:
        await site.expect(30)
        site.now += 3 * DAY
        site.platform.down = True
        keeping = asyncio.create_task(site.keeper().run())
        async with asyncio.timeout(60):
            while len(site.platform.asked) < 20:  # noqa: ASYNC110 -- the platform is a plain object
                await asyncio.sleep(0.01)
            site.platform.down = False
            site.platform.cards |= {f"card-{number:05d}": picture(f"card-{number:05d}") for number in range(30)}
            while site.rows("SELECT count(*) FROM operation") != [(30,)]:
                site.now += HOUR
                await asyncio.sleep(0.02)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(run())


def test_batches_that_are_gone_are_found_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a server that stopped reading batches was asked for them for ever."""
    monkeypatch.setattr(keep, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(keep, "IDLE_SECONDS", 0.01)
    site.platform.batch = True

    async def run() -> None:
        await site.expect(3)
        site.now += 3 * DAY
        keeper = site.keeper()
        async with site.leased() as fence:
            await keeper.run_once(fence)
        site.platform.batch = False
        site.platform.cards |= {f"card-{number:05d}": picture(f"card-{number:05d}") for number in range(3)}
        keeping = asyncio.create_task(keeper.run())
        async with asyncio.timeout(60):
            while site.rows("SELECT count(*) FROM operation") != [(3,)]:
                site.now += 600 * SECOND
                await asyncio.sleep(0.02)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(run())


def test_doubts_are_ended_beside_a_feed_that_says_nothing_of_them(site: Site) -> None:
    """Regression: one pass with a feed left what was doubtful as it was."""
    site.platform.pages = []

    async def run() -> Heard:
        await site.hear(picture("a", "CARD_PROD_EXCEPTION"), picture("a", "CARD_PROD_ONGOING"))
        site.platform.cards["a"] = picture("a", "CARD_PROD_EXCEPTION")
        async with site.leased() as fence:
            work = Reconciler(Asker(ISSUER, site.platform, site.mirror, fence, many=False))
            return await work.pull() + await work.ask_doubtful()

    assert asyncio.run(run()).changed == 1
    assert site.rows("SELECT stage, doubtful FROM operation") == [("CARD_PROD_EXCEPTION", 0)]
