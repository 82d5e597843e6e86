"""The wiring: settings in, a running service out. Nothing else knows how the parts are put together."""

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import uvicorn

from cardtrail.db import Database
from cardtrail.errors import CardtrailError, SettingError
from cardtrail.files.box import box_of
from cardtrail.pages.door.entrance import Entrance
from cardtrail.pages.door.host import is_loopback
from cardtrail.pages.door.oidc.given import provider_of
from cardtrail.platform import apidocs, http
from cardtrail.platform.address import networks_of
from cardtrail.platform.audit import Recorded
from cardtrail.platform.auth import Authenticator, Registry, wall_clock
from cardtrail.platform.connector import ProductionConnector, connector_of
from cardtrail.platform.counts import Counts
from cardtrail.platform.deliver import Deliverer, Options
from cardtrail.platform.egress import CONNECT_TIMEOUT, Egress
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.epoch import Home
from cardtrail.platform.feed import Feed
from cardtrail.platform.health import Clocks, Health
from cardtrail.platform.ingest import Ingest
from cardtrail.platform.ledger import Ledger
from cardtrail.platform.metrics import DelivererMetrics, Metrics
from cardtrail.platform.orders import Orders
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.placing import Placing
from cardtrail.platform.prune import Prune
from cardtrail.platform.replay import Replay
from cardtrail.platform.settings import Settings, steps_of
from cardtrail.platform.sightings import Sightings
from cardtrail.platform.signing import Signing
from cardtrail.platform.status import Asgi, Receive, Scope, Send, StatusRoute
from cardtrail.platform.store import open_store
from cardtrail.platform.sweep import Sweep
from cardtrail.platform.tls import uvicorn_options
from cardtrail.platform.tokens import Tokens
from cardtrail.platform.ui.pages import Pages
from cardtrail.server import Server
from cardtrail.traces import Tracer, tracer_of
from cardtrail.traces.serve import traced

SERVICE = "cardtrail"
"""What the service is called in traces."""
MAX_DELIVERY_TIMEOUT = 120
"""Longest call to an endpoint that can be set, seconds."""
SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter while another one waits."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open."""
MAX_CONNECTIONS = 4_096
"""Connections and requests under way at once; the next is answered 503."""
BACKLOG = 2_048

_log = structlog.get_logger()


class Platform:
    """The parts of one running service. `clock` gives domain time, µs; `connector` replaces the one of the settings.

    A service that is not `alone` in its process leaves the collector and the switching of threads as they are.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], int] = wall_clock, connector: ProductionConnector | None = None,
        *, alone: bool = True,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.db = open_store(settings.database)
        self.metrics = Metrics()
        self.tracer = tracer_of(SERVICE, wanted=settings.traces)
        box = box_of(settings.secret_key_file, settings.database)
        self.signing = Signing(self.db, box, wall_clock)
        self.registry = Registry(self.db, box, wall_clock)
        self.authenticator = Authenticator(self.registry)
        self.check = self.authenticator.check
        self.tokens = Tokens(self.db, self.authenticator, settings.audience)
        self.outbox = Outbox(wall_clock)
        self.ingest = Ingest(self.db, clock, self.registry.may_reach, self.outbox)
        self.orders = Orders(self.db, self.ingest, connector or connector_of(settings.connector))
        self.feed = Feed(self.db)
        self.home = Home(self.db, wall_clock)
        self.placing = Placing(self.db)
        self.counts = Counts(self.db, clock)
        self.sweep = Sweep(self.db, clock, settings.waiting_days, settings.seal_days)
        self.prune = Prune(self.db, wall_clock, settings.settled_days, settings.undelivered_days)
        self.openapi = apidocs.document()
        self.docs = apidocs.page_of(self.openapi)
        self.endpoints = Endpoints(self.db, box, wall_clock)
        self.egress = egress_of(settings)
        self.ledger = Ledger(self.db)
        self.replay = Replay(self.db, wall_clock, settings.settled_days)
        self.deliverer = deliverer_of(settings, self.db, self.endpoints, self.metrics, self.tracer)
        self.ingest.on_commit = self.deliverer.wake
        self.ingest.tracer = self.tracer
        self.sightings = Sightings(self.db)
        self.ingest.on_read = self.sightings.note
        self.health = Health(self.db, self.metrics, Clocks(wall_clock, clock, time.monotonic), self.prune.keeps)
        self.entrance = Entrance(
            self.db, Recorded(self.db), box, wall_clock, plain=is_plain(settings),
            provider=provider_of(settings, wall_clock),
        )  # fmt: skip
        self.pages = Pages(self)
        self._show()
        self._is_alone = alone
        self._loops: list[asyncio.Task[None]] = []
        self._delivering: asyncio.Task[None] | None = None

    def _show(self) -> None:
        """Show in the metrics what the parts know themselves."""
        self.metrics.runs_on(self.db.engine)
        self.metrics.read("cardtrail_registry_age_seconds", lambda: self.registry.age)
        self.metrics.read("cardtrail_events_in_hand", lambda: self.ingest.in_hand)
        if self.settings.deliver:
            self.metrics.read("cardtrail_delivery_look_age_seconds", lambda: self.deliverer.look_age)

    async def start(self) -> None:
        """Load what every request needs, then begin the background loops. Raises StoreUnavailable."""
        await self.signing.run_once()
        await self.registry.run_once()
        if self._is_alone:
            tune()
        self._loops = [
            asyncio.create_task(_run(work, pause, self.metrics.failed))
            for work, pause in (
                (self.registry.run_once, 1.0), (self.ingest.run_once, 1.0), (self.home.run_once, 5.0),
                (self.health.run_once, 5.0), (self.sweep.run_once, 60.0), (self.prune.run_once, 60.0),
                (self.signing.run_once, 60.0), (self.tokens.run_once, 60.0),
                (self.placing.run_once, 60.0), (self.counts.run_once, 600.0),
                (self.sightings.run_once, 2.0), (self.entrance.sessions.run_once, 60.0),
            )
        ]  # fmt: skip
        if self.settings.deliver:
            self._delivering = asyncio.create_task(self.deliverer.run())

    async def stop(self) -> None:
        """Finish what was accepted for recording and what is being sent, then close."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._delivering is not None:  # not cut off: it may be leasing lanes
            self.deliverer.end()
            await self._delivering
        await self.deliverer.stop()
        await self.egress.close()
        await self.entrance.close()
        await self.feed.stop()
        await self.ingest.drain()
        self.db.close()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)

    def release(self) -> None:
        """End all waiting of readers, so that the service can stop."""
        self.feed.release()
        self.pages.streams.release()


