"""Checks of the endpoints: how it goes there, and whether they can be reached. Nothing is sent."""

import asyncio
import ssl
import time
from collections.abc import Sequence

from cardtrail.db import Row
from cardtrail.errors import InputError
from cardtrail.platform.address import networks_of
from cardtrail.platform.doctor.finding import Case, Finding, ok, warn
from cardtrail.platform.endpoint import Config, EndpointState
from cardtrail.platform.health import MAX_LANES
from cardtrail.platform.outbox import config_of, made_at
from cardtrail.platform.resolve import Places, system_resolver
from cardtrail.platform.settings import Settings
from cardtrail.platform.target import DEFAULT_PORTS, target_of

MAX_REACHED = 100
"""Most endpoints that are connected to."""
AT_ONCE = 10
"""Most of them at the same time."""
REACH_SECONDS = 5.0
"""Longest wait for a name, and for a connection with its handshake."""
LONG_WAIT = 3_600_000_000
"""A notification that has waited for so long (µs) is told of."""
SHOWN = 5
"""Most endpoints that are named."""


async def sending(case: Case) -> Finding:
    """Tell which endpoints are disabled or failing, and what has waited for long."""
    rows = await case.db.read(lambda tx: tx.all("lane_health", most=MAX_LANES))
    disabled = sum(row[0] == EndpointState.DISABLED for row in rows)
    failing = sum(row[0] != EndpointState.DISABLED and row[1] is not None for row in rows)
    oldest = max((case.now - made_at(row[2]) for row in rows if row[2] is not None), default=0)
    text = f"{len(rows)} endpoints, {disabled} disabled, {failing} failing; the oldest waits {oldest // 1_000_000:,} s"
    if disabled or failing or oldest > LONG_WAIT:
        return warn("sending", text, "cardtrail endpoint list, then cardtrail endpoint test or enable")
    return ok("sending", text)


async def reach(case: Case) -> Finding:
    """Connect to the endpoints that are sent to, by the rules of delivery; nothing is sent."""
    rows = await case.db.read(lambda tx: tx.all("list_endpoints", issuer_id="", most=MAX_REACHED))
    settings, gate = case.settings, asyncio.Semaphore(AT_ONCE)
    places = Places(networks_of(settings.egress_allow), system_resolver, REACH_SECONDS, time.monotonic)

    async def one(row: Row) -> str:
        async with gate:
            why = await _reached(config_of(row[4]), settings, places)
        return f"{row[0]}/{row[1]}: {why}" if why else ""

    enabled = [row for row in rows if row[2] == EndpointState.ENABLED]
    failed = [text for text in await asyncio.gather(*map(one, enabled)) if text]
    await places.close()
    return _told(failed, len(enabled))


def _told(failed: Sequence[str], count: int) -> Finding:
    if not failed:
        return ok("reach", f"{count} endpoints can be connected to")
    text = "; ".join(failed[:SHOWN]) + (" …" if len(failed) > SHOWN else "")
    return warn("reach", f"{len(failed)} of {count}: {text}", "see to the name, the firewall, egress_allow or the peer")


async def _reached(config: Config, settings: Settings, places: Places) -> str:
    """Return why an endpoint cannot be connected to, "" where it can."""
    try:
        target = target_of(config.url, settings.egress_http)
    except InputError as error:
        return str(error)
    place = await places.find(target)
    if place.failure is not None:
        return place.text
    scheme = target.url.scheme
    port = target.url.port or int(DEFAULT_PORTS[scheme])
    try:
        async with asyncio.timeout(REACH_SECONDS):
            _, writer = await asyncio.open_connection(
                place.address, port, ssl=_any_certificate() if scheme == "https" else None,
                server_hostname=target.host if scheme == "https" else None,
            )  # fmt: skip
            writer.close()
    except TimeoutError:
        return f"no connection in {REACH_SECONDS:.0f} s"
    except (OSError, ssl.SSLError) as error:
        return str(error.strerror or error)
    return ""


def _any_certificate() -> ssl.SSLContext:
    """Return TLS that only looks whether somebody speaks it: whom to trust is an endpoint's own setting, and secret."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
