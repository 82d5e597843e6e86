"""What we and a provider of OpenID Connect have agreed on: checked once, so that a wrong setting fails at once."""

import re
from urllib.parse import SplitResult, urlsplit

import msgspec

from cardtrail.errors import SettingError
from cardtrail.pages.door.asgi import CALLBACK, LOG_IN_BY_OIDC
from cardtrail.pages.door.host import is_loopback

MAX_URL = 2_048
"""Longest URL, characters."""
MAX_SECRET = 4_096
"""Longest secret, characters."""
MAX_NAME = 60
"""Longest name of a provider on the log-in, characters."""
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A client that the provider knows; made by `registration_of`."""

    issuer: str
    """The provider's own name for itself, the `iss` of its tokens: a URL."""
    client_id: str
    client_secret: str
    public_url: str
    """Where browsers reach this service, without a slash at its end; a `Host` header is not believed."""
    name: str
    """What people call the provider."""
    ca_pem: bytes = b""
    """Authorities to trust besides the usual ones, PEM."""
    command: str = "cardtrail account"
    """How accounts of this service are added, for whom the provider knows and we do not."""

    def __repr__(self) -> str:
        """Leave out the secret, which must never reach a log."""
        return f"Registration({self.issuer!r}, {self.client_id!r})"

    @property
    def begin_url(self) -> str:
        """Where the log-in begins: at the host to which the provider sends back, so that the cookie is there."""
        return self.public_url + LOG_IN_BY_OIDC

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends back, exactly as it is registered there."""
        return self.public_url + CALLBACK


def registration_of(  # noqa: PLR0913 -- each is a setting
    *, issuer: str, client_id: str, client_secret: str, public_url: str, name: str, ca_pem: bytes = b""
) -> Registration:
    """Return what was agreed on. Raises SettingError naming the setting that is wrong."""
    _check_url(issuer, "oidc_issuer")
    root = _check_url(public_url, "public_url")
    if root.path not in ("", "/"):
        raise SettingError("public_url: a URL without a path expected, the pages are at its /ui/")
    if not _PRINTABLE.fullmatch(client_id) or len(client_id) > MAX_URL:
        raise SettingError("oidc_client_id: printable characters without spaces expected")
    if not (client_secret.isascii() and client_secret.isprintable()) or not 0 < len(client_secret) <= MAX_SECRET:
        raise SettingError(
            f"oidc_client_secret_file: a file with 1 to {MAX_SECRET} printable characters of ASCII expected"
        )
    if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise SettingError(f"oidc_name: 1 to {MAX_NAME} printable characters expected")
    return Registration(
        issuer=issuer, client_id=client_id, client_secret=client_secret, public_url=public_url.rstrip("/"), name=name,
        ca_pem=ca_pem,
    )  # fmt: skip


def is_safe(url: str, *, http: bool) -> bool:
    """Tell whether a URL may be called: by TLS, or with `http` also without it on a loopback address."""
    parts = _parts_of(url)
    return parts is not None and (parts.scheme == "https" or (http and is_loopback(parts.hostname or "")))


def _check_url(url: str, setting: str) -> SplitResult:
    parts = _parts_of(url)
    if parts is None or parts.query or not is_safe(url, http=True):
        raise SettingError(f"{setting}: https://host expected, without user and query; http for a loopback host only")
    return parts


def _parts_of(url: str) -> SplitResult | None:
    """Return the parts of a URL of HTTP that holds no user and no fragment, None for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    is_odd = not _PRINTABLE.fullmatch(url) or len(url) > MAX_URL or "@" in parts.netloc or "#" in url
    return None if is_odd or parts.scheme not in ("https", "http") or not host or port == 0 else parts
