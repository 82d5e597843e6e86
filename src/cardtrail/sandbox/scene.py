"""A scene: a stage on which time stands still until somebody moves it, with receivers that are elsewhere.

Whoever directs it asks and orders beside the wire, so that no fault disturbs that; what sites and carriers report, what
the issuer asks, and what it is notified of goes through the wire.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import structlog

from cardtrail.errors import CardtrailError, InputError, NotFound
from cardtrail.platform.endpoints import MAX_ENDPOINTS
from cardtrail.platform.ledger import MAX_LISTED, Entry, Ledger, Selection
from cardtrail.platform.orders import wanted_of
from cardtrail.platform.outbox import NotificationState
from cardtrail.protocol.reading import Operation, operation_of
from cardtrail.protocol.signature import receivers_secret_of
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.inlet import Inlet
from cardtrail.sandbox.stage import Cast, Script, Stage, listen, settings_of
from cardtrail.sandbox.wire.record import Recorder
from cardtrail.sandbox.world.magic import PREFIX

HAPPY = "happy"
"""The story of a card for which nobody asks for another one."""
LOOK_SECONDS = 0.01
"""From one look at what is still to be delivered to the next."""


class Scene:
    """What can be done on an open stage."""

    def __init__(self, stage: Stage, cast: Cast, recorder: Recorder) -> None:
        self.stage = stage
        self.cast = cast
        self.recorder = recorder
        self._find = stage.platform.db.lookup("latest_picture")
        self._ledger = Ledger(stage.platform.db)
        self._inlets: list[Inlet] = []
        self._orders = 0

    # ── cards ──

    async def order(self, card_id: str, request_id: str | None = None, scenario: str | None = None) -> str:
        """Order a card; return the id of its operation. Raises InputError, or Conflict.

        Its story is the `scenario`, else the one that `request_id` or else `card_id` asks for; HAPPY where there is
        neither a request id nor a card id that asks. A request id that asks for none lets the seed decide.
        """
        if scenario is not None:
            self.stage.world.book.scenario(scenario)
            if request_id is not None:
                raise InputError("scenario", "goes without a request id, which would ask for a story by itself")
        elif request_id is None and not card_id.lower().startswith(PREFIX):
            scenario = HAPPY
        if scenario is not None:
            self._orders += 1
            request_id = f"{PREFIX}{scenario}-{self._orders}"
        order = {"distributionChannel": "CENTRAL"} | ({} if request_id is None else {"issuerRequestId": request_id})
        [taken] = await self.stage.platform.orders.order(ISSUER_ID, [wanted_of(order, card_id)])
        if isinstance(taken, CardtrailError):
            raise taken
        return taken

    async def newest(self, card_id: str) -> Operation:
        """Return a card's newest operation, as the on-demand answer has it. Raises NotFound."""
        row = await self._find(ISSUER_ID, card_id)
        if row is None:
            raise NotFound(f"cardId: no order of {card_id[:48]!r}")
        return operation_of(bytes(row[0]))

    # ── receivers ──

    async def notify(self, url: str) -> str:
        """Have the issuer notified at `url` from now on; return what the receiver verifies with. Raises InputError."""
        if len(self._inlets) >= MAX_ENDPOINTS:
            raise InputError("url", f"at most {MAX_ENDPOINTS} receivers", "FIELD_INVALID_VALUE")
        stage = self.stage
        inlet = Inlet(
            url, f"receiver-{len(self._inlets) + 1}", endpoints=stage.platform.endpoints, faults=stage.faults,
            recorder=self.recorder,
        )  # fmt: skip
        self._inlets.append(inlet)
        return await inlet.open()

    async def secrets(self, url: str) -> list[str]:
        """Return what a receiver verifies with by now, the newest first. Raises NotFound for one without an inlet."""
        inlet = next((each for each in self._inlets if each.url == url), None)
        if inlet is None:
            raise NotFound(f"url: nothing is sent to {url[:200]!r}")
        return [receivers_secret_of(secret) for secret in await inlet.signing()]

    async def settle(self, seconds: float) -> None:
        """Wait until nothing is to be delivered any more. Raises TimeoutError saying what is."""
        try:
            async with asyncio.timeout(seconds):
                while await self._pending() or self._held:  # noqa: ASYNC110 -- only the store knows, and it tells nobody
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise TimeoutError(await self._told(seconds)) from None

    async def _pending(self) -> list[Entry]:
        wanted = Selection(state=NotificationState.PENDING)
        return await self._ledger.entries(ISSUER_ID, wanted, most=MAX_LISTED)

    @property
    def _held(self) -> int:
        return sum(inlet.held for inlet in self._inlets)

    async def _told(self, seconds: float) -> str:
        """Return what waits, for people, and how the last attempt to deliver it ended."""
        pending = await self._pending()
        told = f"settle: after {seconds:g} s {len(pending)} notifications wait, and the wire holds {self._held}"
        if not pending:
            return told
        _, attempts, _ = await self._ledger.find(ISSUER_ID, pending[0].notification_id)
        if not attempts:
            return f"{told}; none was attempted yet"
        last = attempts[-1]
        how = last.failure if last.http_status is None else f"HTTP {last.http_status}"
        return f"{told}; the last attempt for card {pending[0].card_id} ended with {how} {last.answer[:200]}".rstrip()

    async def close(self) -> None:
        """Switch all faults off, and end what leads to the receivers."""
        self.stage.faults.clear()
        await asyncio.gather(*(inlet.close() for inlet in self._inlets))


@asynccontextmanager
async def scene_in(folder: Path, script: Script) -> AsyncIterator[Scene]:
    """Give a scene for as long as the block lasts, with its store in `folder`; what breaks it is raised."""
    with lines_to_logging(), closing(listen(0)) as listening, closing(Recorder(folder)) as recorder:
        settings = settings_of(Folder(folder), listening.getsockname()[1])
        stage = Stage(settings, script, recorder, alone=False)
        async with stage.open(listening) as cast, asyncio.TaskGroup() as group:
            works = [group.create_task(cast.player.run()), group.create_task(_lasting(cast.serving))]
            scene = Scene(stage, cast, recorder)
            try:
                yield scene
            finally:
                for work in works:
                    work.cancel()
                await scene.close()


async def _lasting(serving: asyncio.Task[None]) -> None:
    """Raise RuntimeError once the platform serves no longer."""
    await asyncio.wait({serving})
    raise RuntimeError("the platform has stopped by itself")


@contextmanager
def lines_to_logging() -> Iterator[None]:
    """Send structlog's lines to the standard library's logging, and not to standard output.

    A program that has configured structlog itself, before or meanwhile, keeps what it has.
    """
    if structlog.is_configured():
        yield
        return
    factory = structlog.stdlib.LoggerFactory()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level, structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger, logger_factory=factory,
    )  # fmt: skip
    try:
        yield
    finally:
        if structlog.get_config()["logger_factory"] is factory:
            structlog.reset_defaults()
