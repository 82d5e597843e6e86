"""`cardtrail backup` and `cardtrail restore`: the whole store in one file, and a store of such a file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from cardtrail.cli.kit import Flag
from cardtrail.cli.show import grid_of, print_all, print_json, when
from cardtrail.cli.where import HERE, Where
from cardtrail.platform.archive import Contents
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.backup import Tell, back_up, restore

NO_KEY = (
    "The secret key is not in the backup. Keep a copy of its file apart from this one, where few can read it: "
    "without it nobody opens the secrets of the endpoints and the platform's own keys."
)
"""Said whenever a backup is taken."""
NEEDS_KEY = (
    "Give the service the secret key file that belongs to the backup before it starts; `cardtrail doctor` tells "
    "whether it fits."
)
"""Said whenever one is restored."""


def backup(file: Path, /, *, replace: Flag = False, where: Where = HERE) -> None:
    """Write the whole store into one file, beside a running service.

    All that was accepted before the command began is in it. The file is read again before it gets its name, and only
    its owner may read it: it holds everything that the store does, but for the secret key, which is in a file of its
    own. `cardtrail restore` makes a store of it, on either engine.

    Parameters
    ----------
    file
        The file to write.
    replace
        Write over a file that is there.
    """
    with _progress() as tell:
        contents = back_up(where.database, file, wall_clock(), tell, replace=replace)
    _say(where, contents, {"file": str(file), "bytes": file.stat().st_size}, NO_KEY)


def restore_(file: Path, /, *, replace: Flag = False, where: Where = HERE) -> None:
    """Make a store of a backup, while no service runs; every cursor of the changes feed expires.

    The file is read to its end first: one that is damaged is refused before anything is touched. On PostgreSQL the
    database must be there and empty. Whatever was accepted after the backup was taken is lost, so that readers of the
    feed are sent back to the beginning, and parties and keys that were revoked since are active again.

    Parameters
    ----------
    file
        What `cardtrail backup` wrote.
    replace
        Put a SQLite file that is there aside, beside the new one; refused while somebody uses it.
    """
    with _progress() as tell:
        done = restore(where.database, file, where.actor, wall_clock(), tell, replace=replace)
    _say(where, done.contents, {"epoch": done.epoch, "put_aside": done.aside}, NEEDS_KEY)


def _say(where: Where, contents: Contents, more: dict[str, object], warning: str) -> None:
    head = contents.head
    told = {
        "engine": head.engine, "release": head.release, "schema_version": head.schema_version,
        "made_at": when(head.made_at), "rows": sum(contents.rows.values()), **more,
    }  # fmt: skip
    if where.as_json:
        print_json({**told, "made_at": head.made_at, "tables": contents.rows})
    else:
        print_all(grid_of(told))
    print(warning, file=sys.stderr)  # noqa: T201 -- for a person, beside the answer


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show how many rows were written or read, where a person looks."""
    with Progress(
        TextColumn("{task.description}: {task.completed:,.0f} rows"), TimeElapsedColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(),
    ) as progress:  # fmt: skip
        task = progress.add_task("beginning", total=None)
        yield lambda what, rows: progress.update(task, description=what, advance=rows)
