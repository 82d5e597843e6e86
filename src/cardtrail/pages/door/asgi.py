"""The shapes of an ASGI application, and where the pages stand."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

UI = "/ui"
"""Every page is below this path."""
HOME = "/ui/"
LOG_IN = "/ui/login"
LOG_OUT = "/ui/logout"
LOG_IN_BY_OIDC = "/ui/login/oidc"
CALLBACK = "/ui/login/oidc/callback"
"""Where a provider of OpenID Connect sends a browser back."""
STATIC = "/ui/static/"
"""Style, scripts and pictures, which whoever has not logged in may have too."""
SAFE = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""


def is_ui(path: str) -> bool:
    """Tell whether a path is a page's."""
    return path == UI or path.startswith(HOME)
