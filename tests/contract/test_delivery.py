"""The deliverer on both engines, with receivers on real sockets: what goes out, what comes of it, and who may send."""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from structlog.testing import capture_logs

from cardtrail.core.bucket import Bucket
from cardtrail.db import Row, Transaction
from cardtrail.errors import StoreUnavailable
from cardtrail.pages.door.trail import list_audit
from cardtrail.platform.circuit import MAX_ASKED
from cardtrail.platform.endpoint import EndpointState, Secrets, Signing
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.lane import Lane
from cardtrail.platform.ledger import Selection
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.replay import Replay
from cardtrail.platform.settle import Done, Settlement, Settler
from cardtrail.protocol.cursor import decode_cursor
from tests.delivering import DAY, HOUR, MINUTE, SECOND, Delivering, delivering, oauth_of, signed_by
from tests.desk import dump, execute
from tests.events import event
from tests.receiver import OK, PATIENCE, Received, Receiver, Reply
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
        answers: list[StoreUnavailable | bool] = [StoreUnavailable("gone"), True]

        def moved() -> bool:
            answer = answers.pop(0) if len(answers) > 1 else True
            if isinstance(answer, StoreUnavailable):
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


# ── claims


class Slow:
    """A transaction whose first look for what is due is over, but not handed over until it is let go."""

    def __init__(self) -> None:
        self.looked = threading.Event()
        self.go = threading.Event()

    def around(self, work: Callable[[Transaction], Any]) -> Callable[[Transaction], Any]:
        def run(tx: Transaction) -> Any:
            all_of = tx.all

            def slowly(name: str, /, **parameters: object) -> list[Row]:
                rows = all_of(name, **parameters)
                if name == "claim" and not self.looked.is_set():
                    self.looked.set()
                    assert self.go.wait(PATIENCE)
                return rows

            tx.all = slowly  # type: ignore[method-assign]  # for this one transaction
            return work(tx)

        return run


def test_what_is_settled_while_more_is_claimed_is_not_sent_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: read as pending, settled, forgotten, and then claimed once more."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=2)
        site.order("a", "b")
        answer_a, slow = asyncio.Event(), Slow()

        async def reply(call: Received) -> Reply:
            if call.operations[0]["cardId"] == "a":
                await answer_a.wait()
            return OK

        receiver.reply = reply
        read = site.desk.db.read

        async def reading(work: Callable[[Transaction], Any]) -> Any:
            return await read(slow.around(work) if receiver.calls else work)

        monkeypatch.setattr(site.desk.db, "read", reading)

        async def run() -> None:
            turn = asyncio.create_task(site.processes[0].deliverer.run_once())
            await asyncio.to_thread(slow.looked.wait, PATIENCE)
            answer_a.set()
            [lane] = site.processes[0].deliverer._lanes.values()
            while not lane._claims.is_empty:  # noqa: ASYNC110 - a set has no event
                await asyncio.sleep(0.001)
            slow.go.set()
            await turn

        site.desk.run(run())
        assert site.states() == ["DELIVERED", "DELIVERED"]
        assert receiver.arrived == 2


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


# ── settling


def test_what_came_of_a_message_in_several_calls_is_settled_in_their_order(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: settled together, PostgreSQL took one of the results at random, and counts went back on both."""
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=4, concurrency=1)
        site.order(*"abcd")
        receiver.reply = refusing("b")
        write, group = Settler._write, Settler._next_group
        waiting = threading.Event()

        async def slowly(settler: Settler, settlements: Sequence[Settlement]) -> None:
            if not waiting.is_set():  # the first is held back until all others wait
                await receiver.until(lambda it: len(it.calls) == 5)
                waiting.set()
            await write(settler, settlements)

        monkeypatch.setattr(Settler, "_write", slowly)
        groups: list[int] = []

        def grouped(settler: Settler) -> list[tuple[Settlement, Any]]:
            taken = group(settler)
            groups.append(len(taken))
            return taken

        monkeypatch.setattr(Settler, "_next_group", grouped)
        site.settle()
        found = {note.card_id: (note.state, note.attempts, len(note.attempt_ids.split())) for note in site.notes()}
        assert found == {
            "a": ("DELIVERED", 1, 3), "b": ("REFUSED", 1, 3), "c": ("DELIVERED", 1, 2), "d": ("DELIVERED", 1, 2),
        }  # fmt: skip
        assert len(site.tries()) == sum(groups) == 5


def test_a_result_that_cannot_be_settled_takes_no_other_with_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: one such result ended the settler, and what was claimed was never sent again."""
    with delivering(database_url) as site:
        site.listening(concurrency=4)
        site.order(*"abcd")
        settle = Settler.put

        async def spoilt(settler: Settler, settlement: Settlement, done: Done) -> None:
            bad = "a" in {note.card_id for note in site.notes() if note.notification_id == settlement.delivered[0][1]}
            attempt = (*settlement.attempt[:4], 0, *settlement.attempt[5:]) if bad else settlement.attempt
            await settle(settler, msgspec.structs.replace(settlement, attempt=attempt), done)

        with monkeypatch.context() as broken:
            broken.setattr(Settler, "put", spoilt)
            site.turn()
        assert {note.card_id: note.state for note in site.notes()} == {
            "a": "PENDING", "b": "DELIVERED", "c": "DELIVERED", "d": "DELIVERED",
        }  # fmt: skip
        site.settle()
        assert set(site.states()) == {"DELIVERED"}


def test_results_that_the_store_does_not_take_are_sent_again_and_never_lost(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        site.order("a", "b")

        async def lost(_settler: Settler, _group: Sequence[Settlement]) -> None:
            raise StoreUnavailable("gone")

        with monkeypatch.context() as broken:
            broken.setattr("cardtrail.platform.settle.RETRY_SECONDS", 0.0)
            broken.setattr(Settler, "_write", lost)
            site.turn()
        assert site.states() == ["PENDING", "PENDING"]
        site.settle()
        assert site.states() == ["DELIVERED", "DELIVERED"]
        ids = [call.headers["webhook-id"] for call in receiver.calls]
        assert sorted(ids) == sorted([*set(ids), *set(ids)])
        assert len(ids) == 4


# ── refusals


def cards(number: int) -> list[str]:
    """Return the names of so many cards."""
    return [f"card-{n:04}" for n in range(number)]


def refusing(*bad: str, status: int = 400) -> Callable[[Received], Reply]:
    """Return what a receiver answers that refuses every call with one of these cards in it."""

    def reply(call: Received) -> Reply:
        return (status, {}, b"bad card") if {each["cardId"] for each in call.operations} & set(bad) else OK

    return reply


@pytest.mark.parametrize(
    ("status", "size", "number", "bad"),
    [(400, 1, 4, 1), (413, 2, 5, 2), (400, 7, 30, 5), (413, 100, 250, 6), (400, 1000, 1100, 3)],
)
def test_only_what_fails_alone_is_refused_and_its_neighbours_are_delivered(
    database_url: str, status: int, size: int, number: int, bad: int
) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=size, rate=10_000)
        site.order(*cards(number))
        broken = set(random.Random(size).sample(cards(number), bad))
        receiver.reply = refusing(*broken, status=status)
        site.settle()
        refused = {note.card_id for note in site.notes() if note.state == "REFUSED"}
        delivered = {note.card_id for note in site.notes() if note.state == "DELIVERED"}
        assert refused == broken
        assert delivered == set(cards(number)) - broken
        assert {each["cardId"] for each in receiver.delivered} == delivered
        assert max(len(call.operations) for call in receiver.calls) <= size
        assert receiver.bad_signatures == 0
        assert receiver.arrived <= number / size + 1 + bad * 2 * (size.bit_length() + 1)
        known = {each.attempt_id for each in site.tries()}
        calls = Counter(each["cardId"] for call in receiver.calls for each in call.operations)
        for note in site.notes():
            tried = note.attempt_ids.split()
            assert set(tried) <= known
            assert note.attempts == 1, "calls that were split do not count"
            assert len(tried) == calls[note.card_id]


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_receiver_that_refuses_everything_loses_nothing_and_is_not_hammered(database_url: str, size: int) -> None:
    """Was a bug: what was refused while the rest was being taken back stayed refused."""
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=size, concurrency=8, rate=10_000)
        site.order(*cards(200))
        receiver.reply = lambda _call: (400, {}, b"no")
        site.settle()
        assert set(site.states()) == {"PENDING"}
        assert site.lane()["probe_at"] is not None
        asked = receiver.arrived
        assert asked <= 20 + 8 * 2 * (size.bit_length() + 1)
        site.settle_for(HOUR, 10 * SECOND)
        assert receiver.arrived - asked <= 30
        assert set(site.states()) == {"PENDING"}
        receiver.reply = lambda _call: OK
        site.settle_for(10 * MINUTE, MINUTE)
        assert set(site.states()) == {"DELIVERED"}
        assert {each["cardId"] for each in receiver.delivered} == set(cards(200))


