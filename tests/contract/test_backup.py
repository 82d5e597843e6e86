"""Backup and restore: taken beside a running service, sound or refused, on both engines and from one to the other."""

import gzip
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardtrail.errors import Conflict, CursorExpired, InputError, SchemaMismatch, StoreUnavailable
from cardtrail.pages.door.account import Role
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.sessions import Sessions
from cardtrail.pages.door.trail import list_audit
from cardtrail.platform import archive
from cardtrail.platform.archive import ArchiveWriter, Head
from cardtrail.platform.audit import Recorded
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.backup import Restored, back_up, restore, shape
from cardtrail.platform.epoch import find_epoch
from cardtrail.platform.store import current_version
from tests.desk import Desk, catalog, desk, dump, execute
from tests.events import event
from tests.following import Follower, fed, published
from tests.serving import register_parties

ADA = "operator:ada"
PARCEL = {"carrier": "dhl", "trackingNumber": "T1"}


def quiet(_what: str, _rows: int) -> None:
    """Tell nobody."""


def save(url: str, path: Path, **options: bool) -> archive.Contents:
    return back_up(url, path, wall_clock(), quiet, **options)


def load(url: str, path: Path, **options: bool) -> Restored:
    return restore(url, path, ADA, wall_clock(), quiet, **options)


def told(site: Desk, cards: int = 3) -> None:
    """Have something in most tables: orders, parcels, what waits, parties with keys."""
    register_parties(site.url)
    for n in range(cards):
        site.tell(event("requested", f"card-{n}"), event("shipped", f"card-{n}", hours=5, **PARCEL))
    site.tell(event("scanned", hours=9, status="InTransit", **PARCEL), event("ready", "early", hours=1))


