"""Hooks: the issuer's own code is told of every change of the mirror, in order and at least once.

The mirror's log of changes is their outbox: a change is in it because it is in the mirror, by one commit. How far a
hook has been told is kept beside it, so a crash between telling and keeping tells once more. A hook that raises is told
the same change again, later and ever more seldom; the changes behind it wait.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from cardtrail.issuer.mirror import MAX_CHANGES, AsyncMirror, Change
from cardtrail.protocol.codec import timestamp

BATCH = 100
"""Most changes between two marks of how far a hook is: after a crash so many may be told once more."""
IDLE_SECONDS = 0.5
"""Pause after a look that found nothing."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Pause after a hook has raised, seconds: from, to; it doubles."""

Callback = Callable[[Change], Awaitable[None] | None]

_log = logging.getLogger("cardtrail.issuer")


class Hook:
    """Tells one callback, plain or asynchronous, of an issuer's changes; `name` is what its place is kept under."""

    def __init__(self, mirror: AsyncMirror, issuer_id: str, name: str, callback: Callback) -> None:
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._name = name
        self._callback = callback
        self._pause = FIRST_PAUSE

    async def run(self) -> None:
        """Tell for ever; what the hook raises is logged, and told again."""
        while True:
            try:
                told = await self.run_once()
            except Exception as error:  # noqa: BLE001 -- it is the issuer's code: whatever it raises, it was not told
                _log.error("hook %s of %s: %r", self._name, self._issuer_id, error)
                await asyncio.sleep(self._pause)
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            else:
                self._pause = FIRST_PAUSE
                await asyncio.sleep(0 if told else IDLE_SECONDS)

    async def run_once(self) -> int:
        """Tell what is next, BATCH at most; return how many. Raises what the hook raises, or StoreUnavailable."""
        row = await self._mirror.db.read(lambda tx: tx.one("find_hook", issuer_id=self._issuer_id, name=self._name))
        changes = await self._mirror.changes(self._issuer_id, row[0] if row else 0, BATCH)
        told = 0
        try:
            for change in changes:
                done = self._callback(change)
                if inspect.isawaitable(done):
                    await done
                told += 1
        finally:
            if told:
                await self._keep(changes[told - 1].number)
        return told

    async def _keep(self, number: int) -> None:
        now = self._mirror.clock()
        await self._mirror.db.transact(
            lambda tx: tx.run("set_hook", issuer_id=self._issuer_id, name=self._name, number=number, told_at=now)
        )


async def exported(mirror: AsyncMirror, issuer_id: str, after: int = 0) -> AsyncIterator[bytes]:
    """Give the log of changes after a number, as JSON Lines. Raises StoreUnavailable."""
    while changes := await mirror.changes(issuer_id, after, MAX_CHANGES):
        for change in changes:
            yield line_of(change)
        after = changes[-1].number


class _Line(msgspec.Struct, rename="camel", omit_defaults=True):
    number: int
    card_id: str
    operation_id: str
    outcome: str
    source: str
    why: str
    learned_at: str
    wrong_since: str | None
    stage_before: str | None
    shipment_before: str | None
    operation: msgspec.Raw


def line_of(change: Change) -> bytes:
    """Return a change as a line of JSON, with the operation as it was received; instants as on the wire."""
    return msgspec.json.encode(_Line(
        change.number, change.card_id, change.operation_id, change.outcome, change.source, change.why,
        timestamp(change.learned_at), None if change.wrong_since is None else timestamp(change.wrong_since),
        change.stage_before, change.shipment_before, msgspec.Raw(_one_line(change.picture)),
    )) + b"\n"  # fmt: skip


def _one_line(picture: bytes) -> bytes:
    """Return JSON without line breaks, which outside of its strings mean nothing and inside are escaped."""
    return picture.replace(b"\r", b" ").replace(b"\n", b" ")
