"""A bank's mirror and its pages, living in the time of a hired platform, so that weeks of drift can be looked at."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from cardtrail.files.box import box_of
from cardtrail.issuer.asgi import Asgi, asgi_app
from cardtrail.issuer.ask import asking
from cardtrail.issuer.budget import Limits
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.keep import Keeper, Pace
from cardtrail.issuer.lease import held
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.receive import AsyncReceiver
from cardtrail.issuer.trust import Trust
from cardtrail.issuer.ui.front import Front
from cardtrail.pages.door.password import hashed
from cardtrail.sandbox.hired import Hired
from tests.hosting import hosting
from tests.looking import EVERYONE, PASSWORD

PATIENCE = 60.0
"""Longest wait for what is done beside the test, seconds."""
PACE = Pace(limits=Limits(per_second=100, per_day=200_000), pull_seconds=8_640)
"""The feed is read once a day, which states a bound of a day."""
DAY = timedelta(days=1)
R = TypeVar("R")


class Banked:
    """A bank beside a test: its loop is in a thread of its own."""

    def __init__(self, platform: Hired, folder: Path) -> None:
        self.platform = platform
        self.now = platform.clock.now
        self.root = ""
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = AsyncExitStack()
        self._keeper: Keeper | None = None

    @property
    def home(self) -> str:
        """Where the issuer's pages begin."""
        return f"{self.root}/ui/issuers/{self.platform.issuer_id}/"

    def open(self) -> None:
        """Serve, and be notified from now on."""
        self._thread.start()
        self.root = self._do(self._open())
        self.platform.notify(self.root)

    def close(self) -> None:
        """Let go of everything."""
        self._do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def live(self, days: int, *, keeps: bool = True) -> None:
        """Let days pass, at the end of each of which the mirror is kept right, or is not."""
        for _ in range(days):
            self.now += DAY
            self.platform.clock.advance(DAY)
            self.platform.settle()
            if keeps:
                self._do(self._keep())

    def _do(self, work: Coroutine[Any, Any, R]) -> R:
        future: Future[R] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(PATIENCE)

    async def _open(self) -> str:
        platform = self.platform
        clock: Callable[[], int] = lambda: round(self.now.timestamp() * 1_000_000)  # noqa: E731 -- it stands beside its use
        url = f"sqlite:///{self._folder}/mirror.db"
        self.mirror = await self._stack.enter_async_context(AsyncMirror.open(url))
        self.mirror.clock = clock
        client = AsyncClient(platform.url, platform.issuer_id, key=platform.key, kid=platform.kid)
        await self._stack.enter_async_context(client)
        self._keeper = Keeper(platform.issuer_id, client, self.mirror, PACE)
        ask = asking(platform.issuer_id, client, self.mirror)
        front = Front(self.mirror, platform.issuer_id, box_of("", url), plain=True, ask=ask)
        self._stack.push_async_callback(front.close)
        for name, (roles, personal) in EVERYONE.items():
            await front.entrance.accounts.add(name, roles, hashed(PASSWORD), "operator:test", personal=personal)
        port = await self._stack.enter_async_context(hosting(front.before(self._receiving())))
        self._stack.callback(front.release)
        return f"http://127.0.0.1:{port}"

    def _receiving(self) -> Asgi:
        trust = Trust(authenticate=lambda _: True)  # signatures are of real time, and this bank lives in another one
        receiver = AsyncReceiver(self.mirror, {self.platform.issuer_id: trust}, wall=self.mirror.clock)
        return asgi_app(receiver)

    async def _keep(self) -> None:
        assert self._keeper is not None
        async with held(self.mirror.db, self.platform.issuer_id) as fence:
            await self._keeper.run_once(fence)


@contextmanager
def banked(platform: Hired, folder: Path) -> Iterator[Banked]:
    """Give the bank of a platform for as long as the block lasts."""
    bank = Banked(platform, folder)
    bank.open()
    try:
        yield bank
    finally:
        bank.close()
