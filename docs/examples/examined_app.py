"""The receiver with the read hook of an examination, for trying out. Run it: `uvicorn examined_app:app`."""

import os

from cardtrail import AsyncMirror, AsyncReceiver, Trust, asgi_app
from cardtrail.issuer.examination import examinable

issuer_id = os.environ["ISSUER_ID"]
mirror = AsyncMirror.open(os.environ["MIRROR"])  # sqlite:///mirror.db or postgresql://…
trust = Trust(secrets=[os.environ["WEBHOOK_SECRET"]])
receiver = AsyncReceiver(mirror, {issuer_id: trust})

app = examinable(asgi_app(receiver), mirror, issuer_id)
