"""What the platform answers about the demo's cards, asked twice a second: the demo shows answers, not intentions.

Beside it stands what the bank's mirror says.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from cardtrail.errors import CardtrailError
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.mirror import Change
from cardtrail.protocol.reading import operations_of
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.bank import Bank, Books
from cardtrail.sandbox.compare import Row, Sight, copy_of, row_of, sight_of

EVERY = 0.5
"""Seconds between two looks."""

_log = structlog.get_logger()


class View(Protocol):
    """Where it is shown."""

    def show(self, rows: Sequence[Row], moved: Sequence[Sight], learned: Sequence[Change], books: Books) -> None:
        """Show all cards, and how it stands with the bank.

        `moved` are those that the platform has news of, `learned` what the mirror has learned since the last time.
        """
        ...

    def say(self, text: str) -> None:
        """Say something that stays."""
        ...


class Watch:
    """Looks at the cards that `cards()` names, by the issuer's client and in the bank's mirror."""

    def __init__(self, client: AsyncClient, bank: Bank, cards: Callable[[], Sequence[str]], view: View) -> None:
        self._client = client
        self._bank = bank
        self._cards = cards
        self._view = view
        self._rows: dict[str, Row] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.run_once()
            except CardtrailError as error:
                _log.warning("not_seen", error=str(error))
            await asyncio.sleep(EVERY)

    async def run_once(self) -> int:
        """Look once; return of how many cards the platform has news. Raises RemoteError or StoreUnavailable."""
        cards = list(self._cards())
        elements = (await self._client.ask_many(cards)).elements if cards else []
        sights = [sight_of(operation) for operation in operations_of(elements)]
        copies = [copy_of(await self._bank.mirror.card(ISSUER_ID, sight.card_id)) for sight in sights]
        now = time.monotonic()
        rows = [
            row_of(self._rows.get(sight.card_id), sight, copy, now) for sight, copy in zip(sights, copies, strict=True)
        ]
        self._rows = {row.truth.card_id: row for row in rows}
        moved = [row.truth for row in rows if row.since == now]
        learned = await self._bank.learned()
        self._view.show(rows, moved, learned, await self._bank.look())
        return len(moved)
