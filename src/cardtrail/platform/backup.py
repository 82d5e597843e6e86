"""A backup of the whole store in one file, taken beside a running service; and a store made of it.

The file is the same for both engines, so that a store can also move from one to the other. The secret key is not in it.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from cardtrail import __version__
from cardtrail.db import Transaction, fresh_database, parted, tables_of
from cardtrail.errors import InputError, SchemaMismatch
from cardtrail.files.whole import written_whole
from cardtrail.platform.archive import Archive, ArchiveWriter, Contents, Head, Shape, verified
from cardtrail.platform.epoch import begin_anew
from cardtrail.platform.store import current_version, open_as_it_is, queries, schema, version_of
from cardtrail.protocol.codec import timestamp

Tell = Callable[[str, int], None]
"""Told what is done to which table, and to how many of its rows more."""


class Restored(NamedTuple):
    """What was restored, the new epoch, and what an old SQLite file is called now, "" where there was none."""

    contents: Contents
    epoch: str
    aside: str


def back_up(url: str, path: Path, now: int, tell: Tell, *, replace: bool = False) -> Contents:
    """Write everything that was committed by `now` (µs) into a file, read that again, and return what it holds.

    The file is there only once that has succeeded. Raises InputError where the file cannot be written,
    StoreUnavailable, or SchemaMismatch where the database is of another release: that one takes its backup.
    """
    if path.exists() and not replace:
        raise _exists(path)
    try:
        with closing(open_as_it_is(url)) as db, written_whole(path, replace=replace) as file:
            db.snapshot(lambda tx: _write(tx, ArchiveWriter(file, _head_of(tx, now)), tell))
            return verified(file, str(path), shape())
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise InputError("file", f"{path}: {error.strerror}") from None


def restore(  # noqa: PLR0913 -- from where, to where, and the line of the audit
    url: str, path: Path, actor: str, now: int, tell: Tell, *, replace: bool = False
) -> Restored:
    """Make a store of a backup, with another epoch; `now` in µs. Nothing is touched unless the whole file is sound.

    With `replace` a SQLite file that is there is put aside. Raises InputError for the file, Conflict where there is a
    store already or somebody uses it, SettingError or StoreUnavailable.
    """
    aside = f".before-{timestamp(now)[:19].replace(':', '')}"
    try:
        with path.open("rb") as file:
            contents = verified(file, str(path), shape())
            with fresh_database(url, queries(), aside if replace else "") as db:
                epoch = db.exclusively(lambda tx: _fill(tx, Archive(file, str(path), shape()), actor, now, tell))
    except OSError as error:
        raise InputError("file", f"{path}: {error.strerror}") from None
    kept = Path(url.removeprefix("sqlite:///") + aside)
    return Restored(contents, epoch, str(kept) if kept.exists() else "")


LEFT_OUT = frozenset({"session"})
"""Tables of which no backup has rows: a session that was ended after the backup must not come back with it."""


def shape() -> Shape:
    """Return what a backup of this program's schema looks like."""
    return Shape(current_version(), tuple(table for table in tables_of(schema()) if table.name not in LEFT_OUT))


def _exists(path: Path) -> InputError:
    return InputError("file", f"{path} is there already; --replace writes over it")


def _head_of(tx: Transaction, now: int) -> Head:
    found = version_of(tx)
    if found != current_version():
        raise SchemaMismatch(
            f"the database has schema version {found}, this program knows {current_version()}: "
            "take the backup with the release that serves from it", 60,
        )  # fmt: skip
    [(epoch,)] = tx.all("find_meta", name="epoch")
    return Head(__version__, found, tx.engine, epoch, now)


def _write(tx: Transaction, archive: ArchiveWriter, tell: Tell) -> None:
    for table in shape().tables:
        archive.begin(table)
        for rows in tx.scan(table):
            archive.add(rows)
            tell(f"writing {table.name}", len(rows))
    archive.end()


def _fill(tx: Transaction, archive: Archive, actor: str, now: int, tell: Tell) -> str:
    """Make the tables, fill them, then make the indexes; return the epoch."""
    tables, indexes = parted(schema())
    tx.script(tables)
    for table, rows in archive.rows():
        tx.load(table, rows)
        tell(f"restoring {table.name}", len(rows))
    archive.contents()
    tx.script(indexes)
    return begin_anew(tx, actor, now)
