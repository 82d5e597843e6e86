"""`cardtrail sandbox`: everything in one process, to look at and to try scripts against."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from cardtrail.errors import SettingError


def sandbox(
    *,
    port: Annotated[int | None, Parameter(show_default=False)] = None,
    data: Annotated[Path | None, Parameter(show_default=False)] = None,
    seed: int = 1,
) -> None:
    """Start the platform with pretend sites and carriers, and print a curl to paste.

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
