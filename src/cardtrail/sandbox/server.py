"""A small server on loopback that can be stopped and started again without losing its port."""

import asyncio
import socket

import uvicorn

from cardtrail.issuer.asgi import Asgi
from cardtrail.sandbox.wire.line import LineProtocol
from cardtrail.server import DeafServer

HOST = "127.0.0.1"
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than the platform keeps it."""
STOP_SECONDS = 2
"""How long calls that are under way may take once it stops."""


class Server:
    """Serves an ASGI application on a free port, which stays its own while it is stopped; `close` it in the end."""

    def __init__(self) -> None:
        # Bound and never listening. Without it somebody else could take the port while the server is stopped, even
        # a call to it: where nobody listens, a socket can be given that very port for its own end, and meet itself.
        self._place = _bound(0)
        self._server: DeafServer | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Its port, the same for as long as it lives."""
        return int(self._place.getsockname()[1])

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{HOST}:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    async def start(self, app: Asgi) -> None:
        """Listen, and answer by this application."""
        self._server = DeafServer(uvicorn.Config(
            app, interface="asgi3", proxy_headers=False, lifespan="off", ws="none", log_config=None,
            access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS, http=LineProtocol,
            timeout_graceful_shutdown=STOP_SECONDS,
        ))  # fmt: skip
        self._serving = asyncio.create_task(self._server.serve([_bound(self.port)]))
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.01)
        if self._serving.done():
            self._serving.result()

    async def stop(self) -> None:
        """Close the listening socket and every connection: calls are refused from now on."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None

    def close(self) -> None:
        """Give up the port."""
        self._place.close()


def _bound(port: int) -> socket.socket:
    """Return a socket that has a port on loopback, and shares it with others of this user's."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound
