"""The command line: `cardtrail COMMAND`; each command is a module of this package."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from cardtrail.errors import CardtrailError


def main() -> NoReturn:
    """Run a command; errors made on purpose end with one line and exit code 2, Ctrl-C with 130."""
    try:
        _run()
    except SystemExit as ended:
        _leave(ended.code)
    _leave(0)


def _run() -> None:
    try:
        from cardtrail.cli.commands import COMMANDS, app, load, missing_of  # noqa: PLC0415 -- the bare install has none
    except ModuleNotFoundError as error:
        sys.exit(f"cardtrail: {error.name} is missing: the command line needs pip install 'cardtrail[issuer]'")
    called = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if called not in COMMANDS and called != "--version":
            load(app)
        app()
    except CardtrailError as error:
        print(f"cardtrail: {error}", file=sys.stderr)  # noqa: T201 -- for a person
        sys.exit(2)
    except ImportError as error:
        name = missing_of(error)
        if name is None or called not in COMMANDS:
            raise
        sys.exit(f"cardtrail: {name} is missing: {called} needs pip install 'cardtrail[{COMMANDS[called][1]}]'")
    except KeyboardInterrupt:
        sys.exit(130)


def _leave(code: str | int | None) -> NoReturn:
    """End the process, without taking the interpreter apart where the HTTP client has been loaded.

    That one has a thread of its own, which cannot be stopped and may be about to call into the interpreter: one that
    is being taken apart then aborts, once in some twenty times, and a command that did its work ends with SIGABRT.
    """
    if "pyreqwest" not in sys.modules:
        sys.exit(code)
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201 -- as sys.exit does
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it has gone
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
