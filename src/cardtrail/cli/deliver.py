"""`cardtrail deliver`: send notifications in a process of its own, beside any number of others."""

import asyncio
import signal
import sys
from typing import Any

import uvloop

from cardtrail.cli.options import signature_of
from cardtrail.logs import configure
from cardtrail.platform.app import SERVICE, deliverer_of, tune
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.box import box_of
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.settings import Settings, described, settings_of
from cardtrail.platform.store import open_store
from cardtrail.traces import tracer_of

NEEDED = frozenset({
    "database", "secret_key_file", "delivery_timeout", "delivery_steps", "egress_allow", "egress_http", "traces",
    "log_level",
})  # fmt: skip
"""The settings that deliver."""
RUNNING = "cardtrail delivers notifications"
"""What is printed once it looks for work."""


def deliver(**given: Any) -> None:
    """Send notifications, and nothing else; any number of processes share the work.

    Every option can also come from the environment. SIGTERM or Ctrl-C finishes the calls that are under way.
    """
    settings = settings_of(given)
    configure(settings.log_level)
    uvloop.run(_deliver(settings))


async def _deliver(settings: Settings) -> None:
    tracer = tracer_of(SERVICE, wanted=settings.traces)
    db = open_store(settings.database)
    try:
        endpoints = Endpoints(db, box_of(settings.secret_key_file, settings.database), wall_clock)
        deliverer = deliverer_of(settings, db, endpoints, lambda _answer, _carried: None, tracer)
        tune()
        asked = _asked_to_end()
        running = asyncio.create_task(deliverer.run())
        print(RUNNING, file=sys.stderr, flush=True)  # noqa: T201 -- for a person
        await asked.wait()
        deliverer.end()
        await running
        await deliverer.stop()
    finally:
        db.close()
        if tracer is not None:
            tracer.close()


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
