"""`cardtrail epoch`: the word of the database that cursors carry, to be renewed after a restore."""

from collections.abc import Awaitable, Callable

from cyclopts import App

from cardtrail.cli.show import print_all, print_json
from cardtrail.cli.where import HERE, Where, with_store
from cardtrail.db import Database
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.epoch import find_epoch, renew_epoch

epoch_app = App(name="epoch", help="The epoch of the database, which every cursor of the changes feed carries.")


@epoch_app.command
def show(*, where: Where = HERE) -> None:
    """Show the epoch."""
    _tell(where, find_epoch)


@epoch_app.command
def renew(*, where: Where = HERE) -> None:
    """Make all cursors expire, so that every reader of the changes feed begins again.

    Do so after restoring a backup, before the service is started. On PostgreSQL, a restored dump, a restore to a point
    in time and a failover are seen without it; a copied SQLite file or data directory never is.
    """
    _tell(where, lambda db: renew_epoch(db, where.actor, wall_clock()))


def _tell(where: Where, work: Callable[[Database], Awaitable[str]]) -> None:
    epoch = with_store(where, work)
    if where.as_json:
        print_json({"epoch": epoch})
    else:
        print_all(epoch)
