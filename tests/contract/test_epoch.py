"""The epoch: whoever restores a backup sends the readers of the feed back to the beginning, and they end as equals."""

import json
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cardtrail.errors import CursorExpired
from cardtrail.pages.door.trail import list_audit
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.epoch import Home, find_epoch, follow_home, renew_epoch
from cardtrail.platform.feed import Feed
from tests.contract.test_interleaving import interleave
from tests.desk import Desk, desk, execute
from tests.events import event
from tests.following import Follower, fed, published


def epoch_of(url: str) -> str:
    with desk(url) as site:
        return site.run(find_epoch(site.db))


def renewals(site: Desk) -> list[str]:
    """Who renewed the epoch, newest first."""
    return [line.actor for line in site.run(list_audit(site.db, subject="platform"))]


def change(site: Desk, *cards: str) -> None:
    """Order these cards, or order them once more."""
    for card in cards:
        hours = site.sequence(card)
        assert site.tell(event("held" if hours else "requested", card, hours=hours, reason="again")) == ["accepted"]


# ── by hand


def test_a_renewal_makes_every_cursor_expire_at_once_in_every_process(database_url: str) -> None:
    with desk(database_url) as one, desk(database_url) as two, fed(one) as near, fed(two) as far:
        change(one, "a", "b")
        follower = Follower()
        one.run(follower.read(near, 1))
        before = one.run(find_epoch(one.db))
        after = two.run(renew_epoch(two.db, "operator:ada", wall_clock()))
        assert before != after == one.run(find_epoch(one.db))
        for site, feed in ((one, near), (two, far)):
            with pytest.raises(CursorExpired):
                site.run(follower.read(feed))
        follower.cursor = None
        one.run(follower.read_all(near))
        assert follower.mirror == published(database_url)
        [line] = one.run(list_audit(one.db))
        assert (line.actor, line.action, line.subject) == ("operator:ada", "epoch.renew", "platform")
        assert [json.loads(bytes(each or b"")) for each in (line.before, line.after)] == [
            {"epoch": before}, {"epoch": after},
        ]  # fmt: skip


def test_the_command_shows_and_renews_it(database_url: str) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "cardtrail", "epoch", *arguments, "--database", database_url]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    shown = run("show").strip()
    renewed = json.loads(run("renew", "--actor", "operator:ada", "--json"))["epoch"]
    assert run("show").strip() == renewed != shown
    with desk(database_url) as site:
        assert renewals(site) == ["operator:ada"]


# ── a backup under a reader


@contextmanager
def backed_up(url: str, new_postgres_database: Callable[[], str] | None, folder: Path) -> Iterator[Callable[[], str]]:
    """Take a backup now; give a function that restores it, and returns the URL under which it is then."""
    if url.startswith("sqlite"):
        path, copy = Path(url.removeprefix("sqlite:///")), folder / "backup.db"
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

        def restore() -> str:
            for left in path.parent.glob(f"{path.name}*"):
                left.unlink()
            copy.rename(path)
            return url

        yield restore
        return
    assert new_postgres_database is not None
    name, (copy_url, other) = urlsplit(url).path[1:], (new_postgres_database(), new_postgres_database())
    copied = urlsplit(copy_url).path[1:]
    execute(other, f"DROP DATABASE {copied}")
    execute(other, f"CREATE DATABASE {copied} TEMPLATE {name}")

    def restore_copy() -> str:
        execute(other, f"DROP DATABASE {name}")
        execute(other, f"ALTER DATABASE {copied} RENAME TO {name}")
        return url

    yield restore_copy


