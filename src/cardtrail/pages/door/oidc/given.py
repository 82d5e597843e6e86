"""The provider of OpenID Connect that the settings of a service name."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from cardtrail.errors import SettingError
from cardtrail.pages.door.oidc.provider import Provider
from cardtrail.pages.door.oidc.registration import registration_of

MAX_FILE = 65_536
"""Longest file of a secret or of authorities, bytes."""


class Given(Protocol):
    """The settings that name a provider, as those of the platform and of the issuer kit tell."""

    @property
    def public_url(self) -> str:
        """Where browsers reach the pages."""
        ...

    @property
    def oidc_issuer(self) -> str:
        """Issuer URL of the provider, empty where there is none."""
        ...

    @property
    def oidc_client_id(self) -> str:
        """What the provider calls the service."""
        ...

    @property
    def oidc_client_secret_file(self) -> str:
        """File with the service's secret."""
        ...

    @property
    def oidc_ca(self) -> str:
        """File with authorities to trust besides the usual ones."""
        ...

    @property
    def oidc_name(self) -> str:
        """What people call the provider."""
        ...


def provider_of(settings: Given, clock: Callable[[], int], command: str = "cardtrail account") -> Provider | None:
    """Return the provider of the settings, not yet asked, None where there is none; `clock` gives µs.

    `command` is how accounts of the service are added.

    Raises SettingError naming what is missing or wrong.
    """
    if not settings.oidc_issuer:
        return None
    for name in ("public_url", "oidc_client_id", "oidc_client_secret_file"):
        if not getattr(settings, name):
            raise SettingError(f"{name}: needed with oidc_issuer")
    secret = _read(settings.oidc_client_secret_file, "oidc_client_secret_file").decode("ascii", "replace").strip()
    registration = registration_of(
        issuer=settings.oidc_issuer, client_id=settings.oidc_client_id, client_secret=secret,
        public_url=settings.public_url, name=settings.oidc_name,
        ca_pem=_read(settings.oidc_ca, "oidc_ca") if settings.oidc_ca else b"",
    )  # fmt: skip
    return Provider(msgspec.structs.replace(registration, command=command), clock)


def _read(path: str, setting: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            found = file.read(MAX_FILE + 1)
    except OSError as error:
        raise SettingError(f"{setting}: {path}: {error.strerror}") from None
    if len(found) > MAX_FILE:
        raise SettingError(f"{setting}: {path} has more than {MAX_FILE} bytes")
    return found
