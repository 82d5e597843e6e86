"""The HTTP servers of commands, for which being told to stop is a clean end, not one by a signal."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from cardtrail.errors import SettingError

MAX_PORT = 65_535


class Server(uvicorn.Server):
    """uvicorn's server, which gives back control when it was told to stop.

    Left alone, uvicorn raises the signal again once it has stopped. That ends the process at once, before what runs
    beside the server has let go of what it holds. `release` is called when it begins to stop, so that nobody waits for
    what may never happen.
    """

    def __init__(self, config: uvicorn.Config, release: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._release = release

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all waiting, then finish what was begun."""
        self._release()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ask for the end on SIGTERM and SIGINT; a second one insists. Only a process's main thread hears signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class DeafServer(uvicorn.Server):
    """uvicorn's server, which is told to stop by `should_exit` and leaves signals to whom they are for."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear none."""
        yield


def listening(host: str, port: int, setting: str = "port") -> socket.socket:
    """Return a socket that listens, on any free port for 0. Raises SettingError, naming the setting."""
    if not 0 <= port <= MAX_PORT:
        raise SettingError(f"{setting}: 0 to {MAX_PORT} expected")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingError(f"{setting}: {host}:{port} cannot be listened on: {error.strerror}") from None