def test_one_bad_message_does_not_keep_a_circuit_open(database_url: str) -> None:
    """Was a bug: the probes took the one that waits longest by its due time, always the same that is refused."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order("bad", "good", "fine")
        receiver.reply = lambda _call: (503, {"retry-after": "7200"}, b"")
        site.settle()
        site.later(3 * HOUR)
        site.settle()
        assert site.lane()["probe_at"] is not None
        receiver.reply = refusing("bad")
        site.settle_for(4 * HOUR, 10 * MINUTE)
        assert [(note.card_id, note.state) for note in sorted(site.notes(), key=lambda each: each.card_id)] == [
            ("bad", "REFUSED"), ("fine", "DELIVERED"), ("good", "DELIVERED"),
        ]  # fmt: skip
        assert site.lane()["probe_at"] is None


def test_a_message_that_is_refused_alone_as_all_that_waits_ends_refused_and_not_as_a_failing_endpoint(
    database_url: str,
) -> None:
    """Was a bug: with nothing else to try, the circuit stayed open and asked with it for ever."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order("bad")
        receiver.reply = lambda _call: (503, {}, b"")
        site.settle_for(20 * MINUTE, MINUTE)
        assert site.lane()["probe_at"] is not None
        receiver.reply = refusing("bad")
        site.settle_for(HOUR, 10 * MINUTE)
        assert site.states() == ["REFUSED"]
        site.order("good")
        site.settle_for(HOUR, 10 * MINUTE)
        assert site.states() == ["REFUSED", "DELIVERED"]
        assert site.lane()["probe_at"] is None


def test_a_receiver_that_refuses_everything_for_five_days_is_given_up(database_url: str) -> None:
    """Was a bug: refusals never counted, so it was asked for ever and nobody was told."""
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=50)
        site.order(*cards(30))
        receiver.reply = lambda _call: (400, {}, b"no")
        site.settle_for(5 * DAY - HOUR, 20 * MINUTE)
        assert site.state() == "ENABLED"
        site.settle_for(2 * HOUR, 20 * MINUTE)
        assert site.state() == "DISABLED"
        assert set(site.states()) == {"WITHHELD"}


def test_a_large_batch_that_is_split_for_long_gets_on_with_each_turn_and_hears_of_changes(database_url: str) -> None:
    """Was a bug: it was split to its end, thousands of calls long, whatever became of the endpoint meanwhile."""
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=32, concurrency=1, rate=10_000)
        site.order(*cards(32))
        bad = {card for card in cards(32) if card.endswith("7")}

        def slowly(call: Received) -> Reply:
            site.processes[0].ahead += 1.1  # longer than a slice
            return refusing(*bad)(call)

        receiver.reply = slowly
        for _ in range(4):
            asked, waiting = receiver.arrived, site.states().count("PENDING")
            site.turn()
            assert receiver.arrived - asked <= 6
            assert site.states().count("PENDING") < waiting
        site.disable()
        asked = receiver.arrived
        site.settle()
        assert receiver.arrived == asked
        site.enable()
        site.settle()
        assert {note.card_id: note.state for note in site.notes()} == {
            card: "REFUSED" if card in bad else "DELIVERED" for card in cards(32)
        }


# ── the circuit


