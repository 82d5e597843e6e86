"""`cardtrail deliver`: send notifications in a process of its own, beside any number of others."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from cardtrail.cli.options import signature_of
from cardtrail.files.box import box_of
from cardtrail.logs import configure
from cardtrail.platform.app import SERVICE, deliverer_of, tune
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.metrics import DelivererMetrics
from cardtrail.platform.settings import WATCHED, Settings, described, settings_of
from cardtrail.platform.store import open_store
from cardtrail.platform.watch import Watching
from cardtrail.server import listening
from cardtrail.traces import tracer_of

NEEDED = WATCHED | {
    "database", "secret_key_file", "delivery_timeout", "delivery_steps", "egress_allow", "egress_http", "traces",
    "log_level",
}  # fmt: skip
"""The settings that deliver."""
RUNNING = "cardtrail delivers notifications"
"""What is printed once it looks for work."""


def deliver(**given: Any) -> None:
    """Send notifications, and nothing else; any number of processes share the work.

    Every option can also come from the environment. SIGTERM or Ctrl-C finishes the calls that are under way. With
    --watch-port it answers /metrics, /healthz and /readyz.
    """
    settings = settings_of(given)
    configure(settings.log_level)
    uvloop.run(_deliver(settings))


async def _deliver(settings: Settings) -> None:
    tracer = tracer_of(SERVICE, wanted=settings.traces)
    db = open_store(settings.database)
    try:
        endpoints = Endpoints(db, box_of(settings.secret_key_file, settings.database), wall_clock)
        metrics = DelivererMetrics()
        deliverer = deliverer_of(settings, db, endpoints, metrics, tracer)
        async with _watched(settings, Watching(db, deliverer, metrics)):
            tune()
            asked = asyncio.create_task(_asked_to_end().wait())
            running = asyncio.create_task(deliverer.run())
            print(RUNNING, file=sys.stderr, flush=True)  # noqa: T201 -- for a person
            await asyncio.wait((asked, running), return_when=asyncio.FIRST_COMPLETED)
            deliverer.end()
            await running  # one that broke ends the process: whoever watches that begins it anew
            await deliverer.stop()
    finally:
        db.close()
        if tracer is not None:
            tracer.close()


@asynccontextmanager
async def _watched(settings: Settings, watching: Watching) -> AsyncIterator[None]:
    """Answer those who watch for as long as the block lasts, where a port is set. Raises SettingError."""
    if not settings.watch_port:
        yield
        return
    server = watching.server()
    with listening(settings.watch_host, settings.watch_port, "watch_port") as place:
        answering = asyncio.create_task(server.serve([place]))
        try:
            yield
        finally:
            server.should_exit = True
            await answering


def _asked_to_end() -> asyncio.Event:
    """Return what a signal sets; a second signal is not waited for, it ends the process at once."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def ask() -> None:
        for each in signals:
            loop.remove_signal_handler(each)
        asked.set()

    for each in signals:
        loop.add_signal_handler(each, ask)
    return asked


deliver.__signature__ = signature_of(described(), NEEDED)  # type: ignore[attr-defined]  # read by inspect.signature
