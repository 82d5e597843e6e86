"""An inlet: an endpoint for a receiver that is elsewhere, and the wire between the platform and it."""

import time
from contextlib import suppress

from cardtrail.platform.endpoint import Config, Endpoint, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.sandbox.admit import ACTOR, ISSUER_ID
from cardtrail.sandbox.server import Server
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.forward import Forward
from cardtrail.sandbox.wire.notify import NotificationWire
from cardtrail.sandbox.wire.record import Recorder


class Inlet:
    """Has the demo's issuer notified at a receiver's `url`, through the wire. Raises InputError naming `url`."""

    def __init__(
        self, url: str, endpoint_id: str, *, endpoints: Endpoints, faults: Faults, recorder: Recorder | None
    ) -> None:
        self.url = url
        self.endpoint_id = endpoint_id
        self._endpoints = endpoints
        self._forward = Forward(url)
        self._server = Server()
        self._wire = NotificationWire(self._forward, faults, recorder, secrets=self.signing, rotate=self._rotate)

    async def open(self) -> str:
        """Listen, and register the endpoint; return what the receiver verifies with. Raises InputError or Conflict."""
        await self._server.start(self._wire)
        endpoint = Endpoint(issuer_id=ISSUER_ID, endpoint_id=self.endpoint_id, config=Config(url=self._server.url))
        return (await self._endpoints.add(endpoint, Secrets(), ACTOR))[1]

    async def close(self) -> None:
        """End it; what the wire still holds is lost."""
        await self._wire.close()
        with suppress(OSError):
            await self._server.stop()
        self._server.close()
        await self._forward.close()

    @property
    def held(self) -> int:
        """How many notifications the wire has taken and not handed over yet."""
        return len(self._wire.later)

    async def signing(self) -> tuple[str, ...]:
        """Return what the platform signs with now, the newest first."""
        _, kept = await self._endpoints.find_with_secrets(ISSUER_ID, self.endpoint_id)
        return kept.valid(time.time_ns() // 1_000)

    async def _rotate(self, seconds: float) -> None:
        """Have the platform sign with a new secret, too; the old one is good for so long."""
        await self._endpoints.rotate_secret(ISSUER_ID, self.endpoint_id, ACTOR, overlap=int(seconds))