def test_calls_that_were_under_way_when_the_circuit_opened_do_not_put_off_the_first_probe(database_url: str) -> None:
    """Was a bug: each of them counted as a probe that failed."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=32)
        site.order(*cards(64))
        all_here = asyncio.Event()

        async def reply(_call: Received) -> Reply:
            if receiver.under_way == 32:
                all_here.set()
            await all_here.wait()
            return 503, {}, b""

        receiver.reply = reply
        site.settle()
        lane = site.lane()
        assert receiver.arrived == 32
        assert lane["failures"] == 5
        assert lane["probe_at"] <= site.desk.now + 6 * SECOND


def test_what_recovers_is_met_with_a_growing_number_of_calls_until_all_is_delivered(database_url: str) -> None:
    """Was a bug: the turn after the first success began with as many calls as the endpoint may ever get."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*cards(100))
        receiver.reply = lambda _call: (503, {}, b"")
        site.settle()
        assert site.lane()["probe_at"] is not None
        assert receiver.arrived == 5
        execute(database_url, "UPDATE notification SET due_at = due_at + 3600000000")
        site.configure(concurrency=64)
        at_once: list[int] = []
        most: list[int] = []

        async def reply(_call: Received) -> Reply:
            at_once.append(receiver.under_way)
            most.append(2 ** (len(receiver.calls) - 5))
            await asyncio.sleep(0)
            return OK

        receiver.reply = reply
        site.later(6 * SECOND)
        site.settle()
        assert set(site.states()) == {"DELIVERED"}
        assert at_once[0] == 1
        assert [count for count, allowed in zip(at_once, most, strict=True) if count > allowed] == []


# ── leases


def test_a_lease_that_somebody_else_has_ends_the_turn_that_is_under_way(database_url: str) -> None:
    """Was a bug: after a jump of the database's clock two processes sent, until the first one's own time was up."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*cards(20))
        other = site.another()
        first = asyncio.Event()

        async def reply(_call: Received) -> Reply:
            if receiver.arrived == 1:
                await first.wait()
            return OK

        receiver.reply = reply

        async def run() -> None:
            mine = site.processes[0].deliverer
            turn = asyncio.create_task(mine.run_once())
            await receiver.until(lambda it: it.arrived == 1)
            await asyncio.to_thread(execute, database_url, "UPDATE lane SET leased_until = 1")
            await other.deliverer.run_once()
            assert receiver.arrived == 21
            site.processes[0].ahead += 10
            await mine.look()
            receiver.arrived = 0
            first.set()
            await turn

        site.desk.run(run())
        assert receiver.arrived == 0
        assert set(site.states()) == {"DELIVERED"}


def test_the_rate_holds_when_the_lane_changes_hands(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Was a bug: each new holder sent at once, whatever the one before had sent a moment ago."""
    granted: list[float] = []
    take = Bucket.take

    def noted(bucket: Bucket, now: float) -> float:
        wait = take(bucket, now)
        if not wait:
            granted.append(now)
        return wait

    monkeypatch.setattr(Bucket, "take", noted)
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=4, rate=5)
        site.order(*cards(10))
        for _ in range(3):
            process = site.another()
            site.turn(process)
            site.desk.run(process.deliverer.stop())
        site.settle()
        assert len(receiver.calls) == len(granted) == 10
        for place in range(1, 10):
            assert granted[place] - granted[0] >= (place - 0.5) * 0.2 - 0.001, "more than 5 a second and half a call"


# ── heartbeats


def beats(receiver: Receiver) -> list[Received]:
    """Return the calls without operations."""
    return [call for call in receiver.calls if not call.operations]


