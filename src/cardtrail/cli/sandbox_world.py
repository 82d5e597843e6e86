"""`cardtrail sandbox …`: time and cards of a sandbox that is running, scenarios, and simulations."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cardtrail.cli.show import print_json

if TYPE_CHECKING:
    from cardtrail.sandbox.folder import Folder
    from cardtrail.sandbox.world.book import Book
    from cardtrail.sandbox.world.simulate import Simulated

Data = Annotated[Path | None, Parameter(show_default=False)]
Flag = Annotated[bool, Parameter(negative=())]
ADVANCE_PATIENCE = timedelta(minutes=10)
"""Longest wait until a span has passed in the sandbox."""


def folder_named(data: Path | None) -> "Folder":
    """Return the sandbox's folder that is named, or the usual one."""
    from cardtrail.sandbox.folder import Folder, default_folder  # noqa: PLC0415 -- an extra; not everyone installs it

    return Folder(data or default_folder())


def register(app: App) -> None:
    """Add all of it to `cardtrail sandbox`."""
    for command in (advance, pause, resume, speed, time, order, scenarios):
        app.command(command)
    for verb in _verbs():
        app.command(verb)
    app.command(scan)


def _control(data: Path | None, method: str, path: str, content: object = None) -> Any:
    from cardtrail.sandbox.switch import control  # noqa: PLC0415 -- as above

    return control(folder_named(data), method, path, content, ADVANCE_PATIENCE)


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────


def advance(span: str, /, *, data: Data = None) -> None:
    """Let time pass at once; it returns when the platform has recorded all that happened.

    Parameters
    ----------
    span
        How much, such as 3d, 12h or 1d12h.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    answer = _control(data, "POST", "/clock:advance", {"span": span})
    _say(f"It is {answer['text']}; {answer['happened']:,} things happened.")


def pause(*, data: Data = None) -> None:
    """Let time stand still.

    Parameters
    ----------
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    _tell_time(_control(data, "PUT", "/clock", {"paused": True}))


def resume(*, data: Data = None) -> None:
    """Let time go on as fast as before.

    Parameters
    ----------
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    _tell_time(_control(data, "PUT", "/clock", {"paused": False}))


def speed(speed: str, /, *, data: Data = None) -> None:
    """Let time pass faster or slower; it goes on if it stood still.

    Parameters
    ----------
    speed
        How fast: 1x, 1000x, max.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    _tell_time(_control(data, "PUT", "/clock", {"speed": speed}))


def time(*, data: Data = None) -> None:
    """Say what time it is in the sandbox.

    Parameters
    ----------
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    _tell_time(_control(data, "GET", "/clock"))


def _tell_time(answer: Any) -> None:
    _say(f"{answer['text']} UTC, {answer['runs']}")


# ── cards ────────────────────────────────────────────────────────────────────────────────────────────────────


def order(card_id: str, /, *, request_id: str = "", data: Data = None) -> None:
    """Have the pretend bank order a card. An id such as sbx-returned-1 picks what becomes of it.

    Parameters
    ----------
    card_id
        The card.
    request_id
        The order's issuerRequestId; it can pick the scenario, too. Default: a new one.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    answer = _control(data, "POST", "/orders", {"cardId": card_id, "issuerRequestId": request_id or None})
    _say(f"{card_id} is ordered: {answer['scenario']}.")


def _verbs() -> list[Callable[..., None]]:
    """Return a command for each verb but `scan`, which takes more."""
    from cardtrail.sandbox.world.verbs import MEANING, Verb  # noqa: PLC0415 -- as above

    return [_verb(verb.value, MEANING[verb]) for verb in Verb if verb is not Verb.SCAN]


