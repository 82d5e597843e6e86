"""Whether a process can take calls, and what that depends on: the answer of `/readyz`."""

import asyncio
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from cardtrail.db import Database
from cardtrail.errors import StoreUnavailable
from cardtrail.platform.auth import BELIEVED
from cardtrail.platform.deliver import Deliverer
from cardtrail.platform.store import migrations

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

PATIENCE = 5.0
"""Longest wait for the store, seconds."""
STILL = 60.0
"""A deliverer that has not looked for work for so long stands still, seconds: a look waits less for a slow store."""
OK, UNAVAILABLE = "ok", "unavailable"


class Readiness(msgspec.Struct, frozen=True, rename="camel"):
    """What a process depends on. `oldest_pending_seconds` is as of the last look, and never makes it not ready."""

    status: str
    store: str
    registry: str
    schema_version: int | None
    schema_expected: int
    registry_age_seconds: float | None
    oldest_pending_seconds: float | None


async def readiness(platform: "Platform") -> Readiness:
    """Look, and return what was found; raises nothing of what it looks for."""
    version, age = await _schema_version(platform.db), platform.registry.age
    store = _store(version)
    registry = OK if age <= BELIEVED else UNAVAILABLE
    return Readiness(
        status=OK if store == registry == OK else UNAVAILABLE,
        store=store,
        registry=registry,
        schema_version=version,
        schema_expected=_expected(),
        registry_age_seconds=round(age, 3) if isfinite(age) else None,
        oldest_pending_seconds=platform.health.oldest,
    )


class DelivererReadiness(msgspec.Struct, frozen=True, rename="camel"):
    """What a process depends on that only delivers."""

    status: str
    store: str
    deliverer: str
    schema_version: int | None
    schema_expected: int
    look_age_seconds: float


async def readiness_to_deliver(db: Database, deliverer: Deliverer) -> DelivererReadiness:
    """Look, and return what was found; raises nothing of what it looks for."""
    version, age = await _schema_version(db), deliverer.look_age
    store, delivers = _store(version), OK if age <= STILL else UNAVAILABLE
    return DelivererReadiness(
        status=OK if store == delivers == OK else UNAVAILABLE,
        store=store,
        deliverer=delivers,
        schema_version=version,
        schema_expected=_expected(),
        look_age_seconds=round(age, 3),
    )


def _store(version: int | None) -> str:
    # A newer release may have migrated the database: that only expands, and the release before keeps running.
    return OK if version is not None and version >= _expected() else UNAVAILABLE


async def _schema_version(db: Database) -> int | None:
    try:
        async with asyncio.timeout(PATIENCE):
            row = await db.read(lambda tx: tx.one("find_meta", name="schema_version"))
    except (StoreUnavailable, TimeoutError):
        return None
    return int(row[0]) if row else None


@cache
def _expected() -> int:
    """Return the version of the schema that this program brings a database to."""
    return 1 + len(migrations())
