"""`/metrics` and `/healthz` of the issuer's service, in front of the receiver."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from cardtrail.errors import CardtrailError
from cardtrail.issuer import health
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.round import Heard

SECOND = 1_000_000
LOOK_SECONDS = 15.0
"""How long an answer of the store is good for, so that nobody makes it count cards all the time."""


class Metering:
    """Answers for the health of one issuer's mirror and counts what the service does."""

    def __init__(self, mirror: AsyncMirror, issuer_id: str, limit: int, monotonic: Callable[[], float]) -> None:
        """`limit` is that of the silence alarm, µs; 0: what is usual."""
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._limit = limit
        self._monotonic = monotonic
        self._seen: tuple[float, health.Health] | None = None
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "cardtrail_kit_answers", "Calls answered by the receiver.", ["status"], registry=self.registry
        )
        self._asked = Counter("cardtrail_kit_asked", "Cards asked for.", ["outcome"], registry=self.registry)
        self._calls = Counter("cardtrail_kit_calls", "Calls to the platform for reconciling.", registry=self.registry)
        self._silence = _gauge(self.registry, "silence_seconds", "Seconds since the last message or heartbeat.")
        self._rings = _gauge(self.registry, "silent", "1 while nothing was heard for longer than usual.")
        self._doubtful = _gauge(self.registry, "doubtful_cards", "Open cards of which the mirror is not sure.")
        self._looks = _gauge(self.registry, "last_looks_waiting", "Ended cards whose last look is due and waits.")
        self._failed = _gauge(
            self.registry, "unanswered_cards", "Open cards that were not answered when asked for last."
        )
        self._behind = Gauge(
            "cardtrail_kit_hook_behind", "Changes that a hook was not told of yet.", ["hook"], registry=self.registry
        )

    def asked(self, heard: Heard) -> None:
        """Count what the reconciler did."""
        self._calls.inc(heard.calls)
        for outcome, count in (("compared", heard.asked), ("repaired", heard.changed), ("failed", heard.failed)):
            self._asked.labels(outcome).inc(count)

    async def look(self) -> health.Health:
        """Return the mirror's health, as of LOOK_SECONDS ago at most. Raises StoreUnavailable."""
        now = self._monotonic()
        if self._seen is None or now - self._seen[0] > LOOK_SECONDS:
            wall = self._mirror.clock()
            found = await self._mirror.db.read(lambda tx: health.read(tx, self._issuer_id, wall, self._limit))
            self._seen = now, found
        return self._seen[1]

    def before(self, app: Asgi) -> Asgi:
        """Return the application with `GET /healthz` and `GET /metrics` in front of it."""

        async def metered(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in {"/healthz", "/metrics"}:
                await self._answer(scope["path"], send)
                return
            await app(scope, receive, self._counting(send))

        return metered

    def _counting(self, send: Send) -> Send:
        async def counted(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                self._answers.labels(message["status"]).inc()
            await send(message)

        return counted  # type: ignore[return-value]  # a message is a mapping of whatever the server takes

    async def _answer(self, path: str, send: Send) -> None:
        try:
            found = await self.look()
        except CardtrailError:
            await _send(send, 503, b"the mirror cannot be read now\n")
            return
        if path == "/metrics":
            self._set(found)
            await _send(send, 200, generate_latest(self.registry))
            return
        troubles = found.troubles(time.time_ns() // 1_000)
        await _send(send, 503 if troubles else 200, "".join(f"{each}\n" for each in troubles or ["well"]).encode())

    def _set(self, found: health.Health) -> None:
        self._silence.set(found.silence.seconds)
        self._rings.set(found.silence.rings)
        self._doubtful.set(found.doubtful)
        self._looks.set(found.looks)
        self._failed.set(found.answers.get("failed", 0))
        for hook in found.hooks:
            self._behind.labels(hook.name).set(hook.behind)


def _gauge(registry: CollectorRegistry, name: str, text: str) -> Gauge:
    return Gauge(f"cardtrail_kit_{name}", text, registry=registry)


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
