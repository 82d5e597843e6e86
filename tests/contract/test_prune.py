"""Retention of the outbox: each state by its own time, in small batches, and nothing before it."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from cardtrail.platform import prune
from cardtrail.platform.outbox import id_before
from cardtrail.platform.prune import Prune
from cardtrail.platform.sweep import DAY
from tests.desk import Desk, connected, execute
from tests.outbox import NOW, outbox, put

DAYS = {"DELIVERED": 30, "SUPERSEDED": 30, "REFUSED": 400, "DEAD": 400, "WITHHELD": 400}


@pytest.fixture
def site(database_url: str) -> Iterator[Desk]:
    """A store with an endpoint that is disabled and one that is not."""
    with outbox(database_url) as here:
        yield here


def pruned(site: Desk, settled: int = 30, undelivered: int = 400) -> int:
    """Prune to the end; return how many rows went."""
    work, total = Prune(site.db, lambda: NOW, settled, undelivered), 0
    while gone := site.run(work.run_once()):
        total += gone
    return total


def left(site: Desk) -> list[str]:
    """The states of what is left."""
    return sorted(row[0] for row in execute(site.url, "SELECT state FROM notification"))


@pytest.mark.parametrize("state", DAYS)
def test_each_state_goes_after_its_own_time_and_not_before(site: Desk, state: str) -> None:
    put(site, state, DAYS[state] + 1, endpoint="off")
    put(site, state, DAYS[state] - 1, endpoint="off")
    assert pruned(site) == 1
    assert left(site) == [state]


def test_what_is_pending_never_goes(site: Desk) -> None:
    put(site, "PENDING", 1_000, endpoint="off")
    put(site, "PENDING", 1_000)
    assert pruned(site) == 0
    assert len(left(site)) == 2


def test_with_0_days_everything_stays(site: Desk) -> None:
    for state in DAYS:
        put(site, state, 1_500, endpoint="off")
    assert pruned(site, 0, 0) == 0
    assert len(left(site)) == len(DAYS)


def test_it_goes_in_batches(site: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "BATCH", 3)
    put(site, "DELIVERED", 31, count=7)
    work = Prune(site.db, lambda: NOW, 30, 400)
    assert [site.run(work.run_once()) for _ in range(4)] == [3, 3, 1, 0]


def test_attempts_go_with_their_time(site: Desk) -> None:
    with connected(site.url) as run:
        for age in (31, 29):
            name = f"{id_before(NOW - age * DAY)}0"
            run(f"INSERT INTO attempt VALUES ('ISSUER0001', '{name}', 'on', 1, 1, 204, NULL, 1, '')")  # noqa: S608 -- our own
    assert pruned(site) == 1
    assert len(execute(site.url, "SELECT 1 FROM attempt")) == 1


def test_what_is_sent_again_between_look_and_removal_stays(site: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    put(site, "DELIVERED", 31)
    transact = site.db.transact

    async def late(work: Callable[..., object]) -> object:
        await asyncio.to_thread(
            execute, site.url, "UPDATE notification SET state = 'PENDING', settled_at = NULL, round = 1"
        )
        return await transact(work)

    monkeypatch.setattr(site.db, "transact", late)
    site.run(Prune(site.db, lambda: NOW, 30, 400).run_once())
    assert left(site) == ["PENDING"]