def _verb(name: str, meaning: str) -> Callable[..., None]:
    def act(card_id: str, /, *, data: Data = None) -> None:
        _tell_events(_control(data, "POST", f"/cards/{quote(card_id, safe='')}:{name}"))

    act.__name__ = name
    act.__doc__ = f"""{meaning}

    Parameters
    ----------
    card_id
        The card.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    return act


def scan(  # noqa: PLR0913 -- each is an option
    card_id: str, /, *, status: str | None = None, code: str | None = None, message: str | None = None,
    location: str | None = None, data: Data = None,
) -> None:  # fmt: skip
    """Have the carrier scan the letter now, whatever was before: its story's next scan, or what is given.

    Parameters
    ----------
    card_id
        The card.
    status
        Shipment status, such as InTransit, or a word that nobody knows.
    code
        The carrier's own code.
    message
        Text for people.
    location
        Where it was scanned.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    given = {"status": status, "code": code, "message": message, "location": location}
    told = {name: value for name, value in given.items() if value is not None}
    _tell_events(_control(data, "POST", f"/cards/{quote(card_id, safe='')}:scan", told or None))


def _tell_events(answer: Any) -> None:
    for event in answer["events"]:
        words = [event["source"], event["kind"], event.get("status", ""), event.get("code", "")]
        _say(f"{event['occurredAt']}  {'  '.join(word for word in words if word)}")


# ── scenarios ────────────────────────────────────────────────────────────────────────────────────────────────


def scenarios(*, file: Annotated[Path | None, Parameter(show_default=False)] = None, json: Flag = False) -> None:
    """List the scenarios: `sbx-` and a name, as the beginning of a card's or a request's id, picks one.

    Parameters
    ----------
    file
        A file of your own, whose entries are added.
    json
        Print JSON instead of a table.
    """
    from cardtrail.sandbox.world.book import book_with, shipped_book  # noqa: PLC0415 -- as above

    book = shipped_book() if file is None else book_with(file)
    if json:
        print_json({name: {"about": each.about, "weight": each.weight} for name, each in book.scenarios.items()})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("scenario", no_wrap=True)
    table.add_column("of 100", justify="right")
    table.add_column("what becomes of the card")
    whole = sum(each.weight for each in book.scenarios.values()) or 1
    for name, each in book.scenarios.items():
        table.add_row(name, f"{100 * each.weight / whole:.0f}", each.about)
    Console().print(table)


# ── simulations ──────────────────────────────────────────────────────────────────────────────────────────────


def simulated(folder: "Folder", book: "Book", *, cards: int, days: int, seed: int) -> None:
    """Simulate, with a progress bar, and print what came of it."""
    from cardtrail.sandbox.admit import ISSUER_ID  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.run import logging_to  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.world.simulate import Plan, simulate  # noqa: PLC0415 -- as above

    plan = Plan(issuer_id=ISSUER_ID, cards=cards, days=days, seed=seed)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with logging_to(folder), Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{days} days of {cards:,} cards", total=1.0)
        found = asyncio.run(
            simulate(plan, book, folder.simulation, lambda done: progress.update(task, completed=done))
        )  # fmt: skip
    _print_simulated(found, plan.days, folder.simulation)


def _print_simulated(found: "Simulated", days: int, database: Path) -> None:
    tally = found.tally
    for head, counts in {"scenario": found.stories, "in the end": tally.stages}.items():
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column(head, min_width=36)
        table.add_column("orders", justify="right")
        for name, count in sorted(counts.items(), key=lambda each: -each[1]):
            table.add_row(name, f"{count:,}")
        Console().print(table, "")
    per_second = tally.events / found.seconds
    told = ", ".join(f"{count:,} {result}" for result, count in sorted(found.told.items()))
    refused = f" ({found.refused:,} more refused; sandbox.log tells why)" if found.refused else ""
    _say(
        f"{days} days, {tally.orders:,} orders{refused}, {tally.events:,} events ({told}) "
        f"in {found.seconds:.1f} s: {per_second:,.0f} events a second.\n"
        f"store   {database}\n"
        f"digest  {tally.digest}"
    )
