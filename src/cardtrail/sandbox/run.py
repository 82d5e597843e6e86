"""The sandbox put together, in one process: a platform, its parties, a feeder that calls it, a bank that it calls."""

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    redirect_stderr,
    suppress,
)

import uvicorn
from rich.console import Console

from cardtrail.errors import CardtrailError, SettingError, StoreUnavailable
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.logs import configure
from cardtrail.platform.app import Platform, build, server_of
from cardtrail.platform.ledger import Ledger
from cardtrail.platform.settings import Settings
from cardtrail.sandbox.admit import ISSUER_ID, admit
from cardtrail.sandbox.bank import Bank
from cardtrail.sandbox.call import BASE_PATH, Caller, Pretender, client
from cardtrail.sandbox.control import control_app
from cardtrail.sandbox.feed import Feeder
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.keys import has_keys, listening
from cardtrail.sandbox.server import HOST, Server
from cardtrail.sandbox.show import view_on
from cardtrail.sandbox.subscribe import NETWORK, STEPS, TIMEOUT, subscribe
from cardtrail.sandbox.tell import Places, Tell
from cardtrail.sandbox.watch import View, Watch
from cardtrail.sandbox.wire.answers import AnswerWire
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.line import LineProtocol
from cardtrail.sandbox.wire.record import Recorder

PORT = 8080
"""The port that is tried first where none is asked for."""
PORTS = 20
"""How many ports are tried from there."""
MAX_PORT = 65_535
DRAIN_SECONDS = 3


def run(folder: Folder, port: int | None, seed: int, console: Console) -> None:
    """Run until Ctrl-C or SIGTERM, or until whoever read its lines has gone.

    Raises SettingError, StoreUnavailable or SchemaMismatch.
    """
    keys = console.is_terminal and has_keys()
    with closing(listen(port)) as socket_, _logging_to(folder), view_on(console, keys=keys) as view:
        bound = socket_.getsockname()[1]
        if port is None and bound != PORT:
            view.say(f"Port {PORT} is taken; this is port {bound}.")
        platform = Platform(settings_of(folder, bound))
        try:
            asyncio.run(_run(folder, platform, socket_, seed, view, keys=keys))
        except BrokenPipeError:
            return
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


async def _run(  # noqa: PLR0913 -- all that was made before the loop
    folder: Folder, platform: Platform, socket_: socket.socket, seed: int, view: View, *, keys: bool
) -> None:
    stop = asyncio.Event()
    _set_by_signals(stop)
    with closing(Server()) as receiver, closing(Server()) as control, closing(Recorder(folder.path)) as recorder:
        try:
            parties = await admit(platform.db)
            secret = await subscribe(platform.endpoints, receiver.url)
            mirror = AsyncMirror.open(folder.mirror)
        except BaseException:
            platform.db.close()
            raise
        faults = Faults(seed)
        bank = Bank(
            receiver, mirror, secret, Ledger(platform.db), endpoints=platform.endpoints, faults=faults, say=view.say,
            recorder=recorder,
        )  # fmt: skip
        wire = AnswerWire(build(platform), platform, faults, recorder)
        places = Places(
            platform=f"http://{HOST}:{platform.settings.port}", receiver=receiver.url, control=control.url,
            control_token=secrets.token_urlsafe(24), keys=keys,
        )  # fmt: skip
        serving = _serving(platform, socket_, wire)
        async with mirror, bank.open(), _switches(bank, control, places), serving as server, _beside(wire) as eye:
            _set_by_signals(stop)  # again: uvicorn has put its own handlers over ours
            await _until(stop, server, _play(folder, places, parties, bank, seed=seed, view=view, eye=eye))


@asynccontextmanager
async def _switches(bank: Bank, control: Server, places: Places) -> AsyncIterator[None]:
    """Obey signals, keys and other processes for as long as the block lasts."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, bank.toggle_receiver)
    keys: AbstractContextManager[None] = nullcontext()
    if places.keys:
        keys = listening({"d": bank.toggle_drop, "r": bank.toggle_receiver})
    await control.start(control_app(bank, places.control_token))
    try:
        with keys:
            yield
    finally:
        await control.stop()


@asynccontextmanager
async def _beside(wire: AnswerWire) -> AsyncIterator[str]:
    """Serve the platform beside its wire, too; gives the root at which the sandbox looks, unseen and unharmed."""
    with closing(Server()) as server:
        await server.start(wire.app)
        try:
            yield server.url
        finally:
            await server.stop()


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
    folder: Folder, places: Places, parties: tuple[Pretender, Pretender], bank: Bank, *, seed: int, view: View, eye: str
) -> None:
    """Feed, watch from the platform's root `eye`, repair and tell, for ever."""
    root, bank_party = places.platform, parties[0]
    folder.write_key(bank_party.key.as_pem(private=True).decode())
    kit = AsyncClient(root + BASE_PATH, ISSUER_ID, key=bank_party.key, kid=bank_party.kid)
    look = AsyncClient(eye + BASE_PATH, ISSUER_ID, key=bank_party.key, kid=bank_party.kid)
    async with client() as http, kit, look:
        issuer, producer = (Caller(http, root, party) for party in parties)
        await asyncio.gather(issuer.renew(), producer.renew())
        feeder = Feeder(ISSUER_ID, issuer, producer, seed)
        watch = Watch(look, bank, lambda: feeder.cards, view)
        tell = Tell(folder, places, issuer, producer, view)
        await _together(feeder.run(), watch.run(), bank.keep(kit), tell.run(feeder.begun))


async def _together(*works: Coroutine[None, None, None]) -> None:
    """Run works until all have ended or one has failed. Raises what it raised on purpose, or else a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        known = failed.subgroup((CardtrailError, BrokenPipeError))
        raise (failed if known is None else known.exceptions[0]) from None


@asynccontextmanager
async def _serving(
    platform: Platform, listening: socket.socket, wire: AnswerWire | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Serve, behind a wire, for as long as the block lasts; gives the task that serves. Raises StoreUnavailable."""
    server = server_of(platform, wire, http=LineProtocol)
    task = asyncio.create_task(_serve(server, listening))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.01)
        if task.done():
            task.result()
        yield task
    finally:
        server.should_exit = True
        if wire is not None:
            await wire.close()
        await task


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        await server.serve([listening])
    except SystemExit:
        raise StoreUnavailable("the platform has not started; sandbox.log tells why") from None
