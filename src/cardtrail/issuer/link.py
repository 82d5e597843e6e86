"""With whom a client speaks, as whom, and within which limits: checked once, so that a wrong setting fails at once."""

import re
from ipaddress import ip_address
from typing import TypedDict, Unpack
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from cardtrail.errors import InputError
from cardtrail.protocol.codec import ISSUER_ID
from cardtrail.protocol.token import TOKEN_PATH, PrivateKey, private_key_of

BASE_PATH = "/banking/v1"
"""The path of a base URL that has none."""
MAX_TIME = 3_600.0
"""Longest time-out or deadline, seconds."""
MAX_CONCURRENCY = 1_000
"""Most calls at once."""
MAX_RETRIES = 10
"""Most repetitions of a call."""
MIN_RATE, MAX_RATE = 0.001, 1_000_000.0
"""Least and most calls a second that can be asked for."""
MAX_URL = 2_048
"""Longest URL, characters."""

_KID = re.compile(r"[\x21-\x7e]{1,128}")
_SAFE = re.compile(r"[\x21-\x7e]+")


class Options(TypedDict, total=False):
    """What a client can be told besides; times are in seconds."""

    party_id: str
    """Who calls, where that is not the issuer: the aggregatorId. Contract section 5."""
    token_url: str
    """Where tokens are given; by default on the host of the base URL."""
    audience: str
    """What the assertion names as `aud`; by default nothing, since a server need not know its own name."""
    scope: str
    """What the token is asked for; by default nothing is said, and it has all that the party may have."""
    timeout: float
    """Longest time for one answer, 15 by default."""
    connect_timeout: float
    """Longest time for a connection, 5 by default."""
    deadline: float
    """Longest time for a whole call, with its waits and repetitions, 60 by default."""
    retries: int
    """How often a call is repeated, 3 by default."""
    concurrency: int
    """Most calls at once, 64 by default."""
    rate: float
    """Most calls a second; by default there is no limit."""
    client_pem: bytes
    """Certificate and private key that we show, both in PEM."""
    ca_pem: bytes
    """Authorities to trust besides the usual ones, PEM."""
    proxy: str
    """The proxy for all calls, http://host:port or with https."""
    trust_env: bool
    """Whether a proxy is taken from the environment (`HTTPS_PROXY` and so on); by default not."""


class Link(Struct, frozen=True, kw_only=True):
    """Everything that does not change while a client lives, checked, made by `link_of`; as in Options."""

    base_url: str
    """Up to the word before `/issuers/`, without a slash at its end."""
    token_url: str
    issuer_id: str
    party_id: str
    kid: str
    key: PrivateKey
    audience: str | None = None
    scope: str | None = None
    timeout: float = 15.0
    connect_timeout: float = 5.0
    deadline: float = 60.0
    retries: int = 3
    concurrency: int = 64
    rate: float | None = None
    client_pem: bytes = b""
    ca_pem: bytes = b""
    proxy: str | None = None
    trust_env: bool = False

    def __repr__(self) -> str:
        """Leave out keys, and the proxy, whose URL may hold a password."""
        return f"Link({self.base_url!r}, {self.issuer_id!r}, party_id={self.party_id!r}, kid={self.kid!r})"


def link_of(
    base_url: str, issuer_id: str, key: PrivateKey | str, kid: str, *,
    allow_http: bool = False, **options: Unpack[Options],
) -> Link:  # fmt: skip
    """Return the link; `key` may be PEM or JWK. Raises InputError naming the argument."""
    base = _checked_url(base_url, "base_url", allow_http=allow_http)
    if base.query:
        raise InputError("base_url", "a URL without a query expected")
    root = f"{base.scheme}://{base.netloc}"
    given: Options = {"token_url": root + TOKEN_PATH, "party_id": issuer_id, **options}
    _checked_url(given["token_url"], "token_url", allow_http=allow_http)
    if not ISSUER_ID.fullmatch(issuer_id):
        raise InputError("issuer_id", "exactly 10 of A-Z a-z 0-9 _ -")
    if not _KID.fullmatch(kid):
        raise InputError("kid", "1 to 128 printable characters without spaces")
    if not given["party_id"]:
        raise InputError("party_id", "not empty; leave it out where the issuer calls for itself")
    link = Link(
        base_url=root + (base.path.rstrip("/") or BASE_PATH), issuer_id=issuer_id, kid=kid,
        key=private_key_of(key) if isinstance(key, str) else key, **given,
    )  # fmt: skip
    _check_limits(link)
    return link


def _checked_url(url: str, field: str, *, allow_http: bool) -> SplitResult:
    """Return its parts. A password in it would be shown with it, so there must be none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InputError(field, "https://host/path expected") from None
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise InputError(field, "https://host/path expected")
    if not _SAFE.fullmatch(url) or len(url) > MAX_URL or "@" in parts.netloc or parts.fragment:
        raise InputError(field, "a URL without user, fragment and odd characters expected")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise InputError(field, "https expected; allow_http=True takes http, which everybody on the way can read")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_limits(link: Link) -> None:
    for field in ("timeout", "connect_timeout", "deadline"):
        if not 0 < getattr(link, field) <= MAX_TIME:
            raise InputError(field, f"more than 0 and at most {MAX_TIME:.0f} seconds", "FIELD_INVALID_VALUE")
    if not 0 <= link.retries <= MAX_RETRIES:
        raise InputError("retries", f"0 to {MAX_RETRIES}", "FIELD_INVALID_VALUE")
    if not 1 <= link.concurrency <= MAX_CONCURRENCY:
        raise InputError("concurrency", f"1 to {MAX_CONCURRENCY}", "FIELD_INVALID_VALUE")
    if link.rate is not None and not MIN_RATE <= link.rate <= MAX_RATE:
        raise InputError("rate", f"{MIN_RATE} to {MAX_RATE:.0f} calls a second", "FIELD_INVALID_VALUE")
    if link.proxy is not None and not link.proxy.startswith(("http://", "https://")):
        raise InputError("proxy", "http://host:port or https://host:port expected")