def without_the_restore(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """All rows but for what a restore itself changes."""
    kept = dict(rows)
    kept["meta"] = [row for row in rows["meta"] if row[0] not in {"epoch", "home"}]
    kept["audit"] = [row for row in rows["audit"] if row[3] != "epoch.renew"]
    return kept


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cards.backup"


@pytest.fixture
def saved(tmp_path: Path, file: Path) -> Path:
    """A small backup."""
    with desk(f"sqlite:///{tmp_path}/saved.db") as site:
        told(site)
    save(site.url, file)
    return file


# ── what comes back


def test_a_restored_store_holds_everything_under_another_epoch(new_database: Callable[[], str], file: Path) -> None:
    here, there = new_database(), new_database()
    with desk(here) as site:
        told(site)
        epoch = site.run(find_epoch(site.db))
        contents = save(here, file)
    assert (contents.head.epoch, contents.rows["operation"], contents.rows["party"]) == (epoch, 3, 6)
    done = load(there, file)
    assert without_the_restore(dump(there)) == without_the_restore(dump(here))
    assert sorted(catalog(there), key=repr) == sorted(catalog(here), key=repr)
    with desk(there) as site:
        assert epoch != site.run(find_epoch(site.db)) == done.epoch
        [line, *_] = site.run(list_audit(site.db))
        assert (line.actor, line.action, line.subject) == (ADA, "epoch.renew", "platform")
        assert site.tell(event("scanned", hours=20, status="Delivered", **PARCEL)) == ["accepted"]
        assert site.shipment("card-0") == "Delivered"


def test_a_store_moves_to_the_other_engine_and_back(tmp_path: Path, postgres_url: str, file: Path) -> None:
    here, back = f"sqlite:///{tmp_path}/here.db", f"sqlite:///{tmp_path}/back.db"
    with desk(here) as site:
        told(site)
    assert save(here, file).head.engine == "sqlite"
    load(postgres_url, file)
    assert save(postgres_url, file, replace=True).head.engine == "postgres"
    load(back, file)
    assert without_the_restore(dump(back)) == without_the_restore(dump(here))


def test_an_empty_store_is_backed_up_too(database_url: str, new_database: Callable[[], str], file: Path) -> None:
    with desk(database_url):
        assert sum(save(database_url, file).rows.values()) >= 2
    load(new_database(), file)


def test_a_backup_under_load_has_all_that_was_accepted_before_and_fits_together(
    new_database: Callable[[], str], file: Path
) -> None:
    """Every number that an issuer's counter has given is on some order, none is there that it has not given."""
    here, there = new_database(), new_database()
    accepted: list[str] = []
    ended = threading.Event()

    def load_it() -> None:
        with desk(here) as other:
            n = 0
            while not ended.is_set():
                cards = [f"load-{n}-{k}" for k in range(20)]
                other.tell(*[event("requested", card) for card in cards])
                accepted.extend(cards)
                n += 1

    with desk(here) as site:
        told(site)
    loading = threading.Thread(target=load_it)
    loading.start()
    try:
        while len(accepted) < 100:
            ended.wait(0.01)
        before = list(accepted)
        save(here, file)
    finally:
        ended.set()
        loading.join()
    load(there, file)
    held = {row[0] for row in execute(there, "SELECT card_id FROM operation")}
    assert held >= set(before)
    assert len(accepted) > len(before)
    [(counted, newest, orders)] = execute(
        there, "SELECT c.change_no, max(o.change_no), count(*) FROM issuer_counter c JOIN operation o"
        " ON o.issuer_id = c.issuer_id GROUP BY c.change_no",
    )  # fmt: skip
    assert counted == newest >= orders


def test_a_reader_heals_by_a_full_pass_over_what_was_restored(new_database: Callable[[], str], file: Path) -> None:
    here, there = new_database(), new_database()
    follower = Follower()
    with desk(here) as site, fed(site) as feed:
        told(site)
        save(here, file)
        site.tell(event("requested", "lost"), event("ready", "card-0", hours=9))
        site.run(follower.read_all(feed))
    load(there, file)
    with desk(there) as site, fed(site) as feed:
        site.tell(*[event("requested", f"new-{n}") for n in range(9)])
        with pytest.raises(CursorExpired):
            site.run(follower.read(feed))
        follower.cursor = None
        follower.mirror.clear()
        site.run(follower.read_all(feed, 2))
    assert follower.mirror == published(there)
    assert len(follower.mirror) == 12


# ── what is refused


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.3, 0.9, 0.998])
def test_a_truncated_backup_is_refused_before_anything_is_touched(saved: Path, tmp_path: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="is damaged or no backup"):
        load(f"sqlite:///{tmp_path}/there.db", saved)
    assert list(tmp_path.glob("there*")) == []


@pytest.mark.parametrize("at", [12, 200, 1_000, -12, -4])
def test_a_damaged_backup_is_refused_before_anything_is_touched(saved: Path, tmp_path: Path, at: int) -> None:
    damaged = bytearray(saved.read_bytes())
    damaged[at] ^= 0x55
    saved.write_bytes(damaged)
    with pytest.raises(InputError, match="is damaged or no backup"):
        load(f"sqlite:///{tmp_path}/there.db", saved)
    assert list(tmp_path.glob("there*")) == []


