"""Where somebody goes after the log-in: to the page that was asked for, which is one of ours."""

import re
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request

from cardtrail.pages.door.asgi import HOME, LOG_IN, LOG_OUT

MAX_NEXT = 2_000
"""Longest path with its query that is remembered, characters."""
_OWN = re.compile(r"/ui/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")


def safe_next(text: str) -> str:
    """Return the path of a page of ours to go on to; the home page instead of anything else."""
    path = text.partition("?")[0]
    is_ours = len(text) <= MAX_NEXT and _OWN.fullmatch(text) and ".." not in path and "//" not in path
    is_door = path in (LOG_IN, LOG_OUT) or path.startswith(f"{LOG_IN}/")
    return text if is_ours and not is_door else HOME


def log_in_for(request: Request) -> str:
    """Return the path of the log-in that leads back to what this request asks for."""
    query = request.scope["query_string"].decode("latin-1")
    asked = safe_next(quote(request.scope["path"]) + (f"?{query}" if query else ""))
    return _log_in(asked)


def log_in_after(request: Request) -> str:
    """Return the path of the log-in that leads back to the page on which a script of htmx has asked."""
    try:
        page = urlsplit(request.headers.get("hx-current-url", ""))
    except ValueError:
        return LOG_IN
    return _log_in(safe_next(page.path + (f"?{page.query}" if page.query else "")))


def _log_in(way: str) -> str:
    return LOG_IN if way == HOME else f"{LOG_IN}?{urlencode({'next': way})}"
