"""`cardtrail serve`: run the platform until it is told to stop."""

import inspect
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from cardtrail.errors import StoreUnavailable
from cardtrail.platform.app import Platform, server_of
from cardtrail.platform.logs import configure
from cardtrail.platform.settings import PREFIX, described, settings_of


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


def _signature() -> inspect.Signature:
    """Return one option a setting, so that help, settings and documentation cannot differ."""
    options = [
        inspect.Parameter(
            setting.name, inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[
                type(setting.default) | None,
                Parameter(help=f"{setting.text} \\[{PREFIX}{setting.name.upper()}; default: {setting.default!r}]"),
            ],
        )
        for setting in described()
    ]  # fmt: skip
    return inspect.Signature(options, return_annotation=None)


serve.__signature__ = _signature()  # type: ignore[attr-defined]  # read by inspect.signature
