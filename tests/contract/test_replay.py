"""Replay on both engines: what is sent again, what is counted, and what comes between."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from cardtrail.db import Database, Transaction
from cardtrail.errors import Conflict
from cardtrail.platform import replay as replay_module
from cardtrail.platform.chore import do_chore
from cardtrail.platform.endpoint import Mode
from cardtrail.platform.ledger import Ledger, Selection
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.prune import Prune
from cardtrail.platform.replay import Replay, Replayed
from tests.contract.test_interleaving import interleave
from tests.delivering import DAY, Delivering, delivering
from tests.desk import NOW, desk, execute
from tests.serving import ISSUER

NOWHERE = "http://127.0.0.1:9"
"""A URL that is called by no test."""
DEAD = Selection(state=NotificationState.DEAD)


def replayed(site: Delivering, selection: Selection, *, exact: bool = False) -> Replayed:
    """Count first, then send again; both must say the same."""
    replay = Replay(site.desk.db, site.wall)
    counted = site.desk.run(replay.run(ISSUER, selection, exact=exact, dry_run=True))
    done = site.desk.run(replay.run(ISSUER, selection, exact=exact))
    assert counted == done
    return done


def end(site: Delivering, *notification_ids: str, state: str = "DEAD") -> None:
    """Let notifications end without a call."""
    for each in notification_ids:
        execute(
            site.desk.url,
            f"UPDATE notification SET state = '{state}', settled_at = {NOW} WHERE notification_id = '{each}'",  # noqa: S608 - our own
        )


class Rerunning:
    """A database that undoes each transaction and runs it again, as after a lost race or a broken connection."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.read = db.read

    async def transact(self, work: Callable[[Transaction], Any]) -> Any:
        def undone(tx: Transaction) -> None:
            work(tx)
            raise ZeroDivisionError

        with suppress(ZeroDivisionError):
            await self._db.transact(undone)
        return await self._db.transact(work)


def test_a_replay_that_is_run_again_after_a_lost_race_sends_everything(database_url: str) -> None:
    """Was a bug: what the first try had meant to send was taken for sent."""
    with delivering(database_url) as site:
        site.add(NOWHERE)
        site.order("a", "b")
        end(site, *(note.notification_id for note in site.notes()))
        again: Any = Rerunning(site.desk.db)
        assert site.desk.run(Replay(again, site.wall).run(ISSUER, DEAD)) == Replayed(2, 2)
        assert site.states() == ["PENDING", "PENDING"]


def test_ids_of_which_some_are_unknown_hide_none_of_the_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: a step in which one was missing was taken for the last."""
    monkeypatch.setattr(replay_module, "STEP", 2)
    with delivering(database_url) as site:
        site.add(NOWHERE)
        site.order(*"abcde")
        known = [note.notification_id for note in site.notes()]
        end(site, *known)
        wanted = Selection(ids=("0" * 27, *known[:1], known[0][:-1] + "f", *known[1:]))
        assert replayed(site, wanted) == Replayed(5, 5)
        assert set(site.states()) == {"PENDING"}


class Counting:
    """A database that counts how often works of transactions run; a lost race makes them run again."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.read = db.read
        self.runs = 0

    async def transact(self, work: Callable[[Transaction], Any]) -> Any:
        def counted(tx: Transaction) -> Any:
            self.runs += 1
            return work(tx)

        return await self._db.transact(counted)


def test_a_replay_and_a_chore_of_its_endpoint_do_not_wait_for_each_other(database_url: str) -> None:
    """Was a bug: one had the rows and wanted the lane, the other one had the lane and wanted the rows."""
    with delivering(database_url) as site, desk(database_url) as one, desk(database_url) as two:
        site.add(NOWHERE)
        site.disable()
        site.order("a", "b")
        stopped, n = True, 0
        while stopped:
            n += 1
            site.disable()
            one.transact(lambda tx: [do_chore(tx, ISSUER, "one", NOW) for _ in range(3)])
            site.enable()
            replaying = Replay(two.db, site.wall)
            step = replay_module._Step(ISSUER, two.run(replaying._rules(ISSUER, "one")), set(), NOW)
            entries = two.run(Ledger(two.db).entries(ISSUER, Selection(endpoint_id="one")))
            runs: list[str] = []

            def chore(tx: Transaction, runs: list[str] = runs) -> int:
                runs.append("chore")
                return do_chore(tx, ISSUER, "one", NOW)

            def again(tx: Transaction, runs: list[str] = runs, step: Any = step, entries: Any = entries) -> Replayed:
                runs.append("replay")
                return step.again(tx, entries, exact=False, dry_run=False)  # type: ignore[no-any-return]  # Any on purpose

            stopped = one.run(interleave(one, two, chore, again, n))
            assert sorted(runs) == ["chore", "replay"], f"when stopped before statement {n}"
    assert n > 4


@pytest.mark.parametrize("wish", ["never attempted", "dead"])
def test_a_replay_that_finds_nothing_changes_nothing(database_url: str, wish: str) -> None:
    """Was a bug: asking for what was never attempted closed the circuit of an endpoint that is down, each time."""
    with delivering(database_url) as site:
        receiver = site.listening()
        site.order("a")
        receiver.reply = lambda _call: (503, {}, b"")
        for _ in range(6):
            site.settle()
            site.later(3_600_000_000)
        before = site.lane()
        assert before["failures"] >= 5
        store: Any = Counting(site.desk.db)
        replay = Replay(store, site.wall)
        if wish == "dead":
            assert site.desk.run(replay.run(ISSUER, DEAD)) == Replayed()
        else:
            assert site.desk.run(replay.run_never_attempted(ISSUER, "one")) == Replayed()
        assert site.lane() == before
        assert store.runs == 0


