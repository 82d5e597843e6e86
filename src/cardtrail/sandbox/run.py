"""The sandbox put together, in one process: a stage, a bank that it notifies, and what shows and tells of both."""

import asyncio
import math
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

from rich.console import Console

from cardtrail.errors import CardtrailError, InputError, SettingError
from cardtrail.files.box import box_of
from cardtrail.issuer.ask import asking
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.ui.front import Front, nothing_else
from cardtrail.logs import configure
from cardtrail.pages.door.password import generated
from cardtrail.platform.ledger import Ledger
from cardtrail.sandbox.admit import ISSUER_ID, let_in
from cardtrail.sandbox.bank import Bank
from cardtrail.sandbox.call import BASE_PATH
from cardtrail.sandbox.control import control_app
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.keys import has_keys, listening
from cardtrail.sandbox.server import Server
from cardtrail.sandbox.show import view_on
from cardtrail.sandbox.slots import Slots
from cardtrail.sandbox.stage import PORT, Cast, Script, Stage, listen, settings_of
from cardtrail.sandbox.subscribe import subscribe
from cardtrail.sandbox.tell import Current, Places, Tell
from cardtrail.sandbox.watch import View, Watch
from cardtrail.sandbox.wire.forward import Forward
from cardtrail.sandbox.wire.record import Recorder
from cardtrail.sandbox.world.control import world_routes
from cardtrail.sandbox.world.insist import insist

_BASE_URL = "expected http:// or https:// and a host, perhaps a port and a path, such as http://127.0.0.1:9000"


def run(  # noqa: PLR0913 -- each is an option of the command
    folder: Folder, port: int | None, script: Script, console: Console, *, cards: int, receiver: str = ""
) -> None:
    """Run until Ctrl-C or SIGTERM, or until whoever read its lines has gone; `cards` are under way at once.

    `receiver` is the base URL of one that is notified in place of the bank's own. Raises SettingError,
    StoreUnavailable or SchemaMismatch.
    """
    keys = console.is_terminal and has_keys()
    with closing(listen(port)) as socket_, logging_to(folder), view_on(console, keys=keys) as view:
        bound = socket_.getsockname()[1]
        if port is None and bound != PORT:
            view.say(f"Port {PORT} is taken; this is port {bound}.")
        try:
            elsewhere = _elsewhere(receiver) if receiver else None
            asyncio.run(_run(folder, bound, script, socket_, view, cards=cards, keys=keys, elsewhere=elsewhere))
        except BrokenPipeError:
            return
    console.print(
        f"The sandbox has ended; its data stays in {folder.path}.", soft_wrap=True, style="none", markup=False
    )


def _elsewhere(receiver: str) -> Forward:
    try:
        return Forward(receiver)
    except InputError:
        raise SettingError(f"receiver: {_BASE_URL}") from None


@contextmanager
def logging_to(folder: Folder) -> Iterator[None]:
    """Write what goes wrong to the folder, so that it does not disturb the table."""
    with folder.log.open("w", buffering=1) as log:
        with redirect_stderr(log):  # `configure` takes what standard error is at that moment
            configure("warning")  # a line a request would fill the disk of a demo that is left running
        yield