def test_a_heartbeat_comes_when_nothing_was_sent_for_so_long_and_tells_the_newest_change(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(heartbeat_minutes=5)
        site.order("a", stages=3)
        site.settle()
        site.later(5 * MINUTE - SECOND)
        site.settle()
        assert beats(receiver) == []
        site.later(SECOND)
        site.settle()
        [beat] = beats(receiver)
        cursor = decode_cursor(json.loads(beat.body)["cardtrail"]["cursor"])
        assert (cursor.issuer_id, cursor.number) == (ISSUER, 3)
        assert json.loads(beat.body)["operations"] == []
        assert signed_by(site.secrets["one"], beat)
        site.settle_for(20 * MINUTE, MINUTE)
        assert len(beats(receiver)) == 5
        assert len({call.headers["webhook-id"] for call in receiver.calls}) == 6
        assert receiver.bad_signatures == 0
        assert len(site.tries()) == 1, "a heartbeat is no attempt"


def test_a_heartbeat_is_put_off_by_what_was_sent_whoever_sent_it(database_url: str) -> None:
    """Was a bug: only the process that had sent knew, and only as long as it held the lane."""
    with delivering(database_url) as site:
        receiver = site.listening(heartbeat_minutes=5)
        other = site.another()
        for process in (site.processes[0], other, site.processes[0]):
            site.later(4 * MINUTE)
            site.order(f"card-{len(receiver.calls)}")
            site.settle(process)
            process.ahead += 10
            site.turn(process)  # nothing to do: the lane is let go
            assert site.lane()["holder"] == ""
        site.later(4 * MINUTE)
        for process in (other, site.processes[0]):
            site.settle(process)
        assert beats(receiver) == []
        site.later(MINUTE)
        site.settle(other)
        assert len(beats(receiver)) == 1


def test_what_comes_of_a_heartbeat_touches_neither_ledger_nor_circuit(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(heartbeat_minutes=1)
        replies: list[Reply] = [(status, {}, b"no") for status in (400, 401, 404, 410, 413, 500, 503)]
        receiver.reply = lambda _call: replies[receiver.arrived % len(replies)]
        site.settle_for(14 * MINUTE, MINUTE)
        assert len(beats(receiver)) == 14
        lane = site.lane()
        assert (lane["failures"], lane["failing_since"], lane["probe_at"]) == (0, None, None)
        assert (site.tries(), site.state()) == ([], "ENABLED")


def test_no_heartbeat_is_sent_while_the_circuit_is_open_nor_by_a_disabled_endpoint(database_url: str) -> None:
    """Was a bug: with an open circuit a heartbeat that was due was work, again and again, that nobody could do."""
    with delivering(database_url) as site:
        receiver = site.listening(heartbeat_minutes=1, concurrency=1)
        site.order(*cards(8))
        receiver.reply = lambda _call: (503, {}, b"")
        site.settle()
        assert site.lane()["probe_at"] is not None
        execute(database_url, "UPDATE notification SET state = 'DEAD', settled_at = 1")
        site.later(HOUR)
        assert site.desk.run(site.processes[0].deliverer._leases.look(site.desk.now)) == []
        assert site.turn() == 0
        assert beats(receiver) == []
        site.disable()
        site.settle()
        site.later(HOUR)
        assert site.settle() == 0
        assert beats(receiver) == []


def test_a_change_of_the_heartbeat_is_not_overwritten_by_a_turn_that_is_under_way(database_url: str) -> None:
    """Was a bug: what the turn had loaded was written back, and the heartbeat that was just configured never came."""
    with delivering(database_url) as site:
        receiver = site.listening(heartbeat_minutes=0)
        site.order("a")
        here, answer = asyncio.Event(), asyncio.Event()

        async def reply(_call: Received) -> Reply:
            here.set()
            await answer.wait()
            return (503, {}, b"") if len(receiver.calls) == 0 else OK

        receiver.reply = reply

        async def run() -> None:
            turn = asyncio.create_task(site.processes[0].deliverer.run_once())
            await here.wait()
            found = await site.endpoints.find(ISSUER, "one")
            config = msgspec.structs.replace(found.config, heartbeat_minutes=1)
            await site.endpoints.update(msgspec.structs.replace(found, config=config), Secrets(), "bob")
            answer.set()
            await turn

        site.desk.run(run())
        assert site.lane()["failures"] == 0  # the change has healed the lane
        site.later(MINUTE)
        site.settle()
        assert (len(receiver.calls), len(beats(receiver))) == (2, 0)
        site.later(MINUTE)
        site.settle()
        assert len(beats(receiver)) == 1


# ── giving up


def alerts(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [line["event"] for line in logs if line.get("alert")]


def test_an_endpoint_that_fails_for_five_days_is_disabled_with_one_alert(database_url: str) -> None:
    with capture_logs() as logs, delivering(database_url) as site:
        receiver = site.listening()
        site.order("a", "b", "c")
        receiver.reply = lambda _call: (503, {}, b"")
        began = site.desk.now
        while site.state() == "ENABLED" and site.desk.now < began + 6 * DAY:
            site.settle()
            site.later(20 * MINUTE)
        assert began + 5 * DAY <= site.desk.now <= began + 5 * DAY + HOUR
        site.settle()
        assert site.states() == ["WITHHELD"] * 3
        asked = receiver.arrived
        site.settle_for(DAY, HOUR)
        assert receiver.arrived == asked
        assert alerts(logs) == ["endpoint_disabled"]
        lines = site.desk.run(list_audit(site.desk.db))
        assert [line.actor for line in lines if line.action == "endpoint.disable"] == ["platform"]
        assert site.desk.run(site.endpoints.find(ISSUER, "one")).reason == "no call has succeeded for 5 days"
        assert {note.attempts for note in site.notes()} <= {1, 2}, "while the circuit is open nothing grows older"
        receiver.reply = lambda _call: OK
        site.enable()
        site.settle()
        assert site.states() == ["DELIVERED"] * 3


def test_days_in_which_nobody_tried_do_not_count_as_failing(database_url: str) -> None:
    """Was a bug: after a stop of five days the first failure disabled what had failed for an hour before it."""
    with delivering(database_url) as site:
        receiver = site.listening()
        site.order(*cards(5))
        receiver.reply = lambda _call: (503, {}, b"")
        site.settle_for(DAY, 5 * MINUTE)
        assert site.lane()["failures"] > 50
        site.later(6 * DAY)
        site.settle_for(HOUR, 5 * MINUTE)
        assert site.state() == "ENABLED"
        site.settle_for(4 * DAY + HOUR, 20 * MINUTE)
        assert site.state() == "DISABLED"


def test_gone_disables_at_once_with_one_alert_and_its_rows_are_withheld(database_url: str) -> None:
    with capture_logs() as logs, delivering(database_url) as site:
        receiver = site.listening(concurrency=8, batch_size=2)
        site.order(*cards(40))
        all_here = asyncio.Event()

        async def reply(_call: Received) -> Reply:
            if receiver.under_way == 8:
                all_here.set()
            await all_here.wait()
            return 410, {}, b"gone"

        receiver.reply = reply
        site.turn()
        assert site.state() == "DISABLED"
        site.settle()
        assert set(site.states()) == {"WITHHELD"}
        assert receiver.arrived == 8
        assert {note.attempts for note in site.notes()} == {0}
        assert sorted({each.http_status for each in site.tries()}, key=str) == [410]
        assert alerts(logs) == ["endpoint_disabled"]
        lines = site.desk.run(list_audit(site.desk.db))
        assert [line.action for line in lines].count("endpoint.disable") == 1


def test_an_endpoint_that_could_not_be_disabled_is_disabled_by_the_next_call(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: the lane took it for disabled, the store did not, and nothing was sent any more."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order("a", "b")
        receiver.reply = lambda _call: (410, {}, b"")

        async def lost(*_: object) -> None:
            raise StoreUnavailable("gone")

        with monkeypatch.context() as broken:
            broken.setattr(Endpoints, "disable", lost)
            site.turn()
        assert site.state() == "ENABLED"
        site.settle()
        assert site.state() == "DISABLED"
        assert site.states() == ["WITHHELD", "WITHHELD"]


# ── what goes out


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_every_2xx_is_a_delivery(database_url: str, status: int) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        receiver.reply = lambda _call: (status, {}, b"")
        site.order("a")
        site.settle()
        [note] = site.notes()
        assert (note.state, note.attempts, note.settled_at) == ("DELIVERED", 1, site.desk.now)
        [attempt] = site.tries()
        assert note.attempt_ids.split() == [attempt.attempt_id]
        assert (attempt.http_status, attempt.failure, attempt.carried) == (status, None, 1)
        assert site.lane()["failures"] == 0


def test_a_call_carries_the_stored_pictures_and_the_newest_change_and_is_signed(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=10)
        site.order("a", "b", stages=2)
        site.settle()
        [call] = receiver.calls
        rows = execute(database_url, "SELECT notification_id, picture FROM notification WHERE state = 'DELIVERED'")
        pictures = {bytes(row[1]) for row in rows}
        cursor = call.headers["x-cardtrail-cursor"]
        assert call.body in {
            b'{"operations":[%b],"cardtrail":{"cursor":"%b"}}' % (b",".join(order), cursor.encode())
            for order in permutations(pictures)
        }
        assert decode_cursor(cursor).number == 4
        assert call.path == f"/notifications/d1/v2/issuers/{ISSUER}/cards"
        assert call.headers["content-type"] == "application/json"
        assert signed_by(site.secrets["one"], call)
        assert receiver.bad_signatures == 0


def test_every_attempt_is_signed_afresh_under_the_same_id_until_what_it_carries_changes(database_url: str) -> None:
    """Was a bug: each message of a call that failed was due at a time of its own, so no set was ever tried again."""
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=9)
        site.order(*"abcdefghi")
        receiver.reply = lambda _call: (503, {}, b"")
        site.settle_for(50 * SECOND, SECOND)
        failed = list(receiver.calls)
        assert len(failed) == 3
        assert len({call.headers["webhook-id"] for call in failed}) == 1
        assert len({call.headers["webhook-timestamp"] for call in failed}) == len(failed)
        assert len({call.headers["webhook-signature"] for call in failed}) == len(failed)
        assert all(signed_by(site.secrets["one"], call) for call in failed)
        site.configure(batch_size=1)
        receiver.reply = lambda _call: OK
        site.settle_for(5 * MINUTE, 30 * SECOND)
        regrouped = [call.headers["webhook-id"] for call in receiver.calls[len(failed) :]]
        assert sorted(regrouped) == sorted(note.notification_id for note in site.notes())
        site.desk.run(Replay(site.desk.db, site.wall).run(ISSUER, Selection(card_id="a")))
        site.settle()
        again = receiver.calls[-1].headers["webhook-id"]
        assert again not in {*regrouped, failed[0].headers["webhook-id"]}
        assert receiver.bad_signatures == 0


def test_v1a_is_verified_with_the_public_key(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(signing=Signing.V1A)
        assert receiver.secret.startswith("whpk_")
        site.order("a")
        site.settle()
        assert receiver.calls[0].headers["webhook-signature"].startswith("v1a,")
        assert receiver.bad_signatures == 0


def test_a_strict_endpoint_gets_what_is_published_and_nothing_else(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(strict=True, batch_size=5)
        receiver.secret = ""
        site.order("a", "b")
        site.settle()
        [call] = receiver.calls
        assert list(json.loads(call.body)) == ["operations"]
        for operation in call.operations:
            picture = site.desk.picture(operation["cardId"])
            del picture["cardtrail"]
            assert operation == picture
        ours = [name for name in call.headers if name.startswith(("webhook-", "x-"))]
        assert ours == []


def test_a_body_stays_below_its_limit_although_the_batch_does_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=1000)
        site.order(*cards(30))
        monkeypatch.setattr("cardtrail.platform.claims.MAX_BODY", 2_000)
        site.settle()
        assert max(len(call.body) for call in receiver.calls) <= 2_000
        assert max(len(call.operations) for call in receiver.calls) > 3
        assert len(receiver.delivered) == 30


def test_a_picture_that_is_larger_than_any_body_goes_alone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=1000)
        site.order(*cards(3))
        monkeypatch.setattr("cardtrail.platform.claims.MAX_BODY", 100)
        site.settle()
        assert [len(call.operations) for call in receiver.calls] == [1, 1, 1]


# ── what comes of a failure


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503])
def test_every_other_answer_is_tried_again_on_the_schedule(tmp_path: Path, status: int) -> None:
    with delivering(f"sqlite:///{tmp_path}/store.db") as site:
        receiver, elsewhere = site.listening(), site.receiver()
        receiver.reply = lambda _call: (status, {"location": elsewhere.url}, b"sorry")
        site.order("a")
        site.settle()
        [note] = site.notes()
        assert (note.state, note.attempts) == ("PENDING", 1)
        assert site.desk.now + 5 * SECOND <= note.due_at <= site.desk.now + 6 * SECOND
        [attempt] = site.tries()
        assert (attempt.http_status, attempt.failure, attempt.answer) == (status, None, "sorry")
        assert elsewhere.arrived == 0


def test_after_the_last_try_a_notification_is_dead_and_can_be_replayed(database_url: str) -> None:
    steps = (SECOND, 2 * SECOND, 4 * SECOND)
    with delivering(database_url, steps=steps) as site:
        receiver = site.listening()
        receiver.reply = lambda _call: (503, {}, b"")
        site.order("a")
        dues = []
        for _ in range(3):
            site.settle()
            [note] = site.notes()
            dues.append(note.due_at - site.desk.now)
            site.later(dues[-1])
        site.settle()
        [note] = site.notes()
        assert (note.state, note.attempts, note.settled_at) == ("DEAD", 4, site.desk.now)
        assert all(step <= due <= step * 1.2 for step, due in zip(steps, dues, strict=True))
        assert note.attempt_ids.split() == [each.attempt_id for each in site.tries()]
        receiver.reply = lambda _call: OK
        site.desk.run(Replay(site.desk.db, site.wall).run(ISSUER, Selection(state=NotificationState.DEAD)))
        site.settle()
        [note] = site.notes()
        assert (note.state, note.attempts, note.round) == ("DELIVERED", 1, 1)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("100", 100, 120), ("1", 5, 6), ("0", 5, 6), ("-5", 5, 6), ("soon", 5, 6), ("999999999", 86_400, 103_680),
        ("Sun, 01 Mar 2026 00:01:40 GMT", 100, 120),
    ],
)  # fmt: skip
def test_a_receiver_that_asks_for_time_gets_it_but_no_more_than_a_day(
    tmp_path: Path, header: str, least: int, most: int
) -> None:
    with delivering(f"sqlite:///{tmp_path}/store.db") as site:
        receiver = site.listening()
        receiver.reply = lambda _call: (429, {"retry-after": header}, b"")
        site.order("a")
        site.settle()
        [note] = site.notes()
        assert least * SECOND <= note.due_at - site.desk.now <= most * SECOND


