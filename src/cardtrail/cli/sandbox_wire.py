"""`cardtrail sandbox fault`, `faults`, `wire` and `replay`: what goes wrong in a sandbox, and what crossed its wire.

A sandbox that runs is told by its control; the record is read from its folder, also when it has ended.
"""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cardtrail.errors import SettingError

if TYPE_CHECKING:
    from cardtrail.sandbox.wire.record import Exchange
    from cardtrail.sandbox.wire.resend import Resent

Data = Annotated[Path | None, Parameter(show_default=False)]
OFF = "off"
MAX_LAST = 500
"""Most exchanges that are listed."""


def register(app: App) -> None:
    """Add the commands to those of the sandbox."""
    for command in (fault, faults, wire, replay):
        app.command(command)


def fault(  # noqa: PLR0913 -- what a fault can be told
    kind: str,
    which: str | None = None,
    /,
    *,
    at: str | None = None,
    rate: float = 1.0,
    card: Annotated[list[str], Parameter(negative=())] | None = None,
    seconds: float | None = None,
    count: int | None = None,
    data: Data = None,
) -> None:
    """Switch a fault on in a sandbox that is running: `fault 500 --at answers --rate 0.3`; or off: `fault off 500`.

    `cardtrail sandbox faults` lists the kinds. The sandbox's seed decides which messages are struck.

    Parameters
    ----------
    kind
        Which fault; or off, and then WHICH one, or all.
    which
        With off: the kind that is switched off.
    at
        Where on the wire: notifications, answers or events. Default: the first that the kind is for; with off, all.
    rate
        Which part of the messages is struck, more than 0 and at most 1.
    card
        Only messages of this card; can be given more than once.
    seconds
        How long or how late; what it means and its default depend on the kind.
    count
        How often it strikes before it ends by itself; 0 for never.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.switch import set_fault  # noqa: PLC0415 -- its HTTP client is an extra
    from cardtrail.sandbox.wire.faults import FaultIn, Faults  # noqa: PLC0415 -- as above

    folder = _folder(data)
    if kind == OFF:
        given = {"rate": rate != 1, "card": bool(card), "seconds": seconds is not None, "count": count is not None}
        for name in (name for name, is_given in given.items() if is_given):
            raise SettingError(f"{name}: not with {OFF}; a fault is switched off as a whole, or --at one hop")
        _switch_off(folder, which, at)
        return
    if which is not None:
        raise SettingError(f"which: only with {OFF}")
    cards = card or []
    Faults(0).set(kind, at, rate=rate, cards=cards, seconds=seconds, count=count)  # tells what is wrong with it
    _say(_told(set_fault(folder, kind, FaultIn(hop=at, rate=rate, cards=cards, seconds=seconds, count=count))))


def _switch_off(folder: Any, which: str | None, at: str | None) -> None:
    from cardtrail.sandbox.switch import clear_faults  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.wire.kinds import about  # noqa: PLC0415 -- as above

    _check_hop(at)
    cleared = clear_faults(folder, None if which is None else about(which).kind, at)
    _say(f"{cleared} fault{'' if cleared == 1 else 's'} switched off{'' if at is None else f' at {at}'}.")


def _check_hop(at: str | None) -> None:
    from cardtrail.sandbox.wire.kinds import Hop  # noqa: PLC0415 -- as above

    if at is not None and at not in set(Hop):
        raise SettingError(f"at: one of {', '.join(Hop)}")


def faults(*, data: Data = None) -> None:
    """List the kinds of faults with a sentence each, and which are on in a sandbox that is running.

    Parameters
    ----------
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.switch import active_faults  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.wire.kinds import TABLE  # noqa: PLC0415 -- as above

    table = Table("kind", "at", "what it does", box=None, pad_edge=False)
    for about in TABLE:
        time = f" --seconds: {about.meaning} ({about.seconds:g})." if about.seconds is not None else ""
        table.add_row(about.kind, " ".join(about.hops), about.text.replace("`", "") + time)
    Console().print(table)
    try:
        active = active_faults(_folder(data))
    except SettingError:
        _say("\nNo sandbox is running there, so none is on.")
        return
    _say("\n" + ("\n".join(map(_told, active)) if active else "None is on."))


