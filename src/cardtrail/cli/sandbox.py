"""`cardtrail sandbox`: everything in one process, to look at and to try scripts against."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console

from cardtrail.errors import SettingError

sandbox_app = App(name="sandbox")


@sandbox_app.default
def sandbox(
    *,
    port: Annotated[int | None, Parameter(show_default=False)] = None,
    data: Annotated[Path | None, Parameter(show_default=False)] = None,
    seed: int = 1,
) -> None:
    """Start the platform with a pretend bank, site and carrier, and print a curl to paste.

    Ctrl-C ends it. Its folder also gets sandbox.env, with addresses and tokens for scripts.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 is any free one. Default: 8080, or the next that is free.
    data
        Folder for database, log and sandbox.env. Default: cardtrail-sandbox in your cache folder.
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
def receiver(
    action: Literal["start", "stop"], /, *, data: Annotated[Path | None, Parameter(show_default=False)] = None
) -> None:
    """Stop or start the bank's receiver of a sandbox that is running; meanwhile its notifications wait.

    Parameters
    ----------
    action
        What to do.
    data
        The sandbox's folder. Default: cardtrail-sandbox in your cache folder.
    """
    from cardtrail.sandbox.folder import Folder, default_folder  # noqa: PLC0415 -- as above
    from cardtrail.sandbox.switch import switch  # noqa: PLC0415 -- as above

    url = switch(Folder(data or default_folder()), up=action == "start")
    state = f"is up at {url}" if action == "start" else "has stopped"
    Console().print(f"The bank's receiver {state}.", markup=False)
