"""The receiver in Litestar. Run it: `uvicorn litestar_app:app`; notifications go to `/bank/notifications/d1/v2/…`."""

import os

from litestar import Litestar
from litestar.handlers import asgi

from cardtrail import AsyncMirror, AsyncReceiver, Trust, asgi_app

mirror = AsyncMirror.open(os.environ["MIRROR"])  # sqlite:///mirror.db or postgresql://…
trust = Trust(secrets=[os.environ["WEBHOOK_SECRET"]])
receiver = AsyncReceiver(mirror, {os.environ["ISSUER_ID"]: trust})
bank = asgi("/bank", is_mount=True, copy_scope=True)(asgi_app(receiver))

app = Litestar(route_handlers=[bank], on_shutdown=[mirror.close])
