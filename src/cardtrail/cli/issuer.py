"""`cardtrail issuer`: receiver and reconciler in one process, and whether they are well."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import uvicorn
import uvloop
from cyclopts import App

from cardtrail.cli.kit import check_issuer, client_of, limits_of, lines_of
from cardtrail.cli.options import signature_of
from cardtrail.errors import SettingError
from cardtrail.issuer.asgi import asgi_app
from cardtrail.issuer.hooks import Callback, Hook
from cardtrail.issuer.keep import Keeper, Pace
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.receive import AsyncReceiver
from cardtrail.issuer.settings import Settings, described, settings_of
from cardtrail.issuer.trust import Trust
from cardtrail.logs import configure

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection of a sender stays open."""
MAX_CONNECTIONS = 1_024
"""Most connections of senders; more are answered 503, and the sender tries again."""
STOP_SECONDS = 10
"""How long calls that are under way may take once the service stops."""

issuer_app = App(name="issuer", help="The issuer's side: receive notifications and keep the mirror right.")


@issuer_app.command
def serve(**given: Any) -> None:
    """Receive notifications and keep the mirror right, until told to stop.

    Without a server to ask it only receives. Every option can also come from the environment.
    """
    settings = settings_of(given)
    configure(settings.log_level)
    check_issuer(settings)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with AsyncMirror.open(settings.mirror) as mirror:
        receiver = AsyncReceiver(
            mirror, {settings.issuer_id: trust_of(settings)},
            trusted_proxies=[each.strip() for each in settings.trusted_proxies.split(",") if each.strip()],
        )  # fmt: skip
        server = uvicorn.Server(uvicorn.Config(
            asgi_app(receiver), host=settings.host, port=settings.port, loop="uvloop", lifespan="off", ws="none",
            log_config=None, access_log=False, server_header=False, date_header=False, proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=STOP_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
        ))  # fmt: skip
        async with _background(settings, mirror):
            sys.stderr.write(f"cardtrail receives for {settings.issuer_id} on http://{settings.host}:{settings.port}\n")
            sys.stderr.flush()
            await server.serve()
        if not server.started:
            sys.exit(3)


@asynccontextmanager
async def _background(settings: Settings, mirror: AsyncMirror) -> AsyncIterator[None]:
    """Reconcile and tell the hook for as long as the block lasts."""
    tasks = []
    client = client_of(settings) if settings.server else None
    if client is not None:
        pace = Pace(limits=limits_of(settings), pull_seconds=settings.pull_seconds, keep_days=settings.keep_days)
        tasks.append(asyncio.create_task(Keeper(settings.issuer_id, client, mirror, pace).run()))
    if settings.hook:
        hook = Hook(mirror, settings.issuer_id, settings.hook, callback_of(settings.hook))
        tasks.append(asyncio.create_task(hook.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if client is not None:
            await client.close()


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


serve.__signature__ = signature_of(described())  # type: ignore[attr-defined]  # read by inspect.signature
