"""Keys of the terminal that the sandbox runs in: each calls something at once, without Enter."""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Press = Callable[[], None]


def has_keys() -> bool:
    """Return whether a person sits at both ends: what is piped on may want the keyboard for itself."""
    return sys.stdin.isatty() and sys.stdout.isatty() and _is_ours(sys.stdin.fileno())


@contextmanager
def listening(keys: Mapping[str, Press], file: int = 0) -> Iterator[None]:
    """Call what belongs to a key for as long as the block lasts; the terminal is then as it was before."""
    before = termios.tcgetattr(file)
    loop = asyncio.get_running_loop()
    try:
        _set_up(file)
        loop.add_signal_handler(signal.SIGCONT, _set_up, file)  # the shell took the terminal back for a while
        loop.add_reader(file, _read, file, keys)
        yield
    finally:
        loop.remove_reader(file)
        loop.remove_signal_handler(signal.SIGCONT)
        if _is_ours(file):  # in the background we would be stopped for it, and the shell has put it right long since
            termios.tcsetattr(file, termios.TCSADRAIN, before)


def _set_up(file: int) -> None:
    """Have each key at once, and none shown."""
    if _is_ours(file):
        tty.setcbreak(file, termios.TCSADRAIN)


def _read(file: int, keys: Mapping[str, Press]) -> None:
    if not _is_ours(file):  # sent to the background: what is typed is meant for another
        return
    try:
        typed = os.read(file, 1024)
    except OSError:  # the terminal has gone
        typed = b""
    if not typed:
        asyncio.get_running_loop().remove_reader(file)
        return
    # More than one at once is an arrow key, or a text that was pasted.
    press = keys.get(typed.decode("latin-1").lower())
    if press is not None:
        press()


def _is_ours(file: int) -> bool:
    """Tell whether the terminal belongs to us, and not to whoever sent us to the background."""
    try:
        return os.tcgetpgrp(file) == os.getpgrp()
    except OSError:
        return False
