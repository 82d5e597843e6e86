"""The pretend bank: its endpoint in run after run, its receiver that is stopped and started, what waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from cardtrail.core.schedule import probe_after
from cardtrail.platform.app import Platform
from cardtrail.platform.audit import list_audit
from cardtrail.platform.endpoint import EndpointState, Signing
from cardtrail.platform.ledger import Ledger
from cardtrail.platform.settings import steps_of
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.bank import ENDPOINT_ID, STEPS, Bank, Books, subscribe
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.receiver import Inbox, Receiver
from cardtrail.sandbox.run import settings_of

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


class Said:
    """Hears what a person is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[str] = asyncio.Queue()

    def say(self, text: str) -> None:
        self._told.put_nowait(text)

    async def next(self) -> str:
        return await asyncio.wait_for(self._told.get(), 20)


def test_each_toggle_stops_or_starts_the_receiver_and_says_so(tmp_path: Path) -> None:
    async def play() -> None:
        said = Said()
        async with platform_in(tmp_path) as platform:
            with closing(Receiver(ISSUER_ID)) as receiver:
                secret = await subscribe(platform.endpoints, receiver.url)
                bank = Bank(receiver, Inbox(secret, lambda _: None), Ledger(platform.db), said.say)
                async with bank.open():
                    assert await bank.look() == Books(
                        url=receiver.url, is_up=True, notifications=0, pending=0, oldest=0.0, known={}
                    )
                    bank.toggle()
                    assert "has stopped" in await said.next()
                    assert not (await bank.look()).is_up
                    bank.toggle()
                    assert "is up again" in await said.next()
                    assert receiver.is_up
                    bank.toggle()
                    bank.toggle()  # before anyone could act on the first
                    assert receiver.is_up
                assert not receiver.is_up

    asyncio.run(play())
