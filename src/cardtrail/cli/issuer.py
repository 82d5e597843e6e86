"""`cardtrail issuer`: receiver and reconciler in one process, and whether they are well."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
from cyclopts import App

from cardtrail.cli.config import issuer_config
from cardtrail.cli.kit import MIRROR, Flag, check_issuer, client_of, limits_of, lines_of, mirrored
from cardtrail.cli.metering import Metering
from cardtrail.cli.options import signature_of
from cardtrail.cli.show import print_all, print_json, when
from cardtrail.errors import SettingError, StoreUnavailable
from cardtrail.files.box import box_of
from cardtrail.issuer.asgi import Asgi, Scope, asgi_app, is_cards
from cardtrail.issuer.ask import asking
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.examination import examinable
from cardtrail.issuer.health import Health, read
from cardtrail.issuer.hooks import Callback, Hook
from cardtrail.issuer.keep import Keeper, Pace
from cardtrail.issuer.mirror import AsyncMirror, wall_clock
from cardtrail.issuer.receive import AsyncReceiver
from cardtrail.issuer.settings import Settings, described, settings_of
from cardtrail.issuer.silence import HOUR
from cardtrail.issuer.trust import Trust
from cardtrail.issuer.way import correlation_of, headers_of
from cardtrail.logs import configure
from cardtrail.server import Server, listening
from cardtrail.traces import Attributes, Tracer, tracer_of
from cardtrail.traces.serve import traced

if TYPE_CHECKING:
    from cardtrail.issuer.ui.front import Front

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection of a sender stays open."""
MAX_CONNECTIONS = 1_024
"""Most connections of senders; more are answered 503, and the sender tries again."""
STOP_SECONDS = 10
"""How long calls that are under way may take once the service stops."""

SERVICE = "cardtrail-issuer"
"""What the service is called in traces."""
CARDS = "/notifications/d1/v2/issuers/{issuerId}/cards"
"""Where it listens, as traces name it."""

WATCH_SECONDS = 60.0
"""Pause between two looks whether it is silent."""

_log = logging.getLogger("cardtrail.issuer")

issuer_app = App(name="issuer", help="The issuer's side: receive notifications and keep the mirror right.")


@issuer_app.command
def serve(**given: Any) -> None:
    """Receive notifications and keep the mirror right, until told to stop.

    Without a server to ask it only receives. Every option can also come from the environment.
    """
    settings = settings_of(given)
    check_issuer(settings)
    configure(settings.log_level)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with AsyncMirror.open(settings.mirror) as mirror, AsyncExitStack() as stack:
        metering = Metering(mirror, settings.issuer_id, _limit_of(settings), time.monotonic)
        client = client_of(settings) if settings.server else None
        if client is not None:
            stack.push_async_callback(client.close)
        tracer = tracer_of(SERVICE, wanted=settings.traces)
        app = metering.before(_receiving(settings, mirror, tracer))
        front = _front_of(settings, mirror, client) if settings.pages else None
        if front is not None:
            stack.push_async_callback(front.close)
            app = front.before(app)
        server = Server(uvicorn.Config(
            app, host=settings.host, port=settings.port, loop="uvloop", lifespan="off", ws="none",
            log_config=None, access_log=False, server_header=False, date_header=False, proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=STOP_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
        ), front.release if front is not None else lambda: None)  # fmt: skip
        place = stack.enter_context(listening(settings.host, settings.port))
        async with _background(settings, mirror, metering, client, front):
            where = f"http://{settings.host}:{place.getsockname()[1]}"
            _say(f"cardtrail receives for {settings.issuer_id} on {where}")
            if front is not None:
                _say(f"its pages are at {where}/ui/; let somebody in with: cardtrail issuer account add NAME")
            await server.serve([place])
        if tracer is not None:
            await asyncio.to_thread(tracer.close)
        if not server.started:
            sys.exit(3)


def _receiving(settings: Settings, mirror: AsyncMirror, tracer: Tracer | None) -> Asgi:
    receiver = AsyncReceiver(
        mirror, {settings.issuer_id: trust_of(settings)}, trusted_proxies=_proxies_of(settings)
    )  # fmt: skip
    app = asgi_app(receiver)
    if tracer is not None:
        app = traced(app, tracer, _told_of)
    return examinable(app, mirror, settings.issuer_id) if settings.examinable else app


def _front_of(settings: Settings, mirror: AsyncMirror, client: AsyncClient | None) -> "Front":
    from cardtrail.issuer.ui.front import Front  # noqa: PLC0415 -- only where there are pages
    from cardtrail.pages.door.host import is_loopback  # noqa: PLC0415 -- as above
    from cardtrail.pages.door.oidc.given import provider_of  # noqa: PLC0415 -- as above

    return Front(
        mirror, settings.issuer_id, box_of(settings.secret_key_file, settings.mirror),
        plain=is_loopback(settings.host) and not settings.trusted_proxies, limit=_limit_of(settings),
        ask=None if client is None else asking(settings.issuer_id, client, mirror), proxies=_proxies_of(settings),
        provider=provider_of(settings, wall_clock, "cardtrail issuer account"),
    )  # fmt: skip