def test_a_reader_under_whom_a_backup_is_restored_is_sent_back_and_ends_as_an_equal(
    engine: str, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The restored platform goes on, past the number at which the reader is: only the epoch can tell."""
    more = request.getfixturevalue("new_postgres_database") if engine == "postgres" else None
    follower = Follower()
    with desk(database_url) as site, fed(site) as feed:
        change(site, "a", "b", "c")
        site.run(follower.read_all(feed))
    with backed_up(database_url, more, tmp_path) as restore:
        with desk(database_url) as site, fed(site) as feed:
            change(site, "b", "lost-1", "lost-2")
            site.run(follower.read_all(feed))
            assert follower.mirror == published(database_url)
        restore()
    with desk(database_url) as site, fed(site) as feed:
        if engine == "sqlite":
            with pytest.raises(CursorExpired, match="ahead"):
                site.run(follower.read(feed))
            site.run(renew_epoch(site.db, "operator:ada", wall_clock()))
        assert renewals(site) == ["operator:ada" if engine == "sqlite" else "platform"]
        change(site, "a", "new-1", "new-2", "new-3", "new-4")
        with pytest.raises(CursorExpired, match="was restored"):
            site.run(follower.read(feed))
        follower.cursor = None
        follower.mirror.clear()
        site.run(follower.read_all(feed, 2))
        assert follower.mirror == published(database_url)
        assert len(follower.mirror) == 7


# ── seen by ourselves, on PostgreSQL


def test_opening_a_database_again_and_again_leaves_its_epoch(database_url: str) -> None:
    assert len({epoch_of(database_url) for _ in range(3)}) == 1


@pytest.mark.parametrize(
    "what",
    [
        "UPDATE meta SET value = '1' || value WHERE name = 'home'",  # another cluster
        "UPDATE meta SET value = replace(value, '/0', '/1') WHERE name = 'home'",  # another timeline
        "ALTER TABLE issuer_counter RENAME TO old; CREATE TABLE issuer_counter (LIKE old INCLUDING ALL)",  # a dump
    ],
)
def test_another_home_renews_the_epoch_when_a_store_is_opened_and_while_it_is(postgres_url: str, what: str) -> None:
    before = epoch_of(postgres_url)
    execute(postgres_url, what)
    opened = epoch_of(postgres_url)
    assert opened != before
    with desk(postgres_url) as site, desk(postgres_url) as other:
        homes = [Home(each.db, wall_clock) for each in (site, other)]
        assert site.run(homes[0].run_once()) == 0
        execute(postgres_url, what.replace("old", "older"))
        assert [site.run(homes[0].run_once()), other.run(homes[1].run_once())] == [1, 0]
        assert site.run(find_epoch(site.db)) not in {before, opened}
        assert renewals(site) == ["platform", "platform"]


def test_many_processes_that_see_it_at_once_renew_it_once(postgres_url: str) -> None:
    with desk(postgres_url) as one, desk(postgres_url) as two:
        stopped, n = True, 0
        while stopped:
            n += 1
            execute(postgres_url, "UPDATE meta SET value = '1' || value WHERE name = 'home'")
            work = lambda tx: follow_home(tx, wall_clock())  # noqa: E731 -- twice the same
            stopped = one.run(interleave(one, two, work, work, n))
            assert renewals(one) == ["platform"] * n
    assert n > 5


def test_an_account_that_may_not_ask_is_served_all_the_same(postgres_url: str) -> None:
    role = f"plain_{uuid.uuid4().hex}"
    url = urlsplit(postgres_url)._replace(netloc=f"{role}:@").geturl()
    execute(postgres_url, f"CREATE ROLE {role} LOGIN")
    try:
        execute(postgres_url, f"ALTER SCHEMA public OWNER TO {role}")
        execute(postgres_url, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        with desk(url) as site:
            assert site.tell(event("requested", "card")) == ["accepted"]
            assert site.run(Home(site.db, wall_clock).run_once()) == 0
            assert site.run(Feed(site.db).read("ISSUER0001", None, 1)).cursor.number == 1
        assert execute(postgres_url, "SELECT name FROM meta WHERE name = 'home'") == []
        execute(postgres_url, "GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
        before = epoch_of(url)
        assert execute(postgres_url, "SELECT name FROM meta WHERE name = 'home'") == [("home",)]
        assert epoch_of(url) == before
    finally:
        execute(postgres_url, f"DROP OWNED BY {role}")
        execute(postgres_url, f"DROP ROLE {role}")
