"""Settings: from the command line, the environment (`CARDTRAIL_…`) or the default, frozen once read."""

from collections.abc import Mapping

import msgspec

from cardtrail import settings
from cardtrail.core.schedule import SECOND, STEPS
from cardtrail.errors import SettingError
from cardtrail.settings import Described

PREFIX = "CARDTRAIL_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a service can be told. Each member is `--name` and `CARDTRAIL_NAME`; docs/settings.md lists them all."""

    database: str = "sqlite:///cardtrail.db"
    """Where the truth is kept: sqlite:///path, or postgresql://user@host/name."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on."""
    audience: str = ""
    """What `aud` of an assertion must name where it is present; empty accepts the token URL's path."""
    secret_key_file: str = ""
    """File with the key that encrypts secrets at rest; beside a SQLite database it is made on its own."""
    connector: str = ""
    """Production connector, package.module:Class; empty acknowledges orders and writes nothing."""
    tls_cert: str = ""
    """Server certificate, PEM."""
    tls_key: str = ""
    """Key of the server certificate, PEM."""
    client_ca: str = ""
    """CA of the clients' certificates; with it a call without a valid certificate ends in the handshake."""
    trusted_proxies: str = ""
    """Addresses, separated by commas, of proxies whose client-certificate header is believed."""
    client_cert_header: str = "x-client-cert-sha256"
    """Header in which a trusted proxy names the client certificate's SHA-256, base64url."""
    waiting_days: int = 30
    """How long events wait for an order that does not come."""
    seal_days: int = 400
    """An order that ended and has not changed for so long loses its events and keeps its picture; 0 keeps all."""
    deliver: bool = True
    """Deliver notifications in this process too; any number of processes share the work."""
    delivery_timeout: int = 15
    """Longest call to an endpoint, seconds; a crashed process's endpoints are taken over after twice as long."""
    delivery_steps: str = ",".join(str(step // SECOND) for step in STEPS)
    """Waits before a notification is sent again, seconds; after the last try that fails it is dead."""
    egress_allow: str = ""
    """Networks that endpoints may be in although they are not public, as 10.0.0.0/8, separated by commas."""
    egress_http: bool = False
    """Endpoints without TLS are allowed; only for trying out."""
    settled_days: int = 30
    """How long delivered and superseded notifications stay, and all attempts; 0 keeps for ever."""
    undelivered_days: int = 400
    """How long refused, dead and withheld notifications stay; 0 keeps for ever."""
    holidays: str = ""
    """Countries, or their parts as DE-BY, whose public holidays are no business days for stuck cards, by commas."""
    public_url: str = ""
    """Where browsers reach the pages, as https://cards.bank.example; needed with oidc_issuer only."""
    oidc_issuer: str = ""
    """Issuer URL of a provider of OpenID Connect by which people may log in to the pages; empty: by password only."""
    oidc_client_id: str = ""
    """What the provider calls this service."""
    oidc_client_secret_file: str = ""
    """File with the secret that the provider has given to this service."""
    oidc_ca: str = ""
    """Authorities to trust besides the usual ones when the provider is called, PEM."""
    oidc_name: str = "single sign-on"
    """What people call the provider: the log-in says "Log in with" it."""
    traces: bool = False
    """Send traces by OTLP over HTTP, as the standard variables OTEL_… say; needs the extra otel."""
    log_level: str = "info"
    """debug, info, warning or error."""
    watch_host: str = "127.0.0.1"
    """Address on which `cardtrail deliver` answers `/metrics`, `/healthz` and `/readyz`."""
    watch_port: int = 0
    """Port for that, another one than a service's on the same machine; 0 answers nobody."""
    drain_seconds: int = 20
    """How long a stopping service finishes what it has begun."""


WATCHED = frozenset({"watch_host", "watch_port"})
"""The settings that only `cardtrail deliver` has a use for: a service is watched where it serves."""
MAX_STEPS = 100
"""Most waits of the delivery schedule."""
MAX_STEP = 86_400
"""Longest of them, seconds."""


def steps_of(text: str) -> tuple[int, ...]:
    """Return `delivery_steps` in µs. Raises SettingError."""
    parts = [part.strip() for part in text.split(",")]
    try:
        steps = tuple(round(float(part) * SECOND) for part in parts)
    except (ValueError, OverflowError):
        steps = ()
    if not 1 <= len(steps) <= MAX_STEPS or not all(0 < step <= MAX_STEP * SECOND for step in steps):
        raise SettingError(
            f"delivery_steps: 1 to {MAX_STEPS} waits in seconds, separated by commas, none over {MAX_STEP}"
        )
    return steps


def described() -> list[Described]:
    """Return every setting of the platform with its default and its meaning."""
    return settings.described(Settings, PREFIX)


def settings_of(given: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: given values win over the environment, that over defaults. Raises SettingError."""
    return settings.read(Settings, PREFIX, given, environment)
