"""Settings of the issuer kit's commands: from the command line, the environment (`CARDTRAIL_KIT_…`) or the default."""

from collections.abc import Mapping

import msgspec

from cardtrail import settings
from cardtrail.settings import Described

PREFIX = "CARDTRAIL_KIT_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the kit's commands can be told; docs/settings.md lists them all."""

    mirror: str = "sqlite:///mirror.db"
    """Where the mirror is kept: sqlite:///path, or postgresql://user@host/name."""
    issuer_id: str = ""
    """The issuer whose cards these are, 10 characters."""
    server: str = ""
    """Base URL of the platform, up to the word before /issuers."""
    key_file: str = ""
    """The issuer's private key for the platform's token endpoint, PEM or JWK."""
    kid: str = ""
    """Name of that key at the platform."""
    party_id: str = ""
    """Who calls where it is not the issuer: the aggregator's id."""
    token_url: str = ""
    """Where tokens are given; empty: on the host of the server."""
    allow_http: bool = False
    """Speak without TLS to others than this machine; only for trying out."""
    client_cert: str = ""
    """Client certificate and private key for the platform, one PEM file."""
    ca_file: str = ""
    """Authorities to trust besides the usual ones, PEM."""
    proxy: str = ""
    """Proxy for calls to the platform, as http://host:port."""
    concurrency: int = 32
    """Most calls to the platform at once."""
    calls_per_second: float = 20.0
    """Most calls a second that reconciling may make."""
    calls_per_day: int = 200_000
    """Most calls a day that reconciling may make."""
    pull_seconds: int = 30
    """Shortest time between two pulls of the feed of changes, where there is one; ten times as long without news."""
    host: str = "127.0.0.1"
    """Address on which the receiver listens."""
    port: int = 8090
    """Port on which the receiver listens."""
    secrets_file: str = ""
    """File with the secrets that notifications are signed with (whsec_ or whpk_), one a line."""
    client_id: str = ""
    """Who may ask the receiver's own token endpoint for tokens; notifications must then bear one."""
    client_secret_file: str = ""
    """File with that client's secrets, one a line."""
    certificates: str = ""
    """SHA-256 thumbprints of client certificates that a trusted proxy must name, separated by commas."""
    trusted_proxies: str = ""
    """Addresses of those proxies, separated by commas."""
    pages: bool = False
    """Show pages of the mirror under /ui/, to whoever has an account (cardtrail issuer account)."""
    secret_key_file: str = ""
    """File with the key that seals what the log-in gives to browsers; beside a mirror on SQLite one is made."""
    public_url: str = ""
    """Where browsers reach the pages, as https://cards.bank.example; needed with oidc_issuer only."""
    oidc_issuer: str = ""
    """Issuer URL of a provider of OpenID Connect by which people may log in to them; empty: by password only."""
    oidc_client_id: str = ""
    """What the provider calls this service."""
    oidc_client_secret_file: str = ""
    """File with the secret that the provider has given to this service."""
    oidc_ca: str = ""
    """Authorities to trust besides the usual ones when the provider is called, PEM."""
    oidc_name: str = "single sign-on"
    """What people call the provider: the log-in says "Log in with" it."""
    hook: str = ""
    """The issuer's own code that is told of every change of the mirror, as package.module:function."""
    silence_hours: float = 0.0
    """Alarm when nothing was heard for so long; 0: longer than usual, as learned."""
    keep_days: int = 400
    """How long the log of changes is kept, once hooks were told of it; 0 keeps for ever."""
    examinable: bool = False
    """Say what the mirror has of cards that begin with exam-, as cardtrail examine asks; only for trying out."""
    traces: bool = False
    """Send traces by OTLP over HTTP, as the standard variables OTEL_… say; needs the extra otel."""
    log_level: str = "info"
    """debug, info, warning or error."""


def described() -> list[Described]:
    """Return every setting with its default and its meaning."""
    return settings.described(Settings, PREFIX)


def settings_of(given: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: given values win over the environment, that over defaults. Raises SettingError."""
    return settings.read(Settings, PREFIX, given, environment)
