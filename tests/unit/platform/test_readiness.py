"""A process is ready when the store and the registry are; what waits for endpoints is told and changes nothing."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.platform import readiness as module
from cardtrail.platform.app import Platform
from cardtrail.platform.readiness import Readiness, readiness
from cardtrail.platform.settings import Settings
from cardtrail.platform.store import migrations

EXPECTED = 1 + len(migrations())


def found_of(tmp_path: Path, *, closed: bool = False, waited: float = 0.0, oldest: float | None = None) -> Readiness:
    """What is found `waited` seconds after the registry was read, of a store that may be `closed`."""

    async def look() -> Readiness:
        platform = Platform(Settings(database=f"sqlite:///{tmp_path}/cardtrail.db", deliver=False))
        try:
            await platform.registry.run_once()
            platform.registry.believed_until -= waited
            platform.health.oldest = oldest
            if closed:
                platform.db.close()
            return await readiness(platform)
        finally:
            platform.db.close()

    return asyncio.run(look())


def test_a_process_is_ready_when_the_store_answers_and_the_registry_is_fresh(tmp_path: Path) -> None:
    found = found_of(tmp_path)
    assert (found.status, found.store, found.registry) == ("ok", "ok", "ok")
    assert (found.schema_version, found.schema_expected) == (EXPECTED, EXPECTED)
    assert found.registry_age_seconds is not None
    assert 0 <= found.registry_age_seconds < 10
    assert found.oldest_pending_seconds is None


def test_a_notification_that_waits_for_days_is_told_of_and_the_process_stays_ready(tmp_path: Path) -> None:
    found = found_of(tmp_path, oldest=900_000.0)
    assert (found.status, found.oldest_pending_seconds) == ("ok", 900_000.0)


@pytest.mark.parametrize(
    ("given", "store", "registry"),
    [({"closed": True}, "unavailable", "ok"), ({"waited": 11.0}, "ok", "unavailable")],
)
def test_a_process_that_lacks_one_of_them_says_which(
    tmp_path: Path, given: dict[str, Any], store: str, registry: str
) -> None:
    found = found_of(tmp_path, **given)
    assert (found.status, found.store, found.registry) == ("unavailable", store, registry)
    assert (found.schema_version is None) is (store == "unavailable")


@pytest.mark.parametrize(("version", "status"), [(EXPECTED - 1, "unavailable"), (EXPECTED + 1, "ok")])
def test_an_older_schema_will_not_do_and_a_newer_one_will(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, status: str
) -> None:
    found_of(tmp_path)
    monkeypatch.setattr(module, "_expected", lambda: 2 * EXPECTED - version)
    assert found_of(tmp_path).status == status


def test_a_registry_that_was_never_read_has_no_age(tmp_path: Path) -> None:
    found = found_of(tmp_path, waited=float("inf"))
    assert (found.status, found.registry_age_seconds) == ("unavailable", None)
    assert b'"registryAgeSeconds":null' in msgspec.json.encode(found)
