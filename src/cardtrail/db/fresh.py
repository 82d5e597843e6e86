"""An empty database in the place of another: what is restored is filled apart, and takes its place when it is whole.

On SQLite that is a file beside the old one, which is held meanwhile, so that nobody else can use it, and put aside in
the end. On PostgreSQL it is a database without tables; an old one is never emptied, there is always room for another.
"""

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from cardtrail.db.database import Database, open_database, path_of
from cardtrail.errors import Conflict, StoreUnavailable

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database file; one that is left over would be taken for the new file's."""


@contextmanager
def fresh_database(url: str, queries: str, aside: str = "") -> Iterator[Database]:
    """Open an empty database; it is at `url` once the block ends well, and nothing has changed if it does not.

    A SQLite file that is there is put aside under its name and `aside`, and refused where that is empty. Raises
    Conflict where there is a database already or somebody uses it, SettingError or StoreUnavailable.
    """
    if urlsplit(url).scheme != "sqlite":
        with closing(open_database(url, queries)) as db:
            if db.read_blocking(lambda tx: tx.tables()):
                raise Conflict("database: it has tables; create an empty one, restore into that and name it instead")
            yield db
        return
    path = path_of(url)
    old = [each for each in (path, *_side_files(path)) if each.exists()]
    if old and not aside:
        raise Conflict(f"database: there is {old[0]}; with --replace it is put aside")
    with _held(path) as kept:
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            with closing(open_database(f"sqlite:///{draft}", queries)) as db:
                yield db
            _put_in_place(
                draft, path, {each: Path(f"{path}{aside}{each.name.removeprefix(path.name)}") for each in kept}
            )
        finally:
            for left in (draft, *_side_files(draft)):
                left.unlink(missing_ok=True)


def _side_files(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in SIDE_FILES]


@contextmanager
def _held(path: Path) -> Iterator[list[Path]]:
    """Keep everybody else from a database file; give the files that hold what was committed. Raises Conflict.

    Whoever has a file in WAL mode open holds a lock on it for as long as that lasts, also while nothing is done; so to
    leave that mode shows whether there is somebody. Then all is in the one file. What is damaged is kept as it is.
    """
    files = [each for each in (path, *_side_files(path)) if each.exists()]
    if not path.exists():
        yield files
        return
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=DELETE")
            connection.execute("BEGIN EXCLUSIVE")
            files = [path]
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise Conflict(f"database: {path} is in use: stop every process of cardtrail that uses it") from None
        yield files


def _put_in_place(draft: Path, path: Path, aside: Mapping[Path, Path]) -> None:
    """Put the old files aside and the new one in their place, so that a power loss leaves one of them there."""
    try:
        for old, kept in aside.items():
            os.link(old, kept)
        for stale in _side_files(path):
            stale.unlink(missing_ok=True)
        draft.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        with suppress(OSError):  # some file systems know no such thing
            os.fsync(descriptor)
        os.close(descriptor)
    except OSError as error:
        raise StoreUnavailable(f"database: {path} cannot be replaced: {error.strerror}") from None