async def forever(_call: Received) -> Reply:
    await asyncio.Event().wait()
    return OK


BROKEN: dict[str, tuple[Callable[[Received], Reply | Awaitable[Reply]], int | None, str | None]] = {
    "resets": (lambda _call: (0, {}, b""), None, "reset"),
    "closes half-way through the head": (lambda _call: (0, {}, b"HTTP/1.1 204 No"), None, "reset"),
    "is no server of HTTP": (lambda _call: (0, {}, b"220 smtp ready\r\n\r\n"), None, "protocol"),
    "lies about its length": (lambda _call: (0, {}, b"HTTP/1.1 500 X\r\ncontent-length: 99\r\n\r\nabc"), None, "reset"),
    "sends megabytes": (lambda _call: (500, {}, b"x" * 3_000_000), 500, None),
    "hangs": (forever, None, "timeout"),
}


@pytest.mark.parametrize("way", list(BROKEN))
def test_whatever_a_receiver_does_is_a_value_in_the_ledger_and_tried_again(database_url: str, way: str) -> None:
    with delivering(database_url, timeout=1.0 if way == "hangs" else 10.0) as site:
        receiver = site.listening()
        reply, status, failure = BROKEN[way]
        receiver.reply = reply
        site.order("a")
        site.settle()
        [attempt] = site.tries()
        assert (attempt.http_status, attempt.failure) in {(status, failure), (500, None)}
        assert len(attempt.answer) <= 1_024
        assert site.states() == ["PENDING"]
        receiver.reply = lambda _call: OK
        site.later(MINUTE)
        site.settle()
        assert site.states() == ["DELIVERED"]


