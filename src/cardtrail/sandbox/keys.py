"""Keys of the terminal that the sandbox runs in: each calls something at once, without Enter."""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

BACKGROUND_SECONDS = 1.0
"""How often it is looked whether the terminal is ours again, while it is somebody else's."""

Press = Callable[[], None]


def has_keys() -> bool:
    """Return whether a person sits at both ends: what is piped on may want the keyboard for itself."""
    return sys.stdin.isatty() and sys.stdout.isatty() and _is_ours(sys.stdin.fileno())


@contextmanager
def listening(keys: Mapping[str, Press], file: int = 0) -> Iterator[None]:
    """Call what belongs to a key for as long as the block lasts; the terminal is then as it was before."""
    keyboard = _Keyboard(keys, file)
    try:
        keyboard.open()
        yield
    finally:
        keyboard.close()


class _Keyboard:
    """A terminal of which every key is read at once and none is shown, as long as it is ours."""

    def __init__(self, keys: Mapping[str, Press], file: int) -> None:
        self._keys = keys
        self._file = file
        self._before = termios.tcgetattr(file)
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._loop.add_signal_handler(signal.SIGCONT, self._take)  # a shell that stopped us has had the terminal
        self._take()

    def close(self) -> None:
        self._leave()
        self._loop.remove_signal_handler(signal.SIGCONT)
        if _is_ours(self._file):  # elsewhere we would be stopped for it, and the shell has put it right long since
            with suppress(termios.error):  # it has gone
                termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def _take(self) -> None:
        """Begin to read, now or when we are in the foreground again."""
        self._leave()
        if _is_ours(self._file):
            tty.setcbreak(self._file, termios.TCSADRAIN)
            self._loop.add_reader(self._file, self._read)
        else:
            self._waiting = self._loop.call_later(BACKGROUND_SECONDS, self._take)

    def _leave(self) -> None:
        self._loop.remove_reader(self._file)
        if self._waiting is not None:
            self._waiting.cancel()

    def _read(self) -> None:
        if not _is_ours(self._file):  # what is typed is meant for another
            self._take()
            return
        try:
            typed = os.read(self._file, 1_024)
        except OSError:  # the terminal has gone
            typed = b""
        if not typed:
            self._leave()
            return
        # More than one at once is an arrow key, or a text that was pasted.
        press = self._keys.get(typed.decode("latin-1").lower())
        if press is not None:
            press()


def _is_ours(file: int) -> bool:
    """Tell whether the terminal belongs to us, and not to whoever sent us to the background."""
    try:
        return os.tcgetpgrp(file) == os.getpgrp()
    except OSError:
        return False
