"""What a process that only delivers answers to those who watch it: `/metrics`, `/healthz` and `/readyz`."""

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cardtrail.db import Database
from cardtrail.meters.board import CONTENT_TYPE
from cardtrail.platform.deliver import Deliverer
from cardtrail.platform.metrics import DelivererMetrics
from cardtrail.platform.readiness import OK, STILL, UNAVAILABLE, readiness_to_deliver
from cardtrail.platform.request import encoded
from cardtrail.server import DeafServer

MAX_CONNECTIONS = 64
"""Connections and requests under way at once: some probes and scrapes, and no more."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open, longer than the pause between two scrapes."""
STOP_SECONDS = 2
"""How long an answer may still take once the process stops."""


class Watching:
    """The server of those answers. It leaves signals to the process, and never keeps it from delivering."""

    def __init__(self, db: Database, deliverer: Deliverer, metrics: DelivererMetrics) -> None:
        self._db = db
        self._deliverer = deliverer
        self._metrics = metrics
        metrics.runs_on(db.engine)
        metrics.read("cardtrail_delivery_look_age_seconds", lambda: deliverer.look_age)

    def server(self) -> DeafServer:
        """Return the server, not yet running; it is told on which socket."""
        routes = [Route(f"/{each.__name__}", each) for each in (self.metrics, self.healthz, self.readyz)]
        return DeafServer(uvicorn.Config(
            Starlette(routes=routes), loop="uvloop", lifespan="off", ws="none", log_config=None, access_log=False,
            server_header=False, date_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS, limit_concurrency=MAX_CONNECTIONS,
        ))  # fmt: skip

    async def metrics(self, _: Request) -> Response:
        """Show what this process counts."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def healthz(self, _: Request) -> Response:
        """Say whether the deliverer turns; a store that does not answer is no reason to begin anew."""
        is_well = self._deliverer.turn_age <= STILL
        return encoded({"status": OK if is_well else UNAVAILABLE}, 200 if is_well else 503)

    async def readyz(self, _: Request) -> Response:
        """Say whether it can deliver: the store answers, and the deliverer has looked into it."""
        found = await readiness_to_deliver(self._db, self._deliverer)
        return encoded(found, 200 if found.status == OK else 503)
