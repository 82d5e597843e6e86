"""The strict server's notifications: POSTs to one receiver, in the published form, by a bearer token or signed.

What the receiver does not take is sent a few times more and then given up, as the published guarantee allows.
"""

import asyncio
import base64
import hashlib
import hmac
import time
from collections import Counter
from datetime import timedelta
from typing import NamedTuple

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

MAX_WAITING = 64
"""Most bodies that wait; who tells more has to wait, too."""
TIMEOUT = 10.0
"""Longest call, seconds."""


class Target(NamedTuple):
    """Where notifications go: `url` is the issuer's host, which the published path is put behind.

    `secret` is `whsec_…`, `bearer` a token; both may be empty.
    """

    url: str
    secret: str = ""
    bearer: str = ""
    per_call: int = 1
    attempts: int = 3
    pause: float = 0.05
    """Wait before the next attempt, seconds; it doubles."""
    concurrency: int = 4


def signed(secret: str, body: bytes, now: int) -> dict[str, str]:
    """Return the headers of Standard Webhooks for a body, symmetric; the id names exactly this body."""
    name = "msg_" + hashlib.sha256(body).hexdigest()[:24]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{name}.{now}.".encode() + body, "sha256")
    return {
        "webhook-id": name, "webhook-timestamp": str(now), "webhook-signature": "v1," + base64.b64encode(mac).decode()
    }  # fmt: skip


class Notifier:
    """Sends bodies; `settle` waits until nothing is left."""

    def __init__(self, target: Target, issuer_id: str) -> None:
        self.counts: Counter[str] = Counter()
        self._url = f"{target.url}/notifications/d1/v2/issuers/{issuer_id}/cards"
        self._target = target
        self._bodies: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._senders: list[asyncio.Task[None]] = []

    async def put(self, body: bytes) -> None:
        """Send this, as soon as there is room."""
        if not self._senders:
            client = ClientBuilder().no_proxy().timeout(timedelta(seconds=TIMEOUT)).build()
            self._senders = [asyncio.create_task(self._run(client)) for _ in range(self._target.concurrency)]
        await self._bodies.put(body)

    async def settle(self) -> None:
        """Wait until each body was taken or given up."""
        await self._bodies.join()

    async def stop(self) -> None:
        """Stop sending."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    async def _run(self, client: Client) -> None:
        while True:
            body = await self._bodies.get()
            try:
                await self._send(client, body)
            finally:
                self._bodies.task_done()

    async def _send(self, client: Client, body: bytes) -> None:
        for attempt in range(self._target.attempts):
            if attempt:
                await asyncio.sleep(self._target.pause * 2 ** (attempt - 1))
            self.counts["attempts"] += 1
            status = await self._post(client, body)
            self.counts[str(status)] += 1
            if 200 <= status < 300:
                self.counts["delivered"] += 1
                return
        self.counts["given up"] += 1

    async def _post(self, client: Client, body: bytes) -> int:
        """Return the status, 0 where there was none."""
        headers = {"content-type": "application/json"}
        if self._target.secret:
            headers |= signed(self._target.secret, body, int(time.time()))
        if self._target.bearer:
            headers["authorization"] = f"Bearer {self._target.bearer}"
        try:
            call = client.post(self._url).headers(headers).body_bytes(body).build()
            return (await call.send()).status
        except PyreqwestError:
            return 0