def wire(
    *,
    last: int = 20,
    at: str | None = None,
    card: str | None = None,
    html: Annotated[Path | None, Parameter(show_default=False)] = None,
    data: Data = None,
) -> None:
    """Show what crossed the wire of a sandbox last, a line for each exchange, or write it as a page.

    Everything is in wire.jsonl of its folder, and in wire.jsonl.1 what is older.

    Parameters
    ----------
    last
        How many exchanges are listed, at most 500.
    at
        Only this part of the wire: notifications, answers or events.
    card
        Only exchanges that name this card.
    html
        File for the page, which holds the newest 500 of them with their bodies.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.wire.page import cards_in, page_of  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.wire.record import NAME, newest_of  # noqa: PLC0415 -- as above

    if not 1 <= last <= MAX_LAST:
        raise SettingError(f"last: 1 to {MAX_LAST}")
    _check_hop(at)

    def is_wanted(each: "Exchange") -> bool:
        return at in (None, each.hop) and (card is None or card in cards_in(each))

    asked = None if at is None and card is None else is_wanted
    chosen = newest_of(_folder(data).path / NAME, last if html is None else MAX_LAST, asked)
    if html is not None:
        try:
            html.write_text(page_of(chosen), "utf-8")
        except OSError as error:
            raise SettingError(f"html: {error.strerror}: {html}") from None
        _say(f"{len(chosen)} exchanges are in {html}.")
        return
    for exchange in chosen:
        _say(_line(exchange))
    if not chosen:
        _say("Nothing of that has crossed the wire.")


def replay(file: Path, /, *, data: Data = None) -> None:
    """Send a record again, in order, to a sandbox that is running, and tell which answers are others than before.

    Notifications go to the receiver, signed with the secret of now, events and orders to the platform with the tokens
    of now. What had not arrived is left out, and so are calls for tokens.

    Parameters
    ----------
    file
        The record: a wire.jsonl.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.wire.record import exchanges_of  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.wire.resend import resend  # noqa: PLC0415 -- as above

    env = _folder(data).read_env()
    many = sum(1 for _ in exchanges_of(file))  # all can be read, before any is sent
    console = Console(stderr=True)
    disable = not console.is_terminal
    sent = islice(exchanges_of(file), many)  # the record of this very sandbox grows by what is sent
    shown = track(sent, "sent again", many, console=console, disable=disable, transient=True)
    _tell(resend(shown, env))


def _tell(outcome: "Resent") -> None:
    _say(f"Sent again: {_counted(outcome.sent) or 'nothing'}.")
    if outcome.left_out:
        _say(f"Left out: {_counted(outcome.left_out)}.")
    _say(f"Answered differently: {outcome.different or 'none'}.")
    for each in outcome.told:
        _say(f"  {each.number}  {each.path}  {each.before} -> {each.after}")


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{many} {name}" for name, many in counter.items())


def _line(exchange: "Exchange") -> str:
    what = f"{exchange.method} {exchange.path}" if exchange.method else "an event that was not sent as it is"
    struck = f"  [{', '.join(exchange.faults)}]" if exchange.faults else ""
    begun = f"{exchange.number:>6}  {exchange.at[11:23]}  {exchange.hop:<13}  {exchange.status or '–':>3}"
    return f"{begun}  {what}{struck}"


def _told(active: dict[str, Any]) -> str:
    """Return an active fault in words."""
    from cardtrail.sandbox.wire.kinds import KINDS, Kind, part_of  # noqa: PLC0415 -- as above

    about = KINDS[Kind(active["kind"])]
    time = f", {active['seconds']:g} s ({about.meaning})" if about.seconds is not None else ""
    cards = f" of {', '.join(active['cards'])}" if active["cards"] else ""
    end = f", ends after {active['count']}" if active["count"] else ""
    struck = f"{part_of(active['rate'])} {active['hop']}{cards}"
    return f"{about.kind} is on: {struck}{time}{end}; struck {active['struck']}."


def _folder(data: Path | None) -> Any:
    from cardtrail.sandbox.folder import Folder, default_folder  # noqa: PLC0415 -- as above

    return Folder(data or default_folder())


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
