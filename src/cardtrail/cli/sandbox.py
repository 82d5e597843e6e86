"""`cardtrail sandbox`: everything in one process, to look at and to try scripts against."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from cardtrail.cli.sandbox_wire import register
from cardtrail.errors import SettingError

Data = Annotated[Path | None, Parameter(show_default=False)]

sandbox_app = App(name="sandbox")
register(sandbox_app)


@sandbox_app.default
def sandbox(
    *,
    port: Annotated[int | None, Parameter(show_default=False)] = None,
    data: Data = None,
    seed: int = 1,
) -> None:
    """Start the platform with a pretend bank, site and carrier, and print a curl to paste.

    On a terminal key d throws the bank's notifications away, key r stops its receiver, and Ctrl-C ends it all. Its
    folder also gets sandbox.env, with addresses and tokens for scripts.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 is any free one. Default: 8080, or the next that is free.
    data
        Folder for databases, log and sandbox.env. Default: cardtrail-sandbox in your cache folder.
    seed
        Decides what happens to the cards.
    """
    try:
        from cardtrail.sandbox.run import run  # noqa: PLC0415 -- its HTTP client is an extra; not everyone installs it
    except ModuleNotFoundError as error:
        raise SettingError(f"{error.name} is missing: the sandbox needs pip install 'cardtrail[sandbox]'") from None
    from cardtrail.sandbox.folder import default_folder, folder_of  # noqa: PLC0415 -- as above

    with folder_of(data or default_folder()) as folder:
        run(folder, port, seed, Console())


@sandbox_app.command
def receiver(action: Literal["start", "stop"], /, *, data: Data = None) -> None:
    """Stop or start the bank's receiver of a sandbox that is running; meanwhile its notifications wait.

    Parameters
    ----------
    action
        What to do.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.folder import Folder, default_folder  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.switch import switch_receiver  # noqa: PLC0415 -- as above

    url = switch_receiver(Folder(data or default_folder()), up=action == "start")
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
    from cardtrail.sandbox.folder import Folder, default_folder  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.switch import switch_drop  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.wire.kinds import part_of  # noqa: PLC0415 -- as above

    if not 0 < share <= 1:
        raise SettingError("share: more than 0 and at most 1 expected")
    wanted = share if action == "on" else 0.0
    thrown = switch_drop(Folder(data or default_folder()), wanted)
    text = f"From now on {part_of(wanted)} notifications are lost; {thrown} were until now."
    Console().print(text, markup=False, highlight=False)
