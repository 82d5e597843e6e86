"""The wiring of a service: what it holds is let go of when it stops."""

import asyncio
from pathlib import Path

import pytest

from cardtrail.platform.app import Platform
from cardtrail.platform.endpoint import Config, Endpoint, Secrets
from cardtrail.platform.lease import LaneKey, Lease, Leases
from cardtrail.platform.settings import Settings
from tests.desk import execute
from tests.receiver import PATIENCE
from tests.serving import ISSUER


def test_a_service_that_stops_in_the_middle_of_a_look_lets_go_of_what_it_has_leased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: the look was cut off, and for half a minute nobody could send to what it had just leased."""
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    leased, go = asyncio.Event(), asyncio.Event()
    acquire = Leases.acquire

    async def held(self: Leases, keys: list[LaneKey]) -> list[Lease]:
        found = await acquire(self, keys)
        if found:
            leased.set()
            await go.wait()
        return found

    monkeypatch.setattr(Leases, "acquire", held)

    async def run() -> None:
        platform = Platform(Settings(database=url))
        endpoint = Endpoint(issuer_id=ISSUER, endpoint_id="one", config=Config(url="https://bank.example"))
        await platform.endpoints.add(endpoint, Secrets(), "alice")
        await platform.endpoints.disable(ISSUER, "one", "not yet", "alice")  # a chore, so a lane to lease
        await platform.start()
        await asyncio.wait_for(leased.wait(), PATIENCE)
        stopping = asyncio.create_task(platform.stop())
        await asyncio.sleep(0)
        go.set()
        await stopping

    asyncio.run(run())
    assert execute(url, "SELECT holder, leased_until FROM lane") == [("", 0)]
