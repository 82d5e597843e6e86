"""What the issuer kit's commands have in common: their settings, and what is made of them."""

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import uvloop
from cyclopts import Parameter

from cardtrail.cli.given import text_of
from cardtrail.errors import InputError, SettingError
from cardtrail.issuer.budget import Limits
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.link import Options
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.settings import Settings
from cardtrail.protocol.codec import ISSUER_ID

T = TypeVar("T")
MIRROR = ("mirror", "issuer_id")
"""The settings of commands that only look into the mirror."""
ASKING = (
    *MIRROR, "server", "key_file", "kid", "party_id", "token_url", "allow_http", "client_cert", "ca_file", "proxy",
    "concurrency", "calls_per_second", "calls_per_day", "log_level",
)  # fmt: skip
"""The settings of commands that ask the platform, too."""
Flag = Annotated[bool, Parameter(negative=())]
"""What is asked for by naming it, and is off otherwise."""


def mirrored(settings: Settings, work: Callable[[AsyncMirror], Coroutine[Any, Any, T]], *, make: bool = False) -> T:
    """Do some work on the mirror, and close it. One that is not there is only made with `make`.

    Raises SettingError or StoreUnavailable.
    """
    check_issuer(settings)
    with_mirror = AsyncMirror.open(settings.mirror, make=make)
    try:
        return uvloop.run(work(with_mirror))
    finally:
        with_mirror.close()


def check_issuer(settings: Settings) -> None:
    """Raise SettingError unless an issuer is named."""
    if not ISSUER_ID.fullmatch(settings.issuer_id):
        raise SettingError(
            "issuer_id: 10 of A-Z, a-z, 0-9, - and _ expected; set --issuer-id or CARDTRAIL_KIT_ISSUER_ID"
        )


def client_of(settings: Settings) -> AsyncClient:
    """Return the client for the platform. Raises SettingError naming what is missing or wrong."""
    for name in ("server", "key_file", "kid"):
        if not getattr(settings, name):
            raise SettingError(f"{name}: needed to ask the platform; set --{name.replace('_', '-')}")
    options: Options = {"concurrency": settings.concurrency, "rate": settings.calls_per_second}
    if settings.party_id:
        options["party_id"] = settings.party_id
    if settings.token_url:
        options["token_url"] = settings.token_url
    if settings.client_cert:
        options["client_pem"] = _bytes_of(settings.client_cert, "client_cert")
    if settings.ca_file:
        options["ca_pem"] = _bytes_of(settings.ca_file, "ca_file")
    if settings.proxy:
        options["proxy"] = settings.proxy
    try:
        return AsyncClient(
            settings.server, settings.issuer_id, key=text_of(settings.key_file), kid=settings.kid,
            allow_http=settings.allow_http, **options,
        )  # fmt: skip
    except InputError as error:
        raise SettingError(str(error)) from None


def limits_of(settings: Settings) -> Limits:
    """Return how much may be asked. Raises SettingError."""
    try:
        return Limits(per_second=settings.calls_per_second, per_day=settings.calls_per_day)
    except ValueError as error:
        raise SettingError(f"calls_per_second, calls_per_day: {error}") from None


def lines_of(name: str, setting: str) -> Sequence[str]:
    """Return the lines of a file of secrets, one a line. Raises SettingError."""
    try:
        return tuple(line.strip() for line in text_of(name, setting, "secrets").splitlines() if line.strip())
    except InputError as error:
        raise SettingError(str(error)) from None


def _bytes_of(name: str, setting: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise SettingError(f"{setting}: {name}: {error.strerror}") from None