def _proxies_of(settings: Settings) -> list[str]:
    return [each.strip() for each in settings.trusted_proxies.split(",") if each.strip()]


def _limit_of(settings: Settings) -> int:
    """Return the limit of the silence alarm, µs."""
    return round(settings.silence_hours * HOUR)


def _told_of(scope: Scope) -> tuple[str, Attributes]:
    """Return the route of a call to the receiver, and what else its span tells."""
    route = CARDS if is_cards(scope["path"]) else ""
    correlation_id = correlation_of(headers_of(scope["headers"]))
    return route, {"cardtrail.correlation_id": correlation_id} if correlation_id != "-" else {}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@asynccontextmanager
async def _background(
    settings: Settings, mirror: AsyncMirror, metering: Metering, client: AsyncClient | None, front: "Front | None"
) -> AsyncIterator[None]:
    """Reconcile, tell the hook and listen for silence for as long as the block lasts."""
    tasks = [asyncio.create_task(_watch(settings.issuer_id, metering))]
    if front is not None:
        tasks.append(asyncio.create_task(front.run()))
    if client is not None:
        pace = Pace(limits=limits_of(settings), pull_seconds=settings.pull_seconds, keep_days=settings.keep_days)
        tasks.append(asyncio.create_task(Keeper(settings.issuer_id, client, mirror, pace, metering.asked).run()))
    if settings.hook:
        hook = Hook(mirror, settings.issuer_id, settings.hook, callback_of(settings.hook))
        tasks.append(asyncio.create_task(hook.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(issuer_id: str, metering: Metering) -> None:
    """Log when it becomes silent for longer than usual, and when something is heard again."""
    rang = False
    while True:
        with suppress(StoreUnavailable):
            silence = (await metering.look()).silence
            if silence.rings is not rang:
                rang = silence.rings
                state = f"silent for {silence.seconds / 3600:.1f} h: {silence.why}" if rang else "heard again"
                _log.log(logging.ERROR if rang else logging.WARNING, "%s: %s", issuer_id, state)
        await asyncio.sleep(WATCH_SECONDS)


@issuer_app.command(name="health")
def health_(*, json: Flag = False, silence_hours: float | None = None, **given: Any) -> None:
    """Say whether the mirror is well; exit code 1 if somebody should look: silence, hooks behind, cards not answered.

    Parameters
    ----------
    json
        Print JSON instead of text.
    silence_hours
        Alarm when nothing was heard for so long; by default when it is longer than usual.
    """
    settings = settings_of(given | {"silence_hours": silence_hours})

    async def work(mirror: AsyncMirror) -> Health:
        now, limit = mirror.clock(), _limit_of(settings)
        return await mirror.db.read(lambda tx: read(tx, settings.issuer_id, now, limit))

    found = mirrored(settings, work)
    troubles = found.troubles(wall_clock())
    if json:
        print_json({"troubles": troubles, "health": found})
    else:
        waiting = f"doubtful {found.doubtful:,}, last looks that wait {found.looks:,}"
        heard = f"last heard {when(found.silence.since) or 'never'}: {found.silence.why}"
        print_all(*(troubles or ["well"]), waiting, heard)
    if troubles:
        sys.exit(1)


def trust_of(settings: Settings) -> Trust:
    """Return what callers must prove. Raises SettingError where nothing is asked of them."""
    return Trust(
        secrets=lines_of(settings.secrets_file, "secrets_file") if settings.secrets_file else (),
        client_id=settings.client_id,
        client_secrets=(
            lines_of(settings.client_secret_file, "client_secret_file") if settings.client_secret_file else ()
        ),
        certificates=[each.strip() for each in settings.certificates.split(",") if each.strip()],
    )  # fmt: skip


def callback_of(place: str) -> Callback:
    """Return the function that `package.module:function` names. Raises SettingError."""
    module, _, name = place.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingError(f"hook: {place}: {error}") from None
    if not callable(found):
        raise SettingError(f"hook: {place} is no function")
    return found


issuer_app.command(issuer_config, name="config")
issuer_app.command(
    "cardtrail.cli.account:mirror_account_app",
    name="account",
    help="Accounts of people who look at the pages of the mirror.",
)
vars(serve)["__signature__"] = signature_of(described())  # read by inspect.signature
vars(health_)["__signature__"] = signature_of(described(), MIRROR, health_)
