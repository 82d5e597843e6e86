"""The changes feed on both engines: order, pages, cursors, waiting, and law 5: no reader ever skips a change."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec
import pytest

from cardtrail.db import Database, Transaction
from cardtrail.errors import CursorExpired, StoreUnavailable
from cardtrail.platform import feed as feeds
from cardtrail.platform.feed import Feed, Page, position_of
from cardtrail.protocol.cursor import Cursor
from tests.contract.test_interleaving import Held, interleave, recording
from tests.desk import Desk, connected, desk
from tests.events import event
from tests.following import Follower, Verdict, fed, judge, keep_log, published
from tests.serving import ISSUER, OTHER_ISSUER

PATIENCE = 60.0
"""Longest wait for another task, seconds; only a broken test ever waits so long."""
STAGES = ("requested", "prepared", "ready", "started", "held", "released", "done", "shipped")
T = TypeVar("T")


def order(site: Desk, *cards: str, issuer: str = ISSUER) -> None:
    """Order these cards, in this order, each in a transaction of its own."""
    for card in cards:
        told = event("requested", card, operationId=f"op-{card}") | {"issuerId": issuer}
        assert site.tell(told) == ["accepted"]


def names(pictures: list[bytes]) -> list[str]:
    return [msgspec.json.decode(picture)["operationId"] for picture in pictures]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something is so."""
    while not condition():  # noqa: ASYNC110 -- what a test looks into from outside has no event for it
        await asyncio.sleep(0)


# ── pages


