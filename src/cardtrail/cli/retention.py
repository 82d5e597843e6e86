"""`cardtrail retention run`: what the service removes in the background, at once and to the end."""

import asyncio
import sys
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from cardtrail.db import Database
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.prune import Prune
from cardtrail.platform.settings import Settings, settings_of
from cardtrail.platform.store import open_store
from cardtrail.platform.sweep import Sweep

retention_app = App(name="retention", help="Remove what has been kept for long enough.")


@retention_app.command
def run(*, database: Annotated[str | None, Parameter(help="The store, by default CARDTRAIL_DATABASE.")] = None) -> None:
    """Remove, in small steps beside a running service, all that is older than the settings allow; print how much.

    Events of orders that never came, events of settled orders, and notifications with their attempts; for how long
    each is kept is a setting of the service and comes from the environment.
    """
    settings = settings_of({"database": database})
    swept, pruned = asyncio.run(_run(settings))
    print(f"{swept:,} cards, parcels and orders swept; {pruned:,} notifications and attempts removed")  # noqa: T201 -- the command's answer


async def _run(settings: Settings) -> tuple[int, int]:
    db = open_store(settings.database)
    try:
        with Progress(
            TextColumn("{task.description}: {task.completed:,.0f}"), TimeElapsedColumn(),
            console=Console(stderr=True), disable=not sys.stderr.isatty(),
        ) as progress:  # fmt: skip
            return await _sweep(db, settings, progress), await _prune(db, settings, progress)
    finally:
        db.close()


async def _sweep(db: Database, settings: Settings, progress: Progress) -> int:
    sweep = Sweep(db, wall_clock, settings.waiting_days, settings.seal_days)
    bar, total = progress.add_task("orders and events", total=None), 0
    while done := await sweep.run_once():
        total += done
        progress.update(bar, completed=total)
    return total


async def _prune(db: Database, settings: Settings, progress: Progress) -> int:
    prune = Prune(db, wall_clock, settings.settled_days, settings.undelivered_days)
    bar, total = progress.add_task("notifications", total=None), 0
    while done := await prune.run_once():
        total += done
        progress.update(bar, completed=total)
    return total
