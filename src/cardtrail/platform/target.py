"""What a URL calls. It is read strictly here, and must then mean the same to the HTTP client, or it is refused.

The client reads URLs as browsers do: it takes 2130706433, 0x7f.1 and digits of other scripts for 127.0.0.1, a
backslash for a slash, and drops line breaks. No endpoint needs any of that, and a guard that reads a host otherwise
than the one who connects guards nothing. So there is one spelling of each URL, and everything else is an error.
"""

import re
from functools import lru_cache

import msgspec
from pyreqwest.http import Url

from cardtrail.errors import InputError
from cardtrail.platform.address import Address, literal_of

MAX_URL = 2_048
"""Longest URL, characters."""
MAX_TARGETS = 1_024
"""Most URLs whose reading is remembered."""
MAX_PORT = 65_535
DEFAULT_PORTS = {"https": "443", "http": "80"}

_PRINTABLE = re.compile(r"[!-~]+")
_UNSAFE = re.compile(r'[\\<>"^`{|}]')
_URL = re.compile(r"(https?)://([^/?]+)(/[^?]*)?(\?.*)?")
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]+)(?::(.*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*(?=[a-z]){_LABEL}")
"""Letters, digits and hyphens; the last label begins with a letter, or it could be taken for a number."""


class Target(msgspec.Struct, frozen=True):
    """A URL that can be called. `host` is in lower case, without brackets; `literal` is the address it spells."""

    url: Url
    host: str
    literal: Address | None


def checked_url(url: str, *, allow_http: bool) -> str:
    """Return the URL as it will be called. Raises InputError for one that never can be, whatever the network."""
    return str(target_of(url, allow_http).url)


@lru_cache(maxsize=MAX_TARGETS)
def target_of(url: str, allow_http: bool) -> Target:  # noqa: FBT001 -- a cache tells names and positions apart
    """Return what a URL calls. Raises InputError."""
    scheme, authority, path, query = _parts(url)
    if scheme == "http" and not allow_http:
        raise _wrong("it must begin with https://")
    host, port = _host_and_port(authority)
    bare = host.removeprefix("[").removesuffix("]")
    literal = literal_of(bare)
    if literal is None and (host != bare or not _NAME.fullmatch(host)):
        raise _wrong("its host must be a plain name of letters, digits and hyphens, or an address in standard form")
    if literal is not None and (literal.version == 6) != (host != bare):  # noqa: PLR2004 -- the version of IPv6
        raise _wrong("an IPv6 address stands in brackets, nothing else does")
    tail = "" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}"
    return Target(_agreed(f"{scheme}://{host}{tail}{path}{query}", host), bare, literal)


def _parts(url: str) -> tuple[str, str, str, str]:
    """Return scheme, authority, path and query with its question mark."""
    if len(url) > MAX_URL:
        raise _wrong(f"it has {len(url)} characters, at most {MAX_URL}")
    if not _PRINTABLE.fullmatch(url) or _UNSAFE.search(url):
        raise _wrong("it holds a character that no URL has: escape it, or write the host's name as xn--…")
    if "#" in url:
        raise _wrong("it must not have a fragment (#)")
    match = _URL.fullmatch(url)
    if match is None:
        raise _wrong("it must be https:// and a host, perhaps a path and a query")
    scheme, authority, path, query = match.groups()
    return scheme, authority, path or "/", query or ""


def _host_and_port(authority: str) -> tuple[str, str | None]:
    if "@" in authority:
        raise _wrong("it must not have a user name or password")
    match = _AUTHORITY.fullmatch(authority.lower())
    if match is None:
        raise _wrong("its host cannot be read")
    host, port = match.groups()
    if port is not None and (not _PORT.fullmatch(port) or int(port) > MAX_PORT):
        raise _wrong(f"its port must be a number from 1 to {MAX_PORT}")
    return host, port


def _agreed(url: str, host: str) -> Url:
    """Return the URL as the client reads it, if it reads exactly what was written."""
    try:
        read = Url(url)
    except ValueError:
        raise _wrong("its host or port cannot be read") from None
    if str(read) != url or read.host_str != host:
        raise _wrong("it can be read in more than one way: write it without dot segments and quotation marks")
    return read


def _wrong(text: str) -> InputError:
    """Say what is wrong, without the URL: its query may hold a secret."""
    return InputError("url", text)