def test_what_is_only_counted_takes_no_lock(database_url: str) -> None:
    """Was a bug: on SQLite a list that takes long to read kept every writer waiting."""
    with delivering(database_url) as site:
        site.add(NOWHERE)
        site.order("a")
        store: Any = Counting(site.desk.db)
        replay = Replay(store, site.wall)
        site.desk.run(replay.run(ISSUER, Selection(endpoint_id="one"), dry_run=True))
        site.desk.run(replay.run_never_attempted(ISSUER, "one", dry_run=True))
        assert store.runs == 0


def test_an_exact_replay_is_refused_as_a_whole(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Was a bug: what came before the first row of a strict endpoint was sent."""
    monkeypatch.setattr(replay_module, "STEP", 2)
    with delivering(database_url) as site:
        site.add(NOWHERE, "full", stages=("CARD_PROD_REQUESTED",))
        site.add(NOWHERE, "strict", strict=True, stages=("DATA_PREPARED",))
        site.order(*"abc", stages=2)
        end(site, *(note.notification_id for name in ("full", "strict") for note in site.notes(name)))
        with pytest.raises(Conflict):
            site.desk.run(Replay(site.desk.db, site.wall).run(ISSUER, DEAD, exact=True))
        assert set(site.states("full")) == {"DEAD"}
        assert replayed(site, Selection(endpoint_id="full"), exact=True) == Replayed(3, 3)


def test_the_newest_picture_is_sent_although_an_older_one_waits_to_be_sent_exactly(database_url: str) -> None:
    """Was a bug: the row that waited was counted nowhere, and what went out was old."""
    with delivering(database_url) as site:
        receiver = site.listening()
        site.order("a", stages=2)
        site.settle()
        first = Selection(ids=(site.notes()[0].notification_id,))
        assert replayed(site, first, exact=True) == Replayed(1, 1)
        assert replayed(site, first) == Replayed(1, 1)
        assert replayed(site, first) == Replayed(1, 0, 1)
        site.settle()
        assert [each["cardtrail"]["sequence"] for each in receiver.delivered][-1] == 2


def test_a_dead_step_is_sent_again_although_another_step_waits(database_url: str) -> None:
    """Was a bug: any step of the order that waited was taken for the newest."""
    with delivering(database_url) as site:
        site.add(NOWHERE, mode=Mode.EVERY_STEP)
        site.order("a", stages=2)
        end(site, site.notes()[1].notification_id)
        assert replayed(site, DEAD) == Replayed(1, 1)
        assert [(note.state, note.sequence) for note in site.notes()] == [("PENDING", 1), ("PENDING", 2)]


def test_a_row_that_waits_again_meanwhile_does_not_take_the_place_of_others(database_url: str) -> None:
    """Was a bug: they were superseded by it although it still had an older picture."""
    with delivering(database_url) as site:
        site.add(NOWHERE, mode=Mode.EVERY_STEP)
        site.order("a", stages=2)
        older, newer = site.notes()
        end(site, older.notification_id, newer.notification_id, state="REFUSED")
        entries = site.desk.run(Ledger(site.desk.db).entries(ISSUER, Selection(ids=(older.notification_id,))))
        rules = site.desk.run(Replay(site.desk.db, site.wall)._rules(ISSUER, "one"))
        step = replay_module._Step(ISSUER, rules, set(), site.wall())
        site.desk.transact(lambda tx: tx.each("unrefuse", [(ISSUER, older.notification_id, 0, NOW)]))
        told = site.desk.transact(lambda tx: step.again(tx, entries, exact=False, dry_run=False))
        assert told == Replayed(1, 0)
        assert site.states() == ["PENDING", "REFUSED"]


def test_what_was_delivered_so_long_ago_that_it_is_forgotten_counts_as_attempted(database_url: str) -> None:
    """Was a bug: after the retention of what was delivered, everything older was sent again."""
    with delivering(database_url) as site:
        site.listening()
        site.order("old")
        site.settle()
        site.later(40 * DAY)
        site.order("new")
        while site.desk.run(Prune(site.desk.db, site.wall, 30, 400).run_once()):
            pass
        assert [note.card_id for note in site.notes()] == ["new"]
        execute(database_url, "DELETE FROM notification")
        replay = Replay(site.desk.db, site.wall, 30)
        assert site.desk.run(replay.run_never_attempted(ISSUER, "one")) == Replayed(1, 1)
        assert [note.card_id for note in site.notes()] == ["new"]
        site.add(NOWHERE, "later")  # of this one nothing can have been forgotten
        assert site.desk.run(replay.run_never_attempted(ISSUER, "later", dry_run=True)) == Replayed(2, 2)


def test_what_is_not_about_production_can_be_replayed_too(database_url: str) -> None:
    """An operation that has no details of an order's stage, as the outcome of a change request may come."""
    with delivering(database_url) as site:
        site.add(NOWHERE)
        site.order("a")
        picture = '{"operationId":"op-x","operation":"UPDATE_ORDER","status":"FAILED","cardId":"a"}'
        execute(
            database_url,
            "INSERT INTO operation (issuer_id, card_id, requested_at, operation_id, sequence, change_no, changed_at,"  # noqa: S608 - our own
            f" picture, strict_length, etag) VALUES ('{ISSUER}', 'a', 2, 'op-x', 1, 99, {NOW}, CAST('{picture}' AS "
            f"{'BLOB' if database_url.startswith('sqlite') else 'BYTEA'}), 80, '')",
        )
        replay = Replay(site.desk.db, site.wall)
        assert site.desk.run(replay.run_never_attempted(ISSUER, "one")) == Replayed(2, 1, 1)
