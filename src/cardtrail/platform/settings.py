"""Settings: from the command line, the environment (`CARDTRAIL_…`) or the default, frozen once read."""

import ast
import inspect
import os
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import msgspec

from cardtrail.errors import SettingError

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
    log_level: str = "info"
    """debug, info, warning or error."""
    drain_seconds: int = 20
    """How long a stopping service finishes what it has begun."""


class Described(NamedTuple):
    """A setting as documentation and help show it."""

    name: str
    default: str | int
    text: str


def described() -> list[Described]:
    """Return every setting with its default and the sentence that stands under it in this file."""
    [body] = [node.body for node in ast.parse(inspect.getsource(Settings)).body if isinstance(node, ast.ClassDef)]
    texts = {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }  # fmt: skip
    defaults = Settings()
    return [Described(name, getattr(defaults, name), texts[name]) for name in Settings.__struct_fields__]


def settings_of(given: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: given values win over the environment, that over defaults. Raises SettingError."""
    environment = os.environ if environment is None else environment
    told = {
        name: environment[PREFIX + name.upper()]
        for name in Settings.__struct_fields__
        if PREFIX + name.upper() in environment
    }
    told.update({name: value for name, value in given.items() if value is not None})  # type: ignore[misc]  # mixed on purpose: convert checks
    try:
        return msgspec.convert(told, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(str(error)) from None