def test_the_feed_gives_the_newest_picture_only_in_the_order_of_the_changes(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a", "b", "c")
        site.tell(event("ready", "a", hours=1), event("started", "a", hours=2))
        page = site.run(feed.read(ISSUER, None, 100))
        assert names(page.pictures) == ["op-b", "op-c", "op-a"]
        assert page.pictures[-1] == published(database_url)["op-a"]
        assert (page.cursor.number, page.more) == (4, False)
        again = site.run(feed.read(ISSUER, page.cursor, 100))
        assert (again.pictures, again.cursor, again.more) == ([], page.cursor, False)


def test_pages_of_one_give_the_same_as_one_page(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a", "b", "c")
        one, many = Follower(), Follower()
        site.run(one.read_all(feed))
        site.run(many.read_all(feed, 1))
        assert [reading.seen for reading in many.readings] == [[known] for known in one.readings[0].seen]
        assert many.cursor == one.cursor
        first = site.run(feed.read(ISSUER, None, 1))
        assert (first.cursor.number, first.more) == (1, True)


def test_a_page_ends_before_it_is_too_long_but_never_empty(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a", "b", "c")
        sizes = [len(picture) for picture in site.run(feed.read(ISSUER, None, 3)).pictures]
        for most, first in ((sum(sizes), 3), (sum(sizes) - 1, 2), (sizes[0], 1), (1, 1)):
            monkeypatch.setattr(feeds, "MAX_PAGE_BYTES", most)
            page = site.run(feed.read(ISSUER, None, 3))
            assert (len(page.pictures), page.more) == (first, first < 3)
        follower = Follower()
        site.run(follower.read_all(feed))
        assert [len(reading.seen) for reading in follower.readings] == [1, 1, 1]


def test_an_issuer_without_changes_has_a_place_to_wait_at(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        page = site.run(feed.read(ISSUER, None, 100))
        assert (page.pictures, page.cursor.number, page.more) == ([], 0, False)
        order(site, "a")
        assert names(site.run(feed.read(ISSUER, page.cursor, 100)).pictures) == ["op-a"]


def test_rows_that_have_gone_from_the_end_keep_nobody_from_waiting(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a", "b", "c")
        site.transact(lambda tx: tx.script("DELETE FROM operation WHERE change_no > 1;\n"))
        page = site.run(feed.read(ISSUER, None, 100))
        assert (names(page.pictures), page.cursor.number, page.more) == (["op-a"], 3, False)
        assert site.run(feed.wait(ISSUER, page.cursor.number, 0.001)) is False
        assert site.run(feed.read(ISSUER, page.cursor, 100)) == Page([], page.cursor, more=False)


def test_nobody_reads_another_issuers_changes(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a", "b")
        order(site, "x", "y", "z", issuer=OTHER_ISSUER)
        for issuer, expected in ((ISSUER, ["op-a", "op-b"]), (OTHER_ISSUER, ["op-x", "op-y", "op-z"])):
            page = site.run(feed.read(issuer, None, 100))
            assert names(page.pictures) == expected
            assert page.cursor.number == len(expected)


def test_a_cursor_of_another_epoch_or_ahead_of_all_changes_has_expired(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a")
        here = site.run(site.db.read(lambda tx: position_of(tx, ISSUER)))
        assert here.number == 1
        for wrong in (Cursor("0" * 16, ISSUER, 1), Cursor(here.epoch, ISSUER, 2)):
            with pytest.raises(CursorExpired, match="from the beginning"):
                site.run(feed.read(ISSUER, wrong, 100))
        assert site.run(feed.read(ISSUER, here, 100)).pictures == []


# ── law 5, one statement after the other


async def one_writer_stopped(one: Desk, two: Desk, stop_before: int, follower: Follower, feed: Feed) -> bool:
    """Stop a writer before a statement, let a second one come; the reader reads before, in between and after."""
    card, other = f"card-{stop_before}", f"other-{stop_before}"
    first = recording(one, [event("requested", card), event("requested", f"{card}-too")])
    second = recording(two, [event("requested", other), event("held", "card-0", hours=1, reason=str(stop_before))])
    reading = asyncio.create_task(_reading(follower, feed))
    try:
        return await interleave(one, two, first, second, stop_before)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _reading(follower: Follower, feed: Feed) -> None:
    while True:
        await follower.read(feed, 1)


def test_a_writer_stopped_before_any_of_its_statements_makes_no_reader_skip_a_change(database_url: str) -> None:
    with desk(database_url) as one, desk(database_url) as two, fed(one) as feed:
        keep_log(database_url)
        order(one, "card-0")
        follower, stopped, n = Follower(), True, 0
        while stopped:
            n += 1
            stopped = one.run(one_writer_stopped(one, two, n, follower, feed))
        one.run(follower.read_all(feed, 1))
        verdict = judge(database_url, follower)
        assert (verdict.skipped, verdict.disordered) == (0, 0)
        assert verdict.changes > 3 * n
        assert follower.mirror == published(database_url)
    assert n > 6


class StoppingReader:
    """A store whose next read stops before its n-th statement until it is let go."""

    def __init__(self, db: Database, held: Held) -> None:
        self._db = db
        self._held = held
        self.watch = db.watch

    def read(self, work: Callable[[Transaction], T]) -> Awaitable[T]:
        return self._db.read(lambda tx: work(self._held.around(tx)))


@pytest.mark.parametrize("stop_before", [1, 2])
def test_a_reader_stopped_between_its_statements_skips_nothing(database_url: str, stop_before: int) -> None:
    """Meanwhile changes are committed: to what it has read, to what it will read now, and to what is new."""
    with desk(database_url) as one, desk(database_url) as two, fed(one) as feed:
        keep_log(database_url)
        order(one, "a", "b", "c")
        follower = Follower()
        one.run(follower.read(feed, 1))
        for turn in range(1, 4):
            held = Held(stop_before)
            stopping = Feed(cast("Database", StoppingReader(one.db, held)))

            async def story(stopping: Feed = stopping, held: Held = held, turn: int = turn) -> None:
                reading = asyncio.create_task(follower.read(stopping, 2))
                await asyncio.to_thread(held.reached.wait, PATIENCE)
                for card in ("a", "b", f"new-{turn}"):
                    kind = "requested" if card.startswith("new") else STAGES[turn]
                    await two.take(event(kind, card, hours=turn))
                held.go.set()
                await reading

            one.run(story())
        one.run(follower.read_all(feed, 1))
        assert judge(database_url, follower)[2:] == (0, 0)
        assert follower.mirror == published(database_url)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_an_epoch_renewed_between_the_readers_statements_sends_it_back_and_never_on(database_url: str) -> None:
    with desk(database_url) as one, fed(one) as feed:
        order(one, "a")
        held = Held(2)
        stopping = Feed(cast("Database", StoppingReader(one.db, held)))

        async def story() -> Cursor:
            reading = asyncio.create_task(stopping.read(ISSUER, None, 100))
            await asyncio.to_thread(held.reached.wait, PATIENCE)
            await one.db.transact(lambda tx: tx.run("set_meta", name="epoch", value="f" * 16))
            held.go.set()
            return (await reading).cursor

        cursor = one.run(story())
        assert cursor.epoch != "f" * 16
        with pytest.raises(CursorExpired):
            one.run(feed.read(ISSUER, cursor, 100))


# ── law 5, whatever the order


@pytest.mark.parametrize("seed", range(1, 7))
def test_readers_beside_writers_at_random_skip_nothing(database_url: str, seed: int) -> None:
    """Several processes, issuers and tasks, some transactions undone; each reader has pages of its own size."""
    rng = random.Random(seed)
    issuers = [ISSUER, OTHER_ISSUER]
    followers = [Follower(issuer) for issuer in issuers for _ in range(2)]
    with desk(database_url) as one, desk(database_url) as two, fed(one) as near, fed(two) as far:
        keep_log(database_url)
        written = asyncio.Event()

        async def writing(site: Desk) -> None:
            for _ in range(10):
                batch = [
                    event(rng.choice(STAGES), f"card-{rng.randrange(9)}", issuerId=rng.choice(issuers), hours=n)
                    for n in range(rng.randrange(1, 9))
                ]
                work = recording(site, batch)
                if rng.random() < 0.2:
                    with pytest.raises(ZeroDivisionError):
                        await site.db.transact(lambda tx, work=work: work(tx) and 1 // 0)  # type: ignore[misc]  # mypy cannot type the default
                else:
                    await site.db.transact(work)

        async def reading(follower: Follower, feed: Feed, limit: int) -> None:
            while not written.is_set():
                await follower.read(feed, limit)
            await follower.read_all(feed, limit)

        async def story() -> None:
            readings = [
                asyncio.create_task(reading(follower, (near, far)[n % 2], rng.choice((1, 2, 3, 50))))
                for n, follower in enumerate(followers)
            ]
            await asyncio.gather(*(writing(site) for site in (one, two, one, two)))
            written.set()
            await asyncio.gather(*readings)

        one.run(story())
    for follower in followers:
        verdict = judge(database_url, follower)
        assert (verdict.skipped, verdict.disordered) == (0, 0), f"seed {seed}"
        assert follower.mirror == published(database_url, follower.issuer_id), f"seed {seed}"
        assert len(follower.readings) > 2


def test_the_judge_sees_what_is_skipped_disordered_or_left_unread(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        keep_log(database_url)
        order(site, "a", "b", "c")
        pages = [site.run(feed.read(ISSUER, Cursor(_epoch(site), ISSUER, number), 1)) for number in (0, 1, 2)]

        def judged(*turns: int) -> Verdict:
            follower = Follower()
            for turn in turns:
                follower.take(pages[turn].pictures, pages[turn].cursor, 3)
            return judge(database_url, follower)

        assert judged(0, 1, 2) == Verdict(3, 3, 0, 0)
        assert judged(0, 2).skipped == 1
        assert judged(0, 1).skipped == 1
        assert judged(0, 0, 1, 2).disordered == 1
        assert judged(1, 0, 2).disordered == 1


def _epoch(site: Desk) -> str:
    return site.run(site.db.read(lambda tx: position_of(tx, ISSUER))).epoch


# ── waiting


def waited(site: Desk, feed: Feed, after: int, before_that: Callable[[], Awaitable[Any]]) -> bool:
    """Begin to wait after a change number, then do something; return whether the wait ended by a change."""

    async def story() -> bool:
        waiting = asyncio.create_task(feed.wait(ISSUER, after, PATIENCE))
        await until(lambda: feed._waiters or waiting.done())
        await before_that()
        return await waiting

    return site.run(story())


def test_a_wait_ends_with_a_change_of_this_process_and_of_another(database_url: str) -> None:
    with desk(database_url) as one, desk(database_url) as two, fed(one) as feed:
        for number, site in enumerate((one, two, one, two)):
            assert waited(one, feed, number, lambda site=site, n=number: site.take(event("requested", f"card-{n}")))  # type: ignore[misc]  # mypy cannot type the defaults
        assert one.run(feed.wait(ISSUER, 4, 0.001)) is False
        assert feed._waiters == {}
        assert feed._count == 0


def test_a_change_of_another_issuer_ends_no_wait(database_url: str) -> None:
    with desk(database_url) as site:
        feed = Feed(site.db)
        done: list[int] = []

        async def others() -> None:
            await site.take(event("requested", "x") | {"issuerId": OTHER_ISSUER})
            done.append(await feed.run_once())
            feed.release()

        assert waited(site, feed, 0, others) is False
        assert done == [0]


def test_what_was_committed_between_the_reading_and_the_waiting_ends_the_wait(database_url: str) -> None:
    """Somebody else's question has already been told that something moved, and nothing moves after it."""
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a")

        async def story() -> list[bool]:
            other = asyncio.create_task(feed.wait(OTHER_ISSUER, 0, PATIENCE))
            await until(lambda: feed._waiters)
            await feed.run_once()
            found = await feed.wait(ISSUER, 0, PATIENCE)
            feed.release()
            return [found, await other]

        assert site.run(story()) == [True, False]


def test_a_question_that_failed_is_asked_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk(database_url) as site, fed(site) as feed:
        read, failures = site.db.read, [StoreUnavailable("gone"), ZeroDivisionError()]

        async def failing(work: Callable[[Transaction], T]) -> T:
            if failures:
                raise failures.pop()
            return await read(work)

        monkeypatch.setattr(site.db, "read", failing)
        order(site, "a")
        assert site.run(feed.wait(ISSUER, 0, PATIENCE)) is True
        assert failures == []


def test_a_counter_that_fell_ends_the_wait_too(database_url: str) -> None:
    with desk(database_url) as site, fed(site) as feed:
        order(site, "a")

        async def fall() -> None:
            await site.db.transact(lambda tx: tx.script("DELETE FROM issuer_counter;\n"))

        assert waited(site, feed, 1, fall) is True


def test_so_many_wait_and_the_next_is_answered_at_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MAX_WAITERS", 3)
    monkeypatch.setattr(feeds, "MAX_WAITERS_OF_ISSUER", 2)
    with desk(database_url) as site:
        feed = Feed(site.db)

        async def story() -> list[bool]:
            waits = [feed.wait(issuer, 0, PATIENCE) for issuer in (ISSUER, ISSUER, OTHER_ISSUER)]
            waiting = [asyncio.create_task(each) for each in waits]
            await until(lambda: feed._count == 3)
            assert await feed.wait("ISSUER0003", 0, PATIENCE) is False
            waiting[2].cancel()
            await asyncio.gather(waiting[2], return_exceptions=True)
            assert await feed.wait(ISSUER, 0, PATIENCE) is False
            feed.release()
            return await asyncio.gather(*waiting[:2])

        assert site.run(story()) == [False, False]
        assert site.run(feed.wait(ISSUER, 0, PATIENCE)) is False
        assert feed._count == 0


def test_one_question_serves_all_who_wait_and_none_is_asked_when_nobody_does(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk(database_url) as site, fed(site) as feed:
        read, asked = site.db.read, []

        async def counting(work: Callable[[Transaction], T]) -> T:
            asked.append(1)
            return await read(work)

        monkeypatch.setattr(site.db, "read", counting)
        assert site.run(feed.run_once()) == 0
        assert asked == []

        async def story() -> int:
            waits = [asyncio.create_task(feed.wait(f"ISSUER{n % 20:04}", 0, PATIENCE)) for n in range(60)]
            await until(lambda: feed._count == 60)
            await site.db.transact(lambda tx: tx.script(_CHANGE_ALL))
            woken = 0
            while woken < 60 and not all(wait.done() for wait in waits):
                before = len(asked)
                woken += await feed.run_once()
                assert len(asked) <= before + 2  # ours, and the watcher's own
                await asyncio.sleep(0)  # what has nothing to ask waits for nothing, and the watcher wants its turn
            return sum(await asyncio.gather(*waits))

        assert site.run(story()) == 60


_CHANGE_ALL = "".join(
    f"INSERT INTO issuer_counter (issuer_id, change_no) VALUES ('ISSUER{n:04}', 1);\n"  # noqa: S608 -- our own
    for n in range(20)
)


def test_a_watch_tells_of_every_commit_and_on_sqlite_of_nothing_else(database_url: str) -> None:
    with desk(database_url) as one, desk(database_url) as two:
        first, second = one.db.watch(), one.db.watch()
        assert (first(), second()) == (True, True)
        for value, site in (("1", one), ("2", two)):  # what writes the same value again changes nothing on SQLite
            if one.db.engine == "sqlite":
                assert first() is False
                site.run(site.db.read(lambda tx: tx.one("find_meta", name="epoch")))
                assert first() is False
            site.transact(lambda tx: tx.run("set_meta", name="name", value=value))  # noqa: B023 -- waited for
            assert (first(), second()) == (True, True)
        with connected(database_url) as run:
            run("DELETE FROM meta WHERE name = 'name'")
        assert first() is True
    if one.db.engine == "sqlite":
        with pytest.raises(StoreUnavailable, match="closed"):
            first()