async def _run(  # noqa: PLR0913 -- all that was made before the loop
    folder: Folder, port: int, script: Script, socket_: socket.socket, view: View, *, cards: int, keys: bool,
    elsewhere: Forward | None,
) -> None:  # fmt: skip
    stop = asyncio.Event()
    _set_by_signals(stop)
    with (
        closing(Server()) as receiver, closing(Server()) as control, closing(Server()) as pages,
        closing(Recorder(folder.path)) as recorder,
    ):  # fmt: skip
        stage = Stage(settings_of(folder, port), script, recorder)
        slots = Slots(ISSUER_ID, stage.world, script.seed, cards)
        secret = await subscribe(stage.platform.endpoints, receiver.url)
        places = Places(
            platform=stage.root, receiver=receiver.url, control=control.url,
            mirror=pages.url, control_token=secrets.token_urlsafe(24), keys=keys, password=generated(),
            elsewhere="" if elsewhere is None else elsewhere.url,
        )  # fmt: skip
        await let_in(stage.platform.entrance.accounts, places.password)
        async with AsyncMirror.open(folder.mirror) as mirror:
            bank = Bank(
                receiver, mirror, secret, Ledger(stage.platform.db), endpoints=stage.platform.endpoints,
                faults=stage.faults, say=view.say, recorder=recorder, receiver=elsewhere,
            )  # fmt: skip
            bank.time = stage.clock.told
            # The bank ends last: a platform that ends meets no receiver that is gone already.
            async with bank.open(), stage.open(socket_) as cast, _beside(stage) as eye:
                _set_by_signals(stop)  # again: uvicorn has put its own handlers over ours
                async with _switches(bank, cast, control, places), _showing(pages, folder, mirror, cast, places):
                    play = _play(folder, places, cast, bank, slots=slots, view=view, eye=eye)
                    await _until(stop, cast.serving, play)
        if elsewhere is not None:
            await elsewhere.close()


@asynccontextmanager
async def _beside(stage: Stage) -> AsyncIterator[str]:
    """Serve the platform beside its wire, too; gives the root at which the sandbox looks, unseen and unharmed."""
    with closing(Server()) as server:
        await server.start(stage.wire.app)
        try:
            yield server.url
        finally:
            await server.stop()


@asynccontextmanager
async def _showing(
    server: Server, folder: Folder, mirror: AsyncMirror, cast: Cast, places: Places
) -> AsyncIterator[None]:
    """Show the pages of the bank's mirror for as long as the block lasts; people log in as at the platform's."""
    party = cast.issuer.party
    async with AsyncClient(places.platform + BASE_PATH, ISSUER_ID, key=party.key, kid=party.kid) as client:
        front = Front(
            mirror, ISSUER_ID, box_of("", folder.mirror), plain=True, ask=asking(ISSUER_ID, client, mirror)
        )  # fmt: skip
        await let_in(front.entrance.accounts, places.password)
        await server.start(front.before(nothing_else))
        try:
            yield
        finally:
            front.release()
            await server.stop()
            await front.close()


@asynccontextmanager
async def _switches(bank: Bank, cast: Cast, control: Server, places: Places) -> AsyncIterator[None]:
    """Obey signals, keys and other processes for as long as the block lasts."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, bank.toggle_receiver)
    keys: AbstractContextManager[None] = nullcontext()
    if places.keys:
        keys = listening({"d": bank.toggle_drop, "r": bank.toggle_receiver, "p": cast.player.clock.toggle})
    await control.start(control_app(bank, places.control_token, world_routes(cast.player, ISSUER_ID)))
    try:
        with keys:
            yield
    finally:
        await control.stop()


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
    folder: Folder, places: Places, cast: Cast, bank: Bank, *, slots: Slots, view: View, eye: str
) -> None:
    """Play, watch from the platform's root `eye`, repair and tell, for ever."""
    party = cast.issuer.party
    folder.write_key(party.key.as_pem(private=True).decode())
    kit = AsyncClient(places.platform + BASE_PATH, ISSUER_ID, key=party.key, kid=party.kid)
    look = AsyncClient(eye + BASE_PATH, ISSUER_ID, key=party.key, kid=party.kid)
    async with kit, look:
        slots.begin()
        await insist(cast.player.run_once, math.inf)  # so that there is something to ask for
        watch = Watch(look, bank, lambda: slots.cards, view)
        tell = Tell(
            folder, places, cast.issuer, cast.producer, view,
            current=lambda: Current(card_id=slots.first, secret=bank.secrets[0]),
        )  # fmt: skip
        await _together(cast.player.run(), watch.run(), bank.keep(kit), tell.run())


async def _together(*works: Coroutine[None, None, None]) -> None:
    """Run works until all have ended or one has failed. Raises what it raised on purpose, or else a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        known = failed.subgroup((CardtrailError, BrokenPipeError))
        raise (failed if known is None else known.exceptions[0]) from None
