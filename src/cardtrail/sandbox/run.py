"""The sandbox put together, in one process: a platform, its parties, a feeder that calls it, a bank that it calls."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, redirect_stderr, suppress

import uvicorn
from rich.console import Console

from cardtrail.errors import CardtrailError, SettingError, StoreUnavailable
from cardtrail.logs import configure
from cardtrail.platform.app import Platform, server_of
from cardtrail.platform.ledger import Ledger
from cardtrail.platform.settings import Settings
from cardtrail.sandbox.admit import ISSUER_ID, admit
from cardtrail.sandbox.bank import NETWORK, STEPS, TIMEOUT, Bank, subscribe
from cardtrail.sandbox.call import Caller, Pretender, client
from cardtrail.sandbox.feed import Feeder
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.receiver import HOST, Inbox, Receiver
from cardtrail.sandbox.show import screen_of
from cardtrail.sandbox.tell import Tell
from cardtrail.sandbox.watch import Screen, Watch

PORT = 8080
"""The port that is tried first where none is asked for."""
PORTS = 20
"""How many ports are tried from there."""
MAX_PORT = 65_535
DRAIN_SECONDS = 3


def run(folder: Folder, port: int | None, seed: int, console: Console) -> None:
    """Run until Ctrl-C or SIGTERM. Raises SettingError, StoreUnavailable or SchemaMismatch."""
    with closing(listen(port)) as listening, _logging_to(folder), screen_of(console) as screen:
        bound = listening.getsockname()[1]
        if port is None and bound != PORT:
            screen.say(f"Port {PORT} is taken; this is port {bound}.")
        asyncio.run(_run(folder, Platform(settings_of(folder, bound)), listening, seed, screen))
    console.print(
        f"The sandbox has ended; its data stays in {folder.path}.", soft_wrap=True, style="none", markup=False
    )


def settings_of(folder: Folder, port: int) -> Settings:
    """Return the settings of a platform that may call this machine, and soon notices that its receiver is back."""
    return Settings(
        database=folder.database, host=HOST, port=port, drain_seconds=DRAIN_SECONDS,
        egress_allow=NETWORK, egress_http=True, delivery_timeout=TIMEOUT, delivery_steps=STEPS,
    )  # fmt: skip


def listen(port: int | None) -> socket.socket:
    """Return a socket that listens on the port asked for, or on the first that is free. Raises SettingError."""
    if port is not None and not 0 <= port <= MAX_PORT:
        raise SettingError(f"port: 0 to {MAX_PORT} expected, not {port}")
    for each in range(PORT, PORT + PORTS) if port is None else [port]:
        with suppress(OSError):
            return socket.create_server((HOST, each))
    tried = str(port) if port is not None else f"{PORT} to {PORT + PORTS - 1}"
    raise SettingError(f"port: cannot listen on {tried}; something else may be there: choose another with --port")


@contextmanager
def _logging_to(folder: Folder) -> Iterator[None]:
    """Write what goes wrong to the folder, so that it does not disturb the table."""
    with folder.log.open("w", buffering=1) as log:
        with redirect_stderr(log):  # `configure` takes what standard error is at that moment
            configure("warning")  # a line a request would fill the disk of a demo that is left running
        yield


async def _run(folder: Folder, platform: Platform, listening: socket.socket, seed: int, screen: Screen) -> None:
    stop = asyncio.Event()
    _set_by_signals(stop)
    with closing(Receiver(ISSUER_ID)) as receiver:
        try:
            parties = await admit(platform.db)
            secret = await subscribe(platform.endpoints, receiver.url)
        except BaseException:
            platform.db.close()
            raise
        bank = Bank(receiver, Inbox(secret, screen.hear), Ledger(platform.db), screen.say)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, bank.toggle)
        async with bank.open(), _serving(platform, listening) as server:  # the bank listens longer than it is called
            _set_by_signals(stop)  # again: uvicorn has put its own handlers over ours
            root = f"http://{HOST}:{platform.settings.port}"
            await _until(stop, server, _play(folder, root, parties, bank, seed=seed, screen=screen))


def _set_by_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _until(stop: asyncio.Event, server: asyncio.Task[None], play: Coroutine[None, None, None]) -> None:
    """Play until `stop` is set or the server ends. Raises what the play raised."""
    playing, stopped = asyncio.create_task(play), asyncio.create_task(stop.wait())
    await asyncio.wait({playing, stopped, server}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    playing.cancel()
    with suppress(asyncio.CancelledError):
        await playing


async def _play(  # noqa: PLR0913 -- all the parts of the play meet here
    folder: Folder, root: str, parties: tuple[Pretender, Pretender], bank: Bank, *, seed: int, screen: Screen
) -> None:
    """Feed, watch and tell, for ever."""
    async with client() as http:
        issuer, producer = (Caller(http, root, party) for party in parties)
        await asyncio.gather(issuer.renew(), producer.renew())
        feeder = Feeder(ISSUER_ID, issuer, producer, seed)
        watch = Watch(ISSUER_ID, issuer, lambda: feeder.cards, bank.look, screen)
        tell = Tell(folder, root, bank.receiver.url, issuer, producer, screen=screen)
        await _together(feeder.run(), watch.run(), tell.run(feeder.begun))


async def _together(*works: Coroutine[None, None, None]) -> None:
    """Run works until all have ended or one has failed. Raises what it raised on purpose, or else a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        known = failed.subgroup(CardtrailError)
        raise (failed if known is None else known.exceptions[0]) from None


@asynccontextmanager
async def _serving(platform: Platform, listening: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Serve for as long as the block lasts; gives the task that serves. Raises StoreUnavailable."""
    server = server_of(platform)
    task = asyncio.create_task(_serve(server, listening))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.01)
        if task.done():
            task.result()
        yield task
    finally:
        server.should_exit = True
        await task


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        await server.serve([listening])
    except SystemExit:
        raise StoreUnavailable("the platform has not started; sandbox.log tells why") from None
