"""The strict server put together: its world, the way of the notifications, the answers, and what a test may tell it."""

import asyncio
import json
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from joserfc.jwk import ECKey

from tests.strict.app import App, Receive, Scope, Send, answer_json, body_of
from tests.strict.notify import Notifier, Target
from tests.strict.plots import PLOTS, Json
from tests.strict.stream import Losses, Stream, body_around
from tests.strict.tokens import Tokens
from tests.strict.trouble import Troubles
from tests.strict.world import BEGIN, Told, World

CHUNK = 200
"""Steps between two looks at the calls that wait, and cards of the truth that are sent at once."""


class Options(NamedTuple):
    """What kind of a server it is."""

    cards: int = 100
    seed: int = 0
    issuer_id: str = "ISSUER0001"
    kid: str = "k1"
    plots: tuple[str, ...] = tuple(PLOTS)
    never: float = 0.0
    """Share of cards that are never ordered."""
    begin: int = BEGIN
    """The world's time at its beginning, µs."""
    unknown: int = 404
    """What a path that is not published is answered: 404, 403 or 405."""
    troubles: Troubles = Troubles()
    losses: Losses = Losses()
    notify: Target | None = None


class Strict:
    """The server's parts; all but `world` belong to the loop that runs it."""

    def __init__(self, options: Options, key: ECKey | None = None) -> None:
        self.options = options
        self.key = key or ECKey.generate_key("P-256", private=True)
        """The issuer's key, of which the server looks at the public half alone."""
        self.world = World(options.cards, options.seed, plots=options.plots, never=options.never, begin=options.begin)
        tokens = Tokens(options.issuer_id, {options.kid: ECKey.import_key(self.key.as_dict(private=False))})
        self.app = App(self.world, tokens, options.issuer_id, self._own, unknown=options.unknown)
        self.app.troubles = options.troubles
        self.stream = Stream(options.losses, options.seed)
        self.notifier = Notifier(options.notify, options.issuer_id) if options.notify else None
        self._waiting: list[bytes] = []
        self._turn = asyncio.Lock()

    # ── what a test may tell it ──

    async def advance(self, steps: int, *, tell: bool = True) -> int:
        """Let steps happen and notify of them; return how many there were."""
        tell = tell and self.notifier is not None
        done = 0
        async with self._turn:
            while done < steps:
                heard: list[Told] = []
                moved = self.world.advance(min(CHUNK, steps - done), heard.append if tell else None)
                if moved == 0:
                    break
                done += moved
                for told in heard:
                    self._waiting += self.stream.push(told.element)
                await self._send(self._per_call())
                await asyncio.sleep(0)
        return done

    async def flush(self) -> None:
        """Let all notifications arrive that are under way, and wait until each was taken or given up."""
        async with self._turn:
            self._waiting += self.stream.flush()
            await self._send(1)
            if self.notifier:
                await self.notifier.settle()

    def counts(self) -> dict[str, dict[str, int]]:
        """What was counted: `calls`, what happened to the `stream` of notifications, and their `delivery`."""
        return {
            "calls": dict(self.app.counts), "stream": dict(self.stream.counts),
            "delivery": dict(self.notifier.counts) if self.notifier else {},
            "world": {"steps": self.world.steps, "cards": self.world.cards},
        }  # fmt: skip

    def set_troubles(self, members: Json) -> None:
        """Change what goes wrong with answers; an outage begins with the next call."""
        changed = dict(members)
        if changed.get("outage_calls"):
            changed.setdefault("outage_from", self.app.counts["calls"] + 1)
        self.app.troubles = self.app.troubles._replace(**changed)

    async def stop(self) -> None:
        """End what runs beside the answers."""
        if self.notifier:
            await self.notifier.stop()

    def _per_call(self) -> int:
        return self.options.notify.per_call if self.options.notify else 1

    async def _send(self, at_least: int) -> None:
        """Send what waits, in calls of the agreed size; fewer than `at_least` are kept for the next time."""
        size = self._per_call()
        while self.notifier and len(self._waiting) >= at_least:
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            await self.notifier.put(body_around(batch))

    # ── the same over HTTP ──

    async def _own(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = (scope["method"], scope["path"].removeprefix("/admin/"))
        if name == ("GET", "truth"):
            await _stream(send, (_line(card_id, newest) for card_id, newest in self.world.truth()))
        elif name == ("GET", "cards"):
            await _stream(send, (b'{"cardId":"%b"}\n' % card_id.encode() for card_id, _ in self.world.truth()))
        elif name == ("GET", "counts"):
            await answer_json(send, self.counts())
        elif name[0] == "POST":
            await self._told(name[1], json.loads(await body_of(receive) or b"{}"), send)
        else:
            await answer_json(send, {"error": "unknown"}, 404)

    async def _told(self, name: str, members: Json, send: Send) -> None:
        answer: Json = {}
        if name == "advance":
            answer["steps"] = await self.advance(members["steps"], tell=members.get("tell", True))
        elif name == "flush":
            await self.flush()
        elif name == "troubles":
            self.set_troubles(members)
        else:
            await answer_json(send, {"error": "unknown"}, 404)
            return
        await answer_json(send, answer)


async def _stream(send: Send, lines: Iterator[bytes]) -> None:
    """Send lines in pieces, so that many cards cost little memory and calls are answered meanwhile."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/jsonl")]})
    while piece := b"".join(islice(lines, CHUNK)):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


def _line(card_id: str, newest: bytes | None) -> bytes:
    return b'{"cardId":"%b","operation":%b}\n' % (card_id.encode(), newest or b"null")
