"""An `AsyncClient` whose calls wait for their answers, so that one test serves both clients."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

from cardtrail import AsyncClient


class Blocking:
    """Has every method of an AsyncClient, on an event loop of its own."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.client.close())
        self._runner.close()

    def __repr__(self) -> str:
        return repr(self.client)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            made = method(*arguments, **named)
            return self._runner.run(_collected(made) if isinstance(made, AsyncIterator) else made)

        return call


async def _collected(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
