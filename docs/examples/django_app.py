"""The receiver beside Django, in its `asgi.py`. Run it: `uvicorn django_app:app`; all else goes to Django."""

import os

from django.conf import settings  # type: ignore[import-untyped]  # Django has no types of its own
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]  # nor here

from cardtrail import AsyncMirror, AsyncReceiver, Trust, asgi_app
from cardtrail.issuer.asgi import Receive, Scope, Send

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)  # a project of yours has DJANGO_SETTINGS_MODULE instead
urlpatterns: list[object] = []

django = get_asgi_application()
mirror = AsyncMirror.open(os.environ["MIRROR"])  # sqlite:///mirror.db or postgresql://…
trust = Trust(secrets=[os.environ["WEBHOOK_SECRET"]])
notifications = asgi_app(AsyncReceiver(mirror, {os.environ["ISSUER_ID"]: trust}))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    ours = scope["type"] == "lifespan" or scope["path"].lower().startswith("/notifications/")
    await (notifications if ours else django)(scope, receive, send)
