"""The receiver in FastAPI. Run it: `uvicorn fastapi_app:app`; notifications go to `/bank/notifications/d1/v2/…`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from cardtrail import AsyncMirror, AsyncReceiver, Trust, asgi_app

mirror = AsyncMirror.open(os.environ["MIRROR"])  # sqlite:///mirror.db or postgresql://…
trust = Trust(secrets=[os.environ["WEBHOOK_SECRET"]])
receiver = AsyncReceiver(mirror, {os.environ["ISSUER_ID"]: trust})


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with mirror:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/bank", asgi_app(receiver))
