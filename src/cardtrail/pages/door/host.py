"""By which name a browser has called us, and whether a name can only mean this machine."""

from ipaddress import ip_address

from starlette.requests import Request


def called(request: Request) -> tuple[str, int | None]:
    """Return the host and the port that a request names, empty and None where that cannot be read."""
    try:
        return request.url.hostname or "", request.url.port
    except ValueError:
        return "", None


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
