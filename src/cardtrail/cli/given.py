"""What is given to commands as files, and how what is wrong with it is named; for commands of either side."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cardtrail.errors import InputError

KeyFile = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""A path, or - for standard input."""


@contextmanager
def named(options: Mapping[str, str]) -> Iterator[None]:
    """Name a wrong member as the option that it came by."""
    try:
        yield
    except InputError as error:
        if error.field not in options:
            raise
        text = str(error).removeprefix(f"{error.field}: ")
        raise InputError(options[error.field], text, error.code) from None


def text_of(name: str, member: str = "key_file", kind: str = "PEM or JWK") -> str:
    """Return a file's text, or standard input's for -. Raises InputError naming `member`."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except OSError as error:
        raise InputError(member, f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(member, f"{name}: a text file ({kind}) expected, not DER") from None
