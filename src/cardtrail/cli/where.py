"""What commands of a local operator have in common: on which store, in whose name, and how the answer is printed."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from cyclopts import Parameter

from cardtrail.db import Database
from cardtrail.issuer.settings import Settings as KitSettings
from cardtrail.issuer.store import open_store as open_mirror
from cardtrail.pages.door.change import Change
from cardtrail.pages.door.trail import Trail
from cardtrail.platform.audit import Recorded
from cardtrail.platform.settings import Settings
from cardtrail.platform.store import open_store

T = TypeVar("T")
ACTOR = "CARDTRAIL_ACTOR"
"""The variable that says who calls, for the audit."""


def operator() -> str:
    """Return who calls, for the audit."""
    try:
        return f"operator:{getpass.getuser()}"
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        return "operator:unknown"


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Options of every command that has them."""

    database: Annotated[str, Parameter(env_var="CARDTRAIL_DATABASE")] = Settings().database
    """Where the truth is kept: sqlite:///path, or postgresql://user@host/name."""
    actor: Annotated[str, Parameter(env_var=ACTOR)] = field(default_factory=operator)
    """Who does it, for the audit."""
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False
    """Print JSON instead of a table."""

    def open(self) -> Database:
        """Open the store. Raises SettingError, StoreUnavailable or SchemaMismatch."""
        return open_store(self.database)

    def audited(self, db: Database) -> Change:
        """Return how something of the store is changed for good."""
        return Recorded(db)


@Parameter(name="*")
@dataclass(frozen=True)
class OnMirror(Where):
    """The same options where the store is an issuer's mirror."""

    database: Annotated[str, Parameter(name="--mirror", env_var="CARDTRAIL_KIT_MIRROR")] = KitSettings().mirror
    """Where the mirror is kept: sqlite:///path, or postgresql://user@host/name."""

    def open(self) -> Database:
        """Open the mirror. Raises as for a store."""
        return open_mirror(self.database)

    def audited(self, db: Database) -> Change:
        """Return how something of the mirror is changed for good."""
        return Trail(db)


@Parameter(name="*")
@dataclass(frozen=True)
class Keyed(Where):
    """Options of commands that open secrets, or call endpoints."""

    secret_key_file: Annotated[str, Parameter(env_var="CARDTRAIL_SECRET_KEY_FILE")] = ""
    """File with the key that encrypts secrets at rest, as the service has it."""
    egress_http: Annotated[bool, Parameter(env_var="CARDTRAIL_EGRESS_HTTP", negative=())] = False
    """Endpoints without TLS are allowed; only for trying out."""


HERE = Where()
ON_MIRROR = OnMirror()
KEYED = Keyed()


def with_store(where: Where, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do some work on the store, and close it."""

    async def run(db: Database) -> T:
        return await work(db)

    db = where.open()
    try:
        return asyncio.run(run(db))
    finally:
        db.close()
