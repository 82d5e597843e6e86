"""The pretend bank's endpoint: the same in run after run, with a secret of its own each time, and patient."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cardtrail.core.schedule import probe_after
from cardtrail.pages.door.trail import list_audit
from cardtrail.platform.app import Platform
from cardtrail.platform.endpoint import EndpointState, Signing
from cardtrail.platform.settings import steps_of
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.stage import settings_of
from cardtrail.sandbox.subscribe import ENDPOINT_ID, STEPS, subscribe

NEAR, FAR = "http://127.0.0.1:1", "http://127.0.0.1:2"
SOON = 8_000_000
"""How long a receiver that is back may go unnoticed, µs."""


@asynccontextmanager
async def platform_in(path: Path) -> AsyncIterator[Platform]:
    platform = Platform(settings_of(Folder(path), 0))
    try:
        yield platform
    finally:
        platform.db.close()


def test_a_second_run_moves_the_endpoint_and_changes_the_secret(tmp_path: Path) -> None:
    async def play() -> None:
        async with platform_in(tmp_path) as platform:
            first = await subscribe(platform.endpoints, NEAR)
            second = await subscribe(platform.endpoints, FAR)
            [endpoint] = await platform.endpoints.list_all(ISSUER_ID)
            assert (endpoint.endpoint_id, endpoint.config.url) == (ENDPOINT_ID, FAR)
            _, secrets = await platform.endpoints.find_with_secrets(ISSUER_ID, ENDPOINT_ID)
            assert secrets.valid(0) == (second,)
            assert first != second

    asyncio.run(play())


def test_an_endpoint_that_was_disabled_or_signs_otherwise_is_put_right(tmp_path: Path) -> None:
    async def play() -> None:
        async with platform_in(tmp_path) as platform:
            await subscribe(platform.endpoints, NEAR)
            await platform.endpoints.rotate_secret(ISSUER_ID, ENDPOINT_ID, "operator:ada", signing=Signing.V1A)
            await platform.endpoints.disable(ISSUER_ID, ENDPOINT_ID, "tried out", "operator:ada")
            secret = await subscribe(platform.endpoints, NEAR)
            endpoint = await platform.endpoints.find(ISSUER_ID, ENDPOINT_ID)
            assert (endpoint.state, endpoint.config.signing) == (EndpointState.ENABLED, Signing.V1)
            assert secret.startswith("whsec_")
            assert "endpoint.enable" in {line.action for line in await list_audit(platform.db)}

    asyncio.run(play())


def test_a_receiver_that_is_back_is_noticed_soon_however_long_it_was_away() -> None:
    first = steps_of(STEPS)[0]
    assert max(probe_after(failures, 0.999, first) for failures in range(10_000)) < SOON


def test_a_notification_outlives_more_failures_than_it_takes_to_open_the_circuit() -> None:
    assert len(steps_of(STEPS)) > 10
