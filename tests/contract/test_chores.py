"""Chores beside calls that are being settled: no row is moved that has just ended, and none is left."""

from typing import Any

import pytest

from cardtrail.db import Transaction
from cardtrail.platform import chore
from cardtrail.platform.chore import do_chore
from tests.contract.test_interleaving import interleave
from tests.delivering import delivering
from tests.desk import NOW, desk
from tests.serving import ISSUER

NOWHERE = "http://127.0.0.1:9"
"""A URL that is called by no test."""


def test_what_is_delivered_while_its_endpoint_is_disabled_stays_delivered(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: on PostgreSQL the chore, which had waited for that row, withheld it, and the lane broke."""
    monkeypatch.setattr(chore, "STEP", 2)
    with delivering(database_url) as site, desk(database_url) as one, desk(database_url) as two:
        site.add(NOWHERE)
        site.order("a", "b", "c")
        site.disable()
        sent = site.notes()[:2]

        def settle(tx: Transaction) -> Any:
            tx.each("settle_delivered", [(ISSUER, note.notification_id, 0, "call", NOW) for note in sent])
            return tx.one("clock")

        assert one.run(interleave(one, two, settle, lambda tx: do_chore(tx, ISSUER, "one", NOW), 2))
        while site.lane()["chore"]:
            one.transact(lambda tx: do_chore(tx, ISSUER, "one", NOW))
        assert site.states() == ["DELIVERED", "DELIVERED", "WITHHELD"]
