"""`cardtrail serve`: run the platform until it is told to stop."""

import sys
from typing import Any

from cardtrail.cli.options import signature_of
from cardtrail.errors import StoreUnavailable
from cardtrail.logs import configure
from cardtrail.platform.app import Platform, server_of
from cardtrail.platform.settings import WATCHED, described, settings_of


def serve(**given: Any) -> None:
    """Serve the platform: orders and events in, the true state out.

    Every option can also come from the environment. SIGTERM finishes what was begun.
    """
    settings = settings_of(given)
    configure(settings.log_level)
    try:
        server = server_of(Platform(settings))
    except StoreUnavailable as error:
        sys.exit(f"cardtrail: {error}")
    scheme = "https" if settings.tls_cert else "http"
    print(f"cardtrail listens on {scheme}://{settings.host}:{settings.port}/banking/v1", file=sys.stderr)  # noqa: T201 -- for a person
    server.run()
    if not server.started:
        sys.exit(3)


serve.__signature__ = signature_of(  # type: ignore[attr-defined]  # read by inspect.signature
    each for each in described() if each.name not in WATCHED
)
