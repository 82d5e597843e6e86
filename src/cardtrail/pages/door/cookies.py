"""The cookies, and how they are protected.

Everywhere but in one case they are `Secure` and named `__Host-`: a browser sends them over TLS only, and takes them
from nobody but this host. The one case is trying out: the service itself listens on a loopback address without TLS, no
proxy is configured, and the browser has called it by a loopback name. Whoever calls it by another name comes through
something that the service does not know of, and gets the protected kind.
"""

from starlette.requests import Request
from starlette.responses import Response

from cardtrail.pages.door.host import called, is_loopback

SESSION, BEFORE, AWAY = "cardtrail", "cardtrail-login", "cardtrail-oidc"
"""The session, what the log-in's form is tied to, and what is known of a browser that was sent to a provider."""
_PROTECTED = "__Host-"
_BY_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")


class Cookies:
    """Reads and writes them; `plain`: the service listens on a loopback address, without TLS and without a proxy.

    `realm` is a part of their names, since a browser sends them to every port of a host: two services on one host
    would take each other's.
    """

    def __init__(self, *, plain: bool, realm: str = "") -> None:
        self._plain = plain
        self._realm = f"-{realm}" if realm else ""

    def read(self, request: Request, name: str) -> str:
        """Return a cookie's value, empty where there is none."""
        return request.cookies.get(self._name(request, name), "")

    def write(self, request: Request, response: Response, name: str, value: str, seconds: int | None = None) -> None:
        """Let the browser keep a value, for so long or until it is closed."""
        response.set_cookie(
            self._name(request, name), value, max_age=seconds, path="/", httponly=True, samesite="lax",
            secure=not self._is_plain(request),
        )  # fmt: skip

    def drop(self, request: Request, response: Response, name: str) -> None:
        """Let the browser forget a value."""
        self.write(request, response, name, "", 0)

    def _name(self, request: Request, name: str) -> str:
        return ("" if self._is_plain(request) else _PROTECTED) + name + self._realm

    def _is_plain(self, request: Request) -> bool:
        if not self._plain or request.scope.get("scheme") == "https":
            return False
        return is_loopback(called(request)[0]) and not any(name in request.headers for name in _BY_PROXIES)
