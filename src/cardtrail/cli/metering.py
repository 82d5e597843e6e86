"""`/metrics`, `/healthz` and `/readyz` of the issuer's service, in front of the receiver."""

import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from cardtrail import __version__, logs
from cardtrail.db import Transaction
from cardtrail.errors import CardtrailError
from cardtrail.issuer import health
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.round import Heard
from cardtrail.issuer.store import migrations
from cardtrail.meters.board import CONTENT_TYPE, Board
from cardtrail.meters.kit import KIT

SECOND = 1_000_000
LOOK_SECONDS = 15.0
"""How long an answer of the store is good for, so that nobody makes it count cards all the time."""
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
Shown = Mapping[tuple[object, ...], float]


class Ready(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of `/readyz`; `schema_version` is None where the mirror does not answer."""

    status: str
    mirror: str
    schema_version: int | None
    schema_expected: int


class Metering:
    """Answers for the health of one issuer's mirror and counts what the service does."""

    def __init__(self, mirror: AsyncMirror, issuer_id: str, limit: int, monotonic: Callable[[], float]) -> None:
        """`limit` is that of the silence alarm, µs; 0: what is usual."""
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._limit = limit
        self._monotonic = monotonic
        self._seen: tuple[float, health.Health] | None = None
        self._shown: health.Health | None = None
        self.board = Board(KIT)
        self.board.values("cardtrail_kit_build_info")[__version__, mirror.db.engine] = 1
        self.board.show("cardtrail_kit_pan_like_lines_total", lambda: {(): logs.seen.pan_like})
        self._answers = self.board.values("cardtrail_kit_answers_total")
        self._durations = self.board.spread("cardtrail_kit_answer_seconds")
        for name, source in _OF_MIRROR.items():
            self.board.show(f"cardtrail_kit_{name}", partial(self._of_mirror, source))

    def asked(self, heard: Heard) -> None:
        """Count what the reconciler did."""
        self.board.values("cardtrail_kit_calls_total")[()] += heard.calls
        asked = self.board.values("cardtrail_kit_asked_total")
        for outcome, count in (("compared", heard.asked), ("repaired", heard.changed), ("failed", heard.failed)):
            asked[outcome,] += count

    async def look(self) -> health.Health:
        """Return the mirror's health, as of LOOK_SECONDS ago at most. Raises StoreUnavailable."""
        now = self._monotonic()
        if self._seen is None or now - self._seen[0] > LOOK_SECONDS:
            wall = self._mirror.clock()
            found = await self._mirror.db.read(lambda tx: health.read(tx, self._issuer_id, wall, self._limit))
            self._seen = now, found
        return self._seen[1]

    # ── answering ──

    def before(self, app: Asgi) -> Asgi:
        """Return the application with `GET /healthz`, `/readyz` and `/metrics` in front of it."""
        answers = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}

        async def metered(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in answers:
                await answers[scope["path"]](send)
                return
            await app(scope, receive, self._counting(send))

        return metered

    def _counting(self, send: Send) -> Send:
        began = self._monotonic()

        async def counted(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                self._answers[message["status"],] += 1
                self._durations.note(self._monotonic() - began)
            await send(message)

        return counted  # type: ignore[return-value]  # a message is a mapping of whatever the server takes

    async def _healthz(self, send: Send) -> None:
        try:
            troubles = (await self.look()).troubles(time.time_ns() // 1_000)
        except CardtrailError:
            troubles = ["the mirror cannot be read now"]
        text = "".join(f"{each}\n" for each in troubles or ["well"])
        await _send(send, 503 if troubles else 200, text.encode(), TEXT)

    async def _readyz(self, send: Send) -> None:
        """Say whether notifications can be taken: the mirror answers."""
        expected = 1 + len(migrations())
        try:
            version = await self._mirror.db.read(_schema_version)
        except CardtrailError:
            found = Ready("unavailable", "unavailable", None, expected)
        else:
            found = Ready("ok", "ok", version, expected)
        await _send(send, 200 if found.status == "ok" else 503, msgspec.json.encode(found), JSON)

    async def _metrics(self, send: Send) -> None:
        """Show everything; of a mirror that cannot be read only that."""
        try:
            self._shown = await self.look()
        except CardtrailError:
            self._shown = None
        self.board.values("cardtrail_kit_mirror_available")[()] = float(self._shown is not None)
        await _send(send, 200, self.board.text(), CONTENT_TYPE)

    def _of_mirror(self, source: "Source") -> Shown:
        return {} if self._shown is None else source(self._shown, self._mirror.clock())


def _schema_version(tx: Transaction) -> int:
    [[version]] = tx.all("find_meta", name="schema_version")
    return int(version)


async def _send(send: Send, status: int, body: bytes, kind: str) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# ── what is shown of a mirror ────────────────────────────────────────────────────────────────────────────────

Source = Callable[[health.Health, int], Shown]
"""From a mirror's health, and now in µs, to the values of a metric."""


def _one(value: Callable[[health.Health], float]) -> Source:
    return lambda found, _: {(): value(found)}


def _span(value: Callable[[health.Health], int | None]) -> Source:
    """Show a span (µs) in seconds, if there is one."""

    def shown(found: health.Health, _: int) -> Shown:
        span = value(found)
        return {} if span is None else {(): span / SECOND}

    return shown


def _since(value: Callable[[health.Health], int | None]) -> Source:
    """Show how long ago something was (µs), if it ever was."""

    def shown(found: health.Health, now: int) -> Shown:
        at = value(found)
        return {} if at is None else {(): max(0, now - at) / SECOND}

    return shown


def _hooks(value: Callable[[health.Hooked, int], float]) -> Source:
    return lambda found, now: {(hook.name,): value(hook, now) for hook in found.hooks}


_OF_MIRROR: dict[str, Source] = {
    "silence_seconds": _one(lambda found: found.silence.seconds),
    "silent": _one(lambda found: found.silence.rings),
    "doubtful_cards": _one(lambda found: found.doubtful),
    "doubtful_orders": _one(lambda found: found.doubtful_orders),
    "last_looks_waiting": _one(lambda found: found.looks),
    "unanswered_cards": _one(lambda found: found.answers.get("failed", 0)),
    "unknown_cards": _one(lambda found: found.answers.get("unknown", 0)),
    "pulled_seconds": _since(lambda found: found.pulled_at),
    "pass_seconds": _since(lambda found: found.passed_at),
    "pass_open": _one(lambda found: found.pass_open),
    "oldest_check_seconds": _since(lambda found: None if found.pulled_at is not None else found.checked_at),
    "bound_stated_seconds": _span(lambda found: found.bound),
    "bound_worst_seconds": _span(lambda found: found.worst),
    "sightings": _one(lambda found: found.sightings),
    "hook_behind": _hooks(lambda hook, _: hook.behind),
    "hook_told_seconds": _hooks(lambda hook, now: max(0, now - hook.told_at) / SECOND),
}
