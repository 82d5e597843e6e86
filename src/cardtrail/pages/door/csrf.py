"""Requests that change something must come from our own pages: two checks, each enough by itself.

The browser says where a request comes from, which no page can change; and each form says what only our pages know.
"""

import hmac
from urllib.parse import urlsplit

from starlette.requests import Request

from cardtrail.errors import Forbidden
from cardtrail.pages.door.host import called

HEADER = "x-csrf-token"
"""Where a script says what a form says in its hidden field."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_origin(request: Request) -> None:
    """Raise Forbidden unless the browser says that the request comes from a page of ours.

    `Sec-Fetch-Site` tells it best; a browser that does not send it, as over plain HTTP, sends `Origin`.
    """
    site = request.headers.get("sec-fetch-site")
    came = site == "same-origin" if site is not None else _is_own(request, request.headers.get("origin", ""))
    if not came:
        raise Forbidden("this was not sent by a page of this service")


def check_token(given: str, wanted: str) -> None:
    """Raise Forbidden unless a form said what it must."""
    if not wanted or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Forbidden("the form is too old, or is not of this service: load its page again")


def _is_own(request: Request, origin: str) -> bool:
    """Tell whether an origin names the host that was called, whatever has ended TLS in between."""
    try:
        found = urlsplit(origin)
        port = found.port or _DEFAULT_PORTS.get(found.scheme)
    except ValueError:
        return False
    host, own_port = called(request)
    return port is not None and (found.hostname, port) == (host, own_port or _DEFAULT_PORTS.get(found.scheme))
