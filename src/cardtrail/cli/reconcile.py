"""`cardtrail reconcile`: compare the mirror with the platform once, and repair it."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cardtrail.cli.kit import ASKING, Flag, check_issuer, client_of
from cardtrail.cli.options import signature_of
from cardtrail.cli.show import print_json
from cardtrail.errors import CardtrailError
from cardtrail.issuer.answers import Features
from cardtrail.issuer.ask import Asker
from cardtrail.issuer.keep import FullSource
from cardtrail.issuer.learn import learn
from cardtrail.issuer.lease import held
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.ration import Ration
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.issuer.round import Heard
from cardtrail.issuer.settings import Settings, described, settings_of
from cardtrail.logs import configure

UNREPAIRED = 1
"""The exit code where some cards could not be compared; what is wrong with the call itself is 2."""


def reconcile(*, again: Flag = False, json: Flag = False, **given: Any) -> None:
    """Compare the mirror with the platform once, and repair what is wrong.

    Where the platform has a feed of changes, that is read from where it was left; elsewhere every open card is asked
    for. A pass that was interrupted within the last hour is gone on with: then the mirror is as fresh as the beginning
    of that pass. Exit code 1: some cards could not be compared.

    Parameters
    ----------
    again
        Begin anew, whatever was done before: read the whole feed, and ask for every card that is not in it; without a
        feed, ask for every open card.
    json
        Print JSON instead of text.
    """
    settings = settings_of(given)
    check_issuer(settings)
    configure(settings.log_level)
    code = asyncio.run(_reconcile(settings, again=again, as_json=json))
    if code:
        sys.exit(code)


async def _reconcile(settings: Settings, *, again: bool, as_json: bool) -> int:
    begun = time.monotonic()
    async with client_of(settings) as client, AsyncMirror.open(settings.mirror) as mirror:
        source: FullSource = client
        async with held(mirror.db, settings.issuer_id) as fence:
            features = await source.features()
            await learn(mirror, settings.issuer_id)
            failure: CardtrailError | None = None
            with _bar(mirror, settings) as show:
                ration = Ration(mirror, settings.issuer_id, settings.calls_per_day)
                work = Reconciler(Asker(settings.issuer_id, source, mirror, fence, many=features.batch), show, ration)
                try:
                    heard = await _pass(work, features, again=again)
                except CardtrailError as error:
                    heard, failure = Heard(), error
            await learn(mirror, settings.issuer_id)
        left = await _left(mirror, settings.issuer_id)
    report = {
        "feed": features.feed, "batch": features.batch, "calls": heard.calls, "compared": heard.asked,
        "repaired": heard.changed, "unknown": heard.unknown, "failed": heard.failed, "doubtful": left,
        "seconds": round(time.monotonic() - begun, 3), "error": str(failure) if failure else None,
    }  # fmt: skip
    print_json(report) if as_json else _tell(report)
    return UNREPAIRED if failure or heard.failed or left else 0


async def _pass(work: Reconciler, features: Features, *, again: bool) -> Heard:
    if not features.feed:
        return await work.sweep(again=again)
    return await work.ask_failed() + await work.pull(again=again) + await work.ask_doubtful()


async def _left(mirror: AsyncMirror, issuer_id: str) -> int:
    """Return how many cards are still doubtful."""
    row = await mirror.db.read(lambda tx: tx.one("count_doubtful", issuer_id=issuer_id))
    return int(row[0]) if row else 0


@contextmanager
def _bar(mirror: AsyncMirror, settings: Settings) -> Iterator[Any]:
    """Give what is told of progress; on a terminal it draws a bar."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _heard, _count: None
        return
    columns = (
        TextColumn("comparing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[repaired]} repaired"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        row = mirror.db.read_blocking(lambda tx: tx.one("count_open", issuer_id=settings.issuer_id, before=2**62))
        task = progress.add_task("", total=int(row[0]) if row else None, repaired=0)
        repaired = 0

        def show(heard: Heard, count: int) -> None:
            nonlocal repaired
            repaired += heard.changed
            progress.update(task, advance=count, repaired=repaired)

        yield show


def _tell(report: dict[str, Any]) -> None:
    way = "the feed of changes" if report["feed"] else "card by card" if not report["batch"] else "by batches"
    lines = [
        f"compared {report['compared']:,} with {report['calls']:,} calls in {report['seconds']} s ({way})",
        f"repaired {report['repaired']:,}",
    ]  # fmt: skip
    if report["unknown"]:
        lines.append(f"unknown to the platform {report['unknown']:,}")
    if report["failed"] or report["doubtful"]:
        lines.append(f"NOT repaired: {report['failed']:,} not answered, {report['doubtful']:,} doubtful; run it again")
    if report["error"]:
        lines.append(f"NOT finished: {report['error']}; what was learned is kept: run it again to go on")
    sys.stdout.write("\n".join(lines) + "\n")


reconcile.__signature__ = signature_of(described(), ASKING, reconcile)  # type: ignore[attr-defined]  # read by inspect.signature