def is_plain(settings: Settings) -> bool:
    """Tell whether the service is tried out: on a loopback address, without TLS and without a proxy in front."""
    return is_loopback(settings.host) and not settings.tls_cert and not settings.trusted_proxies


def egress_of(settings: Settings) -> Egress:
    """Return the way out that the settings describe. Raises SettingError."""
    if not 1 <= settings.delivery_timeout <= MAX_DELIVERY_TIMEOUT:
        raise SettingError(f"delivery_timeout: 1 to {MAX_DELIVERY_TIMEOUT} seconds expected")
    return Egress(
        allow=networks_of(settings.egress_allow), allow_http=settings.egress_http, timeout=settings.delivery_timeout,
        connect_timeout=min(CONNECT_TIMEOUT, settings.delivery_timeout),
    )  # fmt: skip


def deliverer_of(
    settings: Settings, db: Database, endpoints: Endpoints, metrics: DelivererMetrics, tracer: Tracer | None = None
) -> Deliverer:
    """Return the deliverer of the settings, not yet running, which `metrics` count. Raises SettingError."""
    options = Options(
        timeout=settings.delivery_timeout, steps=steps_of(settings.delivery_steps), note=metrics.attempted,
        failed=metrics.failed, tracer=tracer,
    )  # fmt: skip
    return Deliverer(db, egress_of(settings), endpoints, options)


def tune() -> None:
    """Keep the collector and the writing thread from stalling answers.

    What was loaded at the start lives for ever: no collection needs to walk it. And a thread that waits for the
    interpreter asks for it sooner than after the default 5 ms, or each of the writer's many short calls into SQLite
    would cost it that long while the event loop is busy.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


async def _run(run_once: Callable[[], Awaitable[int]], pause: float, failed: Callable[[str], None]) -> None:
    """Call `run_once` for ever: at once while there is work, else after a pause. A lost store is told, not fatal."""
    work = run_once.__qualname__.partition(".")[0]
    while True:
        done = 0
        try:
            done = await run_once()
        except CardtrailError as error:
            failed(work)
            _log.error("background", work=work, error=str(error))
        except Exception:  # noqa: BLE001 -- a loop that ended unseen would be worse than one that goes on
            failed(work)
            _log.exception("background", work=work)
        await asyncio.sleep(0 if done else pause)


def build(platform: Platform) -> Asgi:
    """Return the ASGI application: life span, then the hot route, then the router."""
    behind = http.router(platform)
    status = StatusRoute(behind, platform.db, platform.check, _log.info)
    platform.metrics.watch(status)
    front = status if platform.tracer is None else traced(status, platform.tracer, http.told_of)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(platform, receive, send)
        else:
            await front(scope, receive, send)

    return app


async def _lifespan(platform: Platform, receive: Receive, send: Send) -> None:
    await receive()
    try:
        await platform.start()
    except CardtrailError as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await platform.stop()
    await send({"type": "lifespan.shutdown.complete"})


def server_of(platform: Platform, app: Asgi | None = None, **options: Any) -> Server:
    """Return the server, not yet running. On SIGTERM it stops accepting and finishes what it has begun.

    `app` is served in place of the platform's own, which it stands in front of; `options` are uvicorn's.
    """
    settings = platform.settings
    config = uvicorn.Config(
        app or build(platform), host=settings.host, port=settings.port, loop="uvloop", lifespan="on", ws="none",
        log_config=None, access_log=False, server_header=False, date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=settings.drain_seconds,
        limit_concurrency=MAX_CONNECTIONS, backlog=BACKLOG,
        **uvicorn_options(settings) | options,
    )  # fmt: skip
    return Server(config, platform.release)
