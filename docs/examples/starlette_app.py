"""The receiver in Starlette. Run it: `uvicorn starlette_app:app`; notifications go to `/bank/notifications/d1/v2/…`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from cardtrail import AsyncMirror, AsyncReceiver, Trust, asgi_app

mirror = AsyncMirror.open(os.environ["MIRROR"])  # sqlite:///mirror.db or postgresql://…
trust = Trust(secrets=[os.environ["WEBHOOK_SECRET"]])
receiver = AsyncReceiver(mirror, {os.environ["ISSUER_ID"]: trust})


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with mirror:
        yield


app = Starlette(routes=[Mount("/bank", asgi_app(receiver))], lifespan=lifespan)
