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
from cardtrail.platform.ledger import Selection
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.replay import Replay, Replayed
from tests.contract.test_interleaving import interleave
from tests.delivering import Delivering, delivering
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