@pytest.mark.parametrize("what", [b"more", gzip.compress(b"more", mtime=0)], ids=["bytes", "packed"])
def test_what_follows_the_end_is_refused(saved: Path, tmp_path: Path, what: bytes) -> None:
    saved.write_bytes(saved.read_bytes() + what)
    with pytest.raises(InputError, match="is damaged or no backup"):
        load(f"sqlite:///{tmp_path}/there.db", saved)


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([("a", "1", None)], "does not fit"),
        ([("a",)], "does not fit"),
        ([(b"a", 1, "")], "does not fit"),
        ([("a", 2**63, "")], "does not fit"),
        ([("a", 1, ""), ("a", 1, "")], "issuer_counter: .*(UNIQUE|unique)"),
        ([("a", -1, "")], "issuer_counter: .*(CHECK|check)"),
        ([(None, 1, "")], "issuer_counter: .*(NOT NULL|not-null)"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_nothing_is_made(
    database_url: str, engine: str, file: Path, rows: list[Any], wrong: str
) -> None:
    """Also where somebody made the file on purpose: its digest is right."""
    head = Head("0", current_version(), "sqlite", "e", 1)
    with file.open("wb") as out:
        made = ArchiveWriter(out, head)
        for table in shape().tables:
            made.begin(table)
            if table.name == "issuer_counter":
                made.add(rows)
        made.end()
    with pytest.raises(InputError, match=wrong):
        load(database_url, file)
    if engine == "sqlite":
        assert not Path(database_url.removeprefix("sqlite:///")).exists()
    else:
        assert execute(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_frame_of_any_length_is_not_read(file: Path, tmp_path: Path) -> None:
    file.write_bytes(gzip.compress(b"H" + (archive.MAX_FRAME + 1).to_bytes(4, "big") + b"x"))
    with pytest.raises(InputError, match=f"at most {archive.MAX_FRAME}"):
        load(f"sqlite:///{tmp_path}/there.db", file)


def test_a_backup_of_another_schema_is_refused_with_the_release_that_made_it(file: Path, tmp_path: Path) -> None:
    with file.open("wb") as out:
        ArchiveWriter(out, Head("0.0.7", 1, "sqlite", "e", 1)).end()
    with pytest.raises(InputError, match=r"cardtrail 0\.0\.7 with schema version 1"):
        load(f"sqlite:///{tmp_path}/there.db", file)


def test_a_database_of_another_release_is_not_backed_up_and_not_changed(database_url: str, file: Path) -> None:
    with desk(database_url):
        pass
    execute(database_url, "UPDATE meta SET value = '1' WHERE name = 'schema_version'")
    before = dump(database_url)
    with pytest.raises(SchemaMismatch, match="version 1"):
        save(database_url, file)
    assert dump(database_url) == before
    assert list(file.parent.glob("cards*")) == []


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, file: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"no database .*absent\.db"):
        save(f"sqlite:///{tmp_path}/absent.db", file)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_no_store(postgres_url: str, file: Path) -> None:
    with pytest.raises(SchemaMismatch, match="version 0"):
        save(postgres_url, file)


# ── what is in the way


def test_a_file_that_is_there_is_written_over_only_when_asked(saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()
    url = f"sqlite:///{tmp_path}/saved.db"
    with pytest.raises(InputError, match="is there already"):
        save(url, saved)
    assert saved.read_bytes() == before
    save(url, saved, replace=True)
    assert saved.read_bytes() != before
    assert saved.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.glob("cards*")] == [saved.name]


def test_a_postgres_database_with_tables_is_never_written_over(postgres_url: str, saved: Path) -> None:
    execute(postgres_url, "CREATE TABLE somebodys (id int)")
    with pytest.raises(Conflict, match="it has tables"):
        load(postgres_url, saved, replace=True)
    assert execute(postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("somebodys",)]


def test_a_sqlite_file_is_put_aside_only_when_asked_and_not_while_it_is_used(saved: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/there.db"
    with desk(url) as site:
        site.tell(event("requested", "old"))
        for replace, wrong in ((False, "with --replace"), (True, "is in use")):
            with pytest.raises(Conflict, match=wrong):
                load(url, saved, replace=replace)
        assert site.tell(event("ready", "old", hours=1)) == ["accepted"]
    done = load(url, saved, replace=True)
    with desk(f"sqlite:///{done.aside}") as old, desk(url) as new:
        assert (old.stage("old"), new.stage("old"), new.stage("card-0")) == ("CARD_PROD_READY", None, "CARD_SHIPPED")


def test_what_a_killed_process_left_in_the_log_is_put_aside_with_its_file(saved: Path, tmp_path: Path) -> None:
    """SQLite would take a log that is left over for the new file's own."""
    url = f"sqlite:///{tmp_path}/there.db"
    code = (
        "import os, sys\nfrom tests.desk import Desk\nfrom tests.events import event\n"
        "assert Desk(sys.argv[1]).tell(event('requested', 'old')) == ['accepted']\nos._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, url], timeout=60, check=False).returncode == 9
    assert (tmp_path / "there.db-wal").stat().st_size > 0
    done = load(url, saved, replace=True)
    assert not (tmp_path / "there.db-wal").exists()
    with desk(f"sqlite:///{done.aside}") as old, desk(url) as new:
        assert (old.stage("old"), new.stage("old")) == ("CARD_PROD_REQUESTED", None)


def test_a_damaged_database_is_replaced_and_kept_as_it_was(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "there.db"
    path.write_bytes(b"no database at all, but for its length" * 100)
    done = load(f"sqlite:///{path}", saved, replace=True)
    assert Path(done.aside).read_bytes().startswith(b"no database at all")
    with desk(f"sqlite:///{path}") as site:
        assert site.stage("card-0") == "CARD_SHIPPED"


# ── a disk that is full


LIMITED = """
import resource, sys
from cardtrail.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
main()
"""


def limited(size: int, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that cannot write files longer than `size` bytes."""
    command = [sys.executable, "-c", LIMITED, str(size), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_disk_that_is_full_is_told_and_leaves_nothing_behind(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.backup"
    with desk(f"sqlite:///{tmp_path}/large.db") as site:
        site.tell(*[event("requested", uuid.uuid4().hex) for _ in range(800)])
    ran = limited(40_000, "backup", str(other), "--database", site.url)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"file: {other}: File too large" in ran.stderr
    ran = limited(50_000, "restore", str(saved), "--database", f"sqlite:///{tmp_path}/there.db")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "the database cannot be used now" in ran.stderr
    assert sorted(each.name for each in tmp_path.glob("[ot]*")) == []


# ── the commands


def test_the_commands_say_what_was_done_and_where_the_secret_key_is_not(
    new_database: Callable[[], str], file: Path
) -> None:
    here, there = new_database(), new_database()
    with desk(here) as site:
        told(site)

    def run(*words: str, url: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "cardtrail", *words, "--database", url, "--actor", ADA]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    ran = run("backup", str(file), "--json", url=here)
    assert "The secret key is not in the backup" in ran.stderr
    assert json.loads(ran.stdout)["bytes"] == file.stat().st_size
    assert "made_at" in run("backup", str(file), "--replace", url=here).stdout
    ran = run("restore", str(file), "--json", url=there)
    assert "secret key file" in ran.stderr
    done = json.loads(ran.stdout)
    assert (done["tables"]["operation"], done["engine"]) == (3, here.split(":", 1)[0].removesuffix("ql"))
    assert run("epoch", "show", url=there).stdout.strip() == done["epoch"]


def test_nobody_is_logged_in_after_a_restore_and_accounts_and_counts_are_there(
    database_url: str, tmp_path: Path, file: Path
) -> None:
    """A session that was ended after the backup would have come back with it, and with it whoever had its cookie."""
    url = f"sqlite:///{tmp_path}/before.db"
    with desk(url) as site:
        told(site)
        accounts, sessions = Accounts(site.db, Recorded(site.db), wall_clock), Sessions(site.db, wall_clock)
        site.run(accounts.add("ada", {"*": Role.OPERATOR}, "hash", ADA))
        token = site.run(sessions.begin("ada", 1))
        assert token is not None
        assert site.run(sessions.find(token)) is not None
    save(url, file)
    load(database_url, file)
    with desk(database_url) as site:
        assert site.run(Sessions(site.db, wall_clock).find(token)) is None
        assert site.run(Accounts(site.db, Recorded(site.db), wall_clock).find("ada")).roles == {"*": Role.OPERATOR}
    before, after = dump(url), dump(database_url)
    assert (len(before["session"]), after["session"]) == (1, [])
    assert sorted(after["tally"]) == sorted(before["tally"]) != []
