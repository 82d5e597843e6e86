"""The command line: `cardtrail COMMAND`; each command is a module of this package."""

import sys


def main() -> None:
    """Run a command; errors made on purpose end with one line and exit code 2, Ctrl-C with 130."""
    try:
        from cardtrail.cli.commands import app  # noqa: PLC0415 -- the bare install has no command line
    except ModuleNotFoundError as error:
        sys.exit(f"cardtrail: {error.name} is missing: the command line needs pip install 'cardtrail[platform]'")
    from cardtrail.errors import CardtrailError  # noqa: PLC0415 -- as above

    try:
        app()
    except CardtrailError as error:
        print(f"cardtrail: {error}", file=sys.stderr)  # noqa: T201 -- for a person
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
