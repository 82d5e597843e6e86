"""`cardtrail sandbox`: everything in one process, to look at and to try scripts against."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from cardtrail.cli import sandbox_wire, sandbox_world
from cardtrail.cli.sandbox_world import Data, folder_named, simulated
from cardtrail.errors import SettingError

sandbox_app = App(name="sandbox")
sandbox_world.register(sandbox_app)
sandbox_wire.register(sandbox_app)


@sandbox_app.default
def sandbox(  # noqa: PLR0913 -- each is an option
    *,
    speed: Annotated[str, Parameter(show_default=False)] = "",
    cards: Annotated[int | None, Parameter(show_default=False)] = None,
    days: Annotated[int | None, Parameter(show_default=False)] = None,
    seed: int = 1,
    scenarios: Annotated[Path | None, Parameter(show_default=False)] = None,
    receiver: str = "",
    port: Annotated[int | None, Parameter(show_default=False)] = None,
    data: Data = None,
) -> None:
    """Start the platform with a pretend bank, sites and carriers, and print a curl to paste.

    On a terminal key d throws the bank's notifications away, key r stops its receiver, key p stops time, and Ctrl-C
    ends it all. Its folder also gets sandbox.env, with addresses and tokens for scripts.

    With --days it does not wait for anybody: it simulates so many days, prints what came of them, and ends.

    Parameters
    ----------
    speed
        How fast time passes, such as 1x, 1000x or max. Default: 10000x, or max with --days.
    cards
        Cards under way at once, or with --days how many are ordered in all. Default: 6, or 1000 with --days.
    days
        Simulate so many days and end. The same seed gives the same digest.
    seed
        Decides what happens to the cards.
    scenarios
        A file of your own with sites, carriers, steps and scenarios, as `cardtrail sandbox scenarios` lists them.
    receiver
        Your own receiver's base URL, such as http://127.0.0.1:9000: it is notified in place of the pretend bank's.
        Not with --days.
    port
        Port on 127.0.0.1; 0 is any free one. Default: 8080, or the next that is free. Not with --days.
    data
        Folder for databases, log and sandbox.env. Default: cardtrail-sandbox in your cache folder.
    """
    try:
        from cardtrail.sandbox.run import run  # noqa: PLC0415 -- its HTTP client is an extra; not everyone installs it
    except ModuleNotFoundError as error:
        raise SettingError(f"{error.name} is missing: the sandbox needs pip install 'cardtrail[sandbox]'") from None
    from cardtrail.sandbox.folder import default_folder, folder_of  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.slots import SLOTS  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.stage import SPEED, Script  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.world.book import book_with, shipped_book  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.world.span import speed_of  # noqa: PLC0415 -- as above

    book = shipped_book() if scenarios is None else book_with(scenarios)
    with folder_of(data or default_folder()) as folder:
        if days is not None:
            _check_simulation(speed, receiver, port)
            simulated(folder, book, cards=1_000 if cards is None else cards, days=days, seed=seed)
            return
        script = Script(seed=seed, speed=speed_of(speed) if speed else SPEED, book=book)
        run(folder, port, script, Console(), cards=SLOTS if cards is None else cards, receiver=receiver)


def _check_simulation(speed: str, receiver: str, port: int | None) -> None:
    """Raise SettingError for what a simulation has no use for."""
    if speed not in {"", "max"}:
        raise SettingError("speed: only max goes with --days; a simulation waits for nobody")
    if receiver:
        raise SettingError("receiver: not with --days; a simulation notifies nobody")
    if port is not None:
        raise SettingError("port: not with --days; nobody can call a simulation")


@sandbox_app.command(name="receiver")
def receiver_(action: Literal["start", "stop"], /, *, data: Data = None) -> None:
    """Stop or start the bank's receiver of a sandbox that is running; meanwhile its notifications wait.

    Parameters
    ----------
    action
        What to do.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.switch import switch_receiver  # noqa: PLC0415 -- as above

    url = switch_receiver(folder_named(data), up=action == "start")
    state = f"is up at {url}" if action == "start" else "has stopped"
    Console().print(f"The bank's receiver {state}.", markup=False)


@sandbox_app.command
def drop(action: Literal["on", "off"], /, *, share: float = 1.0, data: Data = None) -> None:
    """Throw notifications away in a sandbox that is running, or let them arrive again.

    They are answered as if they had arrived, so that the platform never sends them again.

    Parameters
    ----------
    action
        What to do.
    share
        Which part is thrown away, more than 0 and at most 1; the sandbox's seed decides which notifications these are.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.switch import switch_drop  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.wire.kinds import part_of  # noqa: PLC0415 -- as above

    if not 0 < share <= 1:
        raise SettingError("share: more than 0 and at most 1 expected")
    wanted = share if action == "on" else 0.0
    thrown = switch_drop(folder_named(data), wanted)
    text = f"From now on {part_of(wanted)} notifications are lost; {thrown} were until now."
    Console().print(text, markup=False, highlight=False)