def test_an_answer_is_kept_masked_and_as_text_that_every_store_takes(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening()
        secret = site.secrets["one"]
        told = f"card 4111111111111111 secret {secret} nul \x00 end ".encode() + b"\xff\xfe" + b"z" * 5_000
        receiver.reply = lambda _call: (500, {}, told)
        site.order("a")
        site.settle()
        [attempt] = site.tries()
        assert attempt.answer.startswith("card ************1111 secret *** nul \ufffd end \ufffd\ufffdzzz")
        assert len(attempt.answer) <= 1_024
        assert (attempt.carried, attempt.endpoint_id) == (1, "one")
        assert 0 <= attempt.ms < 60_000
        assert attempt.at <= site.desk.now


# ── the issuer's own tokens


class Bank:
    """A receiver that is an issuer with OAuth: gives out tokens, believes some, and says aloud what it was told."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.given: list[str] = []
        self.believed: set[str] = set()
        self.token: Reply | None = None
        self.asked: list[Received] = []
        receiver.reply = self.reply

    def reply(self, call: Received) -> Reply:
        told = json.dumps(dict(call.headers)).encode()
        if call.path == "/token":
            self.asked.append(call)
            if self.token is not None:
                return self.token
            self.given.append(f"token-{len(self.given) + 1}-{'x' * 20}")
            return 200, {}, json.dumps({"access_token": self.given[-1], "expires_in": "900"}).encode()
        bearer = call.headers["authorization"].removeprefix("Bearer ")
        return (200, {}, told) if bearer in self.believed or not self.believed else (401, {}, told)

    @property
    def sent(self) -> list[str]:
        """The token of each call."""
        calls = [call for call in self.receiver.calls if call.path != "/token"]
        return [call.headers["authorization"].removeprefix("Bearer ") for call in calls]


CLIENT_SECRET = "client-s3cret/with+odd=signs"


def bank(site: Delivering, **config: Any) -> Bank:
    receiver = site.receiver()
    site.add(receiver.url, given=Secrets(client_secret=CLIENT_SECRET), oauth=oauth_of(receiver), **config)
    return Bank(receiver)


def everything_kept(site: Delivering, logs: list[MutableMapping[str, Any]]) -> str:
    return repr(dump(site.desk.url)) + repr(logs)


def test_one_token_serves_many_calls_and_stands_nowhere(database_url: str) -> None:
    with capture_logs() as logs, delivering(database_url) as site:
        issuer = bank(site, concurrency=8)
        site.order(*cards(30))
        site.settle()
        assert set(site.states()) == {"DELIVERED"}
        assert len(issuer.asked) == 1
        assert set(issuer.sent) == set(issuer.given)
        kept = everything_kept(site, logs)
        basic = issuer.asked[0].headers["authorization"].removeprefix("Basic ")
        for secret in (*issuer.given, CLIENT_SECRET, quote(CLIENT_SECRET, safe=""), basic):
            assert secret not in kept
        assert "***" in kept


def test_a_refused_token_is_fetched_anew_once_and_then_the_schedule_applies(database_url: str) -> None:
    with capture_logs() as logs, delivering(database_url) as site:
        issuer = bank(site)
        issuer.believed = {"none"}
        site.order("a")
        site.settle()
        assert (len(issuer.asked), issuer.sent) == (2, issuer.given)
        [note] = site.notes()
        assert (note.state, note.attempts) == ("PENDING", 1)
        assert note.due_at >= site.desk.now + 5 * SECOND
        assert [each.http_status for each in site.tries()] == [401]
        issuer.believed = {issuer.given[-1]}
        site.later(10 * SECOND)
        site.settle()
        assert site.states() == ["DELIVERED"]
        assert len(issuer.asked) == 2, "the second token was good after all"
        assert not [token for token in issuer.given if token in everything_kept(site, logs)]


def test_when_all_tokens_end_many_calls_fetch_one_new_one(database_url: str) -> None:
    with delivering(database_url) as site:
        issuer = bank(site, concurrency=8)
        site.order("first")
        site.settle()
        issuer.believed = {f"token-2-{'x' * 20}"}
        site.order(*cards(40))
        site.settle()
        assert set(site.states()) == {"DELIVERED"}
        assert len(issuer.asked) == 2


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ((503, {}, b"down"), "token"),
        ((200, {}, b"<html>token-9</html>"), "token"),
        ((200, {}, b'{"access_token":"' + b"t" * 100_000 + b'"}'), "too_long"),
        ((307, {"location": "http://127.0.0.1:9/"}, b""), "token"),
        ((410, {}, b""), "token"),
        ((400, {}, b'{"error":"invalid_client"}'), "token"),
        ((0, {}, b""), "reset"),
    ],
    ids=["down", "garbage", "huge", "redirect", "gone", "refused", "reset"],
)  # fmt: skip
def test_without_a_token_nothing_is_sent_and_the_schedule_applies(tmp_path: Path, reply: Reply, failure: str) -> None:
    with delivering(f"sqlite:///{tmp_path}/store.db") as site:
        issuer = bank(site)
        issuer.token = reply
        site.order("a")
        site.settle()
        assert (issuer.sent, len(issuer.asked)) == ([], 1)
        [attempt] = site.tries()
        assert (attempt.http_status, attempt.failure) == (None, failure)
        [note] = site.notes()
        assert (note.state, note.attempts, site.state()) == ("PENDING", 1, EndpointState.ENABLED)
        issuer.token = None
        site.later(10 * SECOND)
        site.settle()
        assert site.states() == ["DELIVERED"]


# ── who may send


def test_two_processes_share_the_endpoints_and_never_one_of_them(database_url: str) -> None:
    with delivering(database_url) as site:
        names = [f"e{n}" for n in range(6)]
        receivers = [site.listening(name, concurrency=2, rate=10_000) for name in names]
        other = site.another()
        senders: dict[str, set[str]] = {name: set() for name in names}

        def watched(name: str) -> Callable[[Received], Reply]:
            def reply(_call: Received) -> Reply:
                senders[name].add(site.lane(name)["holder"])
                return OK

            return reply

        for name, receiver in zip(names, receivers, strict=True):
            receiver.reply = watched(name)
        site.order(*cards(12))

        async def both() -> None:
            for _ in range(4):
                await asyncio.gather(*(process.deliverer.run_once() for process in (site.processes[0], other)))

        site.desk.run(both())
        for name, receiver in zip(names, receivers, strict=True):
            assert set(site.states(name)) == {"DELIVERED"}
            assert len(receiver.calls) == 12, "nothing was sent twice"
            assert receiver.most_under_way <= 2
        assert all(len(each) == 1 for each in senders.values())
        assert site.processes[0].deliverer._leases.holder != other.deliverer._leases.holder


def test_the_lane_of_a_process_that_died_is_taken_over_and_what_was_not_settled_is_sent_again(
    database_url: str,
) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=2)
        site.order(*cards(4))
        dying, other = site.another(), site.another()
        hang = asyncio.Event()

        async def reply(_call: Received) -> Reply:
            if not hang.is_set():
                await hang.wait()
            return OK

        receiver.reply = reply

        async def die() -> None:
            turn = asyncio.create_task(dying.deliverer.run_once())
            await receiver.until(lambda it: it.arrived == 2)
            for task in dying.deliverer._running.values():
                task.cancel()
            turn.cancel()
            await asyncio.gather(turn, return_exceptions=True)
            await dying.deliverer._tools.egress.close()
            hang.set()

        site.desk.run(die())
        site.turn(other)
        assert set(site.states()) == {"PENDING"}
        execute(database_url, "UPDATE lane SET leased_until = 1")
        site.settle(other)
        assert set(site.states()) == {"DELIVERED"}
        assert site.lane()["fence"] == 2


def paused(site: Delivering, receiver: Receiver, last: Reply) -> None:
    """Let a process make a call and sleep through its lease; another one takes over before the answer comes."""
    other = site.another()
    answer = asyncio.Event()

    async def reply(_call: Received) -> Reply:
        if receiver.arrived == 1:
            await answer.wait()
            return last
        return (500, {}, b"") if last == OK else OK

    receiver.reply = reply

    async def run() -> None:
        turn = asyncio.create_task(site.processes[0].deliverer.run_once())
        await receiver.until(lambda it: it.arrived == 1)
        site.processes[0].ahead += 1_000
        await asyncio.to_thread(execute, site.desk.url, "UPDATE lane SET leased_until = 1")
        await other.deliverer.run_once()
        answer.set()
        await turn

    site.desk.run(run())


def test_who_slept_through_its_lease_sends_nothing_more_and_its_late_failure_changes_nothing(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order("a", "b", "c")
        paused(site, receiver, (500, {}, b"late"))
        assert set(site.states()) == {"DELIVERED"}
        assert receiver.arrived == 4, "one by the first, three by the second"
        lane = site.lane()
        assert (lane["fence"], lane["failures"]) == (2, 0)
        assert {note.attempts for note in site.notes()} == {1}
        assert sorted(len(note.attempt_ids.split()) for note in site.notes()) == [1, 1, 2], "yet it is written down"


def test_a_late_success_of_who_slept_through_its_lease_counts(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order("a")
        paused(site, receiver, OK)
        [note] = site.notes()
        assert (note.state, note.settled_at) == ("DELIVERED", site.desk.now)
        assert site.lane()["fence"] == 2


def test_a_success_counts_although_a_newer_picture_came_meanwhile_and_a_failure_leaves_it_superseded(
    database_url: str,
) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=2)
        site.order("good", "bad")
        answer = asyncio.Event()

        async def reply(call: Received) -> Reply:
            if receiver.arrived <= 2:
                await answer.wait()
            return (500, {}, b"") if call.operations[0]["cardId"] == "bad" else OK

        receiver.reply = reply

        async def run() -> None:
            turn = asyncio.create_task(site.processes[0].deliverer.run_once())
            await receiver.until(lambda it: it.arrived == 2)
            await site.desk.take(event("prepared", "good", hours=1), event("prepared", "bad", hours=1))
            answer.set()
            await turn

        site.desk.run(run())
        first = {note.card_id: note.state for note in site.notes() if note.sequence == 1}
        assert first == {"good": "DELIVERED", "bad": "SUPERSEDED"}
        assert [note.attempts for note in site.notes() if note.card_id == "bad" and note.sequence == 1] == [1]


# ── while it runs


def test_changes_of_an_endpoint_are_taken_up_by_the_next_turn(database_url: str) -> None:
    with delivering(database_url) as site:
        old, new = site.listening(concurrency=1), site.receiver()
        site.order("a")
        site.settle()
        fence = site.lane()["fence"]
        site.configure(url=new.url, batch_size=3, rate=5_000)
        site.order("b", "c", "d")
        site.settle()
        assert (len(old.calls), [len(call.operations) for call in new.calls]) == (1, [3])
        [lane] = site.processes[0].deliverer._lanes.values()
        assert lane._bucket.interval == 1 / 5_000
        assert site.lane()["fence"] == fence, "by the same holder"


def test_a_dead_and_a_slow_endpoint_hold_up_no_other(database_url: str) -> None:
    with delivering(database_url, timeout=30.0) as site:
        slow, quick = site.listening("slow"), site.listening("quick")
        site.add("http://127.0.0.1:9", "dead")
        answer = asyncio.Event()

        async def reply(_call: Received) -> Reply:
            await answer.wait()
            return OK

        slow.reply = reply

        async def run() -> None:
            deliverer = site.processes[0].deliverer
            running = asyncio.create_task(deliverer.run())
            for n in range(5):
                await site.desk.take(event("requested", f"card-{n}"))
                deliverer.wake()
                await quick.until(lambda it, n=n: it.arrived == n + 1)  # type: ignore[misc]  # mypy cannot type the default
            assert slow.calls == []
            assert slow.arrived >= 1
            answer.set()
            await slow.until(lambda it: len(it.calls) == 5)
            await deliverer.stop()
            await running

        site.desk.run(run())
        assert site.states("quick") == site.states("slow") == ["DELIVERED"] * 5
        assert set(site.states("dead")) == {"PENDING"}


def test_no_more_calls_are_under_way_than_the_endpoint_takes(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=3, rate=10_000)
        site.order(*cards(60))

        async def reply(_call: Received) -> Reply:
            for _ in range(5):
                await asyncio.sleep(0)
            return OK

        receiver.reply = reply
        site.settle()
        assert (receiver.most_under_way, set(site.states())) == (3, {"DELIVERED"})


def test_stopping_ends_what_is_under_way_settles_it_and_lets_go_of_the_lanes(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=2)
        site.order(*cards(10))
        answer = asyncio.Event()

        async def reply(_call: Received) -> Reply:
            await answer.wait()
            return OK

        receiver.reply = reply

        async def run() -> None:
            process = site.another()
            turn = asyncio.create_task(process.deliverer.run_once())
            await receiver.until(lambda it: it.arrived == 2)
            stopping = asyncio.create_task(process.deliverer.stop())
            await asyncio.sleep(0)
            answer.set()
            await stopping
            await turn

        site.desk.run(run())
        assert Counter(site.states()) == {"DELIVERED": 2, "PENDING": 8}
        assert (site.lane()["holder"], receiver.arrived) == ("", 2)


# ── the circuit, from the outside


def test_an_open_circuit_lets_one_message_through_at_a_time_and_nothing_grows_older(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=4, batch_size=10)
        site.order(*cards(60))
        receiver.reply = lambda _call: (503, {}, b"")
        site.settle()
        assert site.lane()["probe_at"] is not None
        attempts = sum(note.attempts for note in site.notes())
        asked = len(receiver.calls)
        for _ in range(12):
            site.later(HOUR)
            site.settle()
        probes = receiver.calls[asked:]
        assert [len(call.operations) for call in probes] == [1] * 12
        assert sum(note.attempts for note in site.notes()) == attempts
        assert set(site.states()) == {"PENDING"}
        assert len({json.dumps(call.operations) for call in probes}) == 12, "each time another one"


def test_a_backlog_collapses_to_the_newest_picture_of_each_order(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(batch_size=10)
        receiver.reply = lambda _call: (503, {}, b"")
        for stage in range(5):
            site.order(*cards(20), begin=stage)
            site.settle()
        assert Counter(site.states()) == {"SUPERSEDED": 80, "PENDING": 20}
        receiver.reply = lambda _call: OK
        site.later(HOUR)
        site.settle()
        assert [each["cardtrail"]["sequence"] for each in receiver.delivered] == [5] * 20
        assert Counter(site.states()) == {"SUPERSEDED": 80, "DELIVERED": 20}


def test_when_an_endpoint_is_back_everything_is_due_at_once(database_url: str) -> None:
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*cards(30))
        receiver.reply = lambda _call: (503, {"retry-after": "80000"}, b"")
        site.settle()
        assert max(note.due_at for note in site.notes()) > site.desk.now + 20 * HOUR
        receiver.reply = lambda _call: OK
        site.later(MAX_ASKED)
        site.settle()
        assert set(site.states()) == {"DELIVERED"}


def test_a_receiver_that_asks_for_time_is_not_probed_before(database_url: str) -> None:
    """Was a bug: it was asked again after 5 seconds."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*cards(10))
        receiver.reply = lambda _call: (429, {"retry-after": "600"}, b"")
        site.settle()
        assert (receiver.arrived, site.lane()["failures"]) == (5, 5)
        for _ in range(3):
            asked = receiver.arrived
            site.settle_for(500 * SECOND, 100 * SECOND)
            assert receiver.arrived == asked
            site.later(100 * SECOND)
            site.settle()
            assert receiver.arrived == asked + 1


def test_what_a_broken_receiver_refused_does_not_come_back_behind_a_newer_picture(database_url: str) -> None:
    """Was a bug: it went out after the newer one, which to a strict endpoint made it look new."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*(f"card-{n:02}" for n in range(25)))

        async def refuse(_call: Received) -> Reply:
            if receiver.arrived == 10:
                await site.processes[0].deliverer._settler.flush()
                site.later(1)  # so that its id is the later one
                assert await site.desk.take(event("prepared", "card-00", hours=1)) == ["accepted"]
            return 400, {}, b""

        receiver.reply = refuse
        site.turn()
        assert site.lane()["probe_at"] is not None
        assert [note.state for note in site.notes() if note.card_id == "card-00"] == ["SUPERSEDED", "PENDING"]
        assert set(site.states()) == {"SUPERSEDED", "PENDING"}
        receiver.reply = lambda _call: OK
        site.settle_for(MINUTE, 10 * SECOND)
        assert [each["cardtrail"]["sequence"] for each in receiver.delivered if each["cardId"] == "card-00"] == [2]
        assert set(site.states()) == {"SUPERSEDED", "DELIVERED"}


def test_an_endpoint_that_comes_and_goes_makes_nothing_dead_in_an_hour(database_url: str) -> None:
    """Was a bug: each time it came back all waits were cut short, and every try counted as one of three days."""
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order("bad")
        for n in range(20):
            receiver.reply = lambda _call: (503, {}, b"")
            site.order(*(f"card-{n}-{m}" for m in range(5)))
            site.settle()
            assert site.lane()["probe_at"] is not None
            receiver.reply = lambda call: (503, {}, b"") if call.operations[0]["cardId"] == "bad" else OK
            site.later(3 * MINUTE)
            site.settle()
            assert site.lane()["probe_at"] is None
        states = {note.card_id: note.state for note in site.notes()}
        assert states.pop("bad") == "PENDING"
        assert set(states.values()) == {"DELIVERED"}
        receiver.reply = lambda _call: OK
        site.settle_for(12 * HOUR, HOUR)
        assert set(site.states()) == {"DELIVERED"}


def test_who_has_lost_the_lane_takes_nothing_back(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Was a bug: it waited again, for ever where whoever has the lane had just withheld all for a disabled endpoint."""
    take_back = Lane._take_back

    async def late(lane: Lane) -> None:
        await lane._tools.settler.flush()
        await asyncio.to_thread(execute, database_url, "UPDATE lane SET fence = fence + 1")
        await take_back(lane)

    monkeypatch.setattr(Lane, "_take_back", late)
    with delivering(database_url) as site:
        receiver = site.listening(concurrency=1)
        site.order(*cards(20))
        receiver.reply = lambda _call: (400, {}, b"")
        site.turn()
        assert set(site.states()) == {"REFUSED"}
