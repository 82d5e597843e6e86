"""The demo's bank, and a platform that is not running, so that tests themselves notify it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from cardtrail.issuer.asgi import Asgi
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.platform.app import Platform
from cardtrail.platform.endpoint import PATH
from cardtrail.platform.ledger import Ledger
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.bank import Bank
from cardtrail.sandbox.call import client
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.server import Server
from cardtrail.sandbox.stage import settings_of
from cardtrail.sandbox.subscribe import subscribe
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.record import Recorder
from tests.signed import body_of, signed

PATIENCE = 20.0
"""Longest wait for what a person is told, seconds; only a broken test waits so long."""


class Banking:
    """A bank that listens, its platform, and what a person is told."""

    def __init__(self, platform: Platform, bank: Bank, secret: str, said: "asyncio.Queue[str]") -> None:
        self.platform = platform
        self.bank = bank
        assert bank.recorder is not None
        self.recorder = bank.recorder
        self._secret = secret
        self._said = said

    async def said(self) -> str:
        """Wait for the next that a person is told."""
        return await asyncio.wait_for(self._said.get(), PATIENCE)

    @property
    def silent(self) -> bool:
        """Whether a person was told no more."""
        return self._said.empty()

    async def notify(self, *operations: object, at: str = "") -> int:
        """Call as the platform does, or with its signature `at` another URL; return the status of the answer."""
        body = body_of(*operations, mark="mark")
        headers = signed(body, time.time(), self._secret)
        url = (at or self.bank.server.url) + PATH.format(issuer_id=ISSUER_ID)
        async with client() as http:
            return (await http.post(url).headers(headers).body_bytes(body).build().send()).status

    async def stages(self, card_id: str = "card-1") -> list[Any]:
        """Return the stages of a card's orders in the mirror, newest order first."""
        return [held.operation.stage for held in await self.bank.mirror.card(ISSUER_ID, card_id)]


@asynccontextmanager
async def banking(path: Path, seed: int = 1, receiver: Asgi | None = None) -> AsyncIterator[Banking]:
    """Open a bank in a folder, and close it at the end; its receiver may be another than its own."""
    folder = Folder(path)
    said = asyncio.Queue[str]()
    with closing(Server()) as server, closing(Recorder(path)) as recorder:
        platform = Platform(settings_of(folder, 0))
        try:
            secret = await subscribe(platform.endpoints, server.url)
            async with AsyncMirror.open(folder.mirror) as mirror:
                bank = Bank(
                    server, mirror, secret, Ledger(platform.db), endpoints=platform.endpoints, faults=Faults(seed),
                    say=said.put_nowait, recorder=recorder, receiver=receiver,
                )  # fmt: skip
                async with bank.open():
                    yield Banking(platform, bank, secret, said)
        finally:
            platform.db.close()
