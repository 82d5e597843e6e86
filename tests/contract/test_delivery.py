"""The deliverer on both engines, with receivers on real sockets: what goes out, what comes of it, and who may send."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cardtrail.db import Transaction
from cardtrail.errors import StoreUnavailable
from cardtrail.platform.lane import Lane
from cardtrail.platform.ledger import Selection
from cardtrail.platform.replay import Replay
from tests.delivering import SECOND, Delivering, delivering
from tests.desk import execute
from tests.events import event
from tests.receiver import OK
from tests.serving import ISSUER


def later_monotonic(site: Delivering, seconds: float) -> None:
    """Let every process's own clock go on."""
    for process in site.processes:
        process.ahead += seconds


# ── lanes that break


def test_a_lane_that_broke_is_taken_again_by_the_same_process(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: it was known as held by this process and never taken again."""
    with delivering(database_url) as site:
        receiver = site.listening()
        site.order("a")
        with monkeypatch.context() as broken:
            broken.setattr(Lane, "run_once", lambda _: 1 / 0)
            site.turn()
        assert site.states() == ["PENDING"]
        site.turn()
        assert receiver.calls == []  # it rests, so that it does not break all the time
        later_monotonic(site, 60)
        site.settle()
        assert site.states() == ["DELIVERED"]


def test_an_endpoint_whose_secrets_do_not_open_holds_up_no_other_and_is_tried_again(database_url: str) -> None:
    """Was a bug: it was never tried again, not even once the right key had come."""
    with delivering(database_url) as site:
        lost, other = site.listening("lost"), site.listening("other")
        execute(database_url, "CREATE TABLE kept AS SELECT endpoint_id, secret_box FROM endpoint")
        execute(database_url, RESEAL.format("other"))
        site.order("a")
        site.turn()
        assert (site.states("lost"), site.states("other")) == (["PENDING"], ["DELIVERED"])
        execute(database_url, RESEAL.format("lost"))
        later_monotonic(site, 60)
        site.settle()
        assert site.states("lost") == ["DELIVERED"]
        assert (len(lost.calls), len(other.calls)) == (1, 1)


RESEAL = (
    "UPDATE endpoint SET secret_box = (SELECT secret_box FROM kept WHERE endpoint_id = '{}') WHERE endpoint_id = 'lost'"
)


def test_a_store_that_is_lost_in_the_middle_of_a_turn_loses_nothing_and_ends_no_lane(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: the lane was dropped, the calls that were under way with it, and never came back."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=2)
        site.order(*"abcdefgh")
        reads = site.desk.db.read
        asked: list[object] = []

        async def lost(work: Callable[[Transaction], Any]) -> Any:
            asked.append(work)
            if len(asked) > 3:
                raise StoreUnavailable("gone")
            return await reads(work)

        with monkeypatch.context() as broken:
            broken.setattr(site.desk.db, "read", lost)
            site.turn()
        fence = site.lane()["fence"]
        site.settle()
        assert set(site.states()) == {"DELIVERED"}
        assert site.lane()["fence"] == fence
        assert len(receiver.calls) == 8


def test_a_deliverer_goes_on_when_the_store_cannot_even_be_asked_whether_it_moved(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: the loop ended for good, and nobody was told."""
    with delivering(database_url) as site:
        receiver = site.listening()
        answers = [StoreUnavailable("gone"), True]

        def moved() -> bool:
            answer = answers.pop(0) if len(answers) > 1 else True
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(site.desk.db, "watch", lambda: moved)

        async def run() -> None:
            running = asyncio.create_task(site.processes[0].deliverer.run())
            await site.desk.take(event("requested", "a"))
            await receiver.until(lambda it: it.arrived == 1)
            await site.processes[0].deliverer.stop()
            await running

        site.desk.run(run())
        assert site.states() == ["DELIVERED"]


# ── replays


@pytest.mark.parametrize("exact", [False, True])
def test_a_replay_that_fails_waits_for_its_next_try_as_any_other(database_url: str, exact: bool) -> None:  # noqa: FBT001 - pytest fills it in
    """Was a bug: a failed replay was sent again at once until it was dead."""
    with delivering(database_url) as site:
        receiver = site.listening()
        site.order("a")
        site.settle()
        receiver.reply = lambda _call: (503, {}, b"")
        replay = Replay(site.desk.db, site.wall)
        assert site.desk.run(replay.run(ISSUER, Selection(card_id="a"), exact=exact)).replayed == 1
        site.settle()
        [note] = site.notes()
        assert (note.state, note.attempts, note.round, receiver.arrived) == ("PENDING", 1, 1, 2)
        assert note.due_at >= site.desk.now + 5 * SECOND
        site.later(7 * SECOND)
        site.settle()
        assert (site.notes()[0].attempts, receiver.arrived) == (2, 3)


def test_replays_that_wait_for_a_later_try_are_due_at_once_when_the_endpoint_is_back(database_url: str) -> None:
    """Was a bug: only live traffic was."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*"abcdefgh")
        site.settle()
        receiver.reply = lambda _call: (503, {}, b"")
        site.desk.run(Replay(site.desk.db, site.wall).run(ISSUER, Selection(endpoint_id="one")))
        site.settle()
        assert site.lane()["probe_at"] is not None
        receiver.reply = lambda _call: OK
        site.later(6 * SECOND)
        site.settle()
        assert set(site.states()) == {"DELIVERED"}


def test_live_traffic_goes_before_replays(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*"ab")
        site.settle()
        replay = Replay(site.desk.db, site.wall)
        site.desk.run(replay.run(ISSUER, Selection(card_id="a"), exact=True))
        site.desk.run(replay.run(ISSUER, Selection(card_id="b")))
        site.order("c")
        site.settle()
        assert [each["cardId"] for each in receiver.delivered[2:]] == ["c", "b", "a"]
