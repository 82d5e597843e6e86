"""A file that is there whole or not at all, and stays so when power is lost."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Write a file for its owner only; it gets its name once the block ends well. It can be read back in the block.

    Raises OSError; FileExistsError where it is there already and `replace` is not set.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)  # whole or not at all, and never over one that is there
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make a new name survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
