"""Why a call to somebody else's server got no usable answer, in words that hold no secret, and how long to wait.

Both halves call servers that are not theirs: the platform its issuers' endpoints, the issuer the platform.
"""

import re
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import ceil

from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    DetailedPyreqwestError,
    NetworkError,
    PyreqwestError,
    RequestTimeoutError,
)

MAX_RETRY_AFTER = 86_400
"""Longest `Retry-After` that is believed, seconds: 24 h."""
MAX_TEXT = 200
"""Longest text of an answer, characters."""

STOPPING = "this process is about to stop"

_BODY = ("error decoding response body", "request or response body error")
"""How the HTTP client says that a body broke off. Ours is there as a whole, so it is always the answer's."""
_SECONDS = re.compile(r"[0-9]+")
_ODD = re.compile(r"[^ -~]+")
_LONGEST_DATE = 40
"""An HTTP date in its longest form has 33 characters."""


class Failure(StrEnum):
    """Why there is no usable answer. The words are kept with each attempt, so they never change their meaning."""

    URL = "url"
    """The URL can never be called."""
    REFUSED_ADDRESS = "refused_address"
    """The host is, or its name leads to, an address that must not be called."""
    DNS = "dns"
    """The host's name leads nowhere, or nobody could say where in time."""
    CONNECT = "connect"
    """There is no connection: refused, unreachable."""
    TLS = "tls"
    """The two sides do not agree on encryption or do not trust each other's certificate."""
    TIMEOUT = "timeout"
    """It took too long, to connect or altogether."""
    RESET = "reset"
    """The connection ended before the answer did."""
    PROTOCOL = "protocol"
    """What came is not HTTP."""
    TOO_LONG = "too_long"
    """The whole answer was wanted and there is too much of it."""
    REQUEST = "request"
    """The call could not be put together, such as a header with a line break."""
    CLOSED = "closed"
    """This process is about to stop."""


_BY_KIND = (
    (RequestTimeoutError, Failure.TIMEOUT, "out of time"),
    (ClientClosedError, Failure.CLOSED, STOPPING),
    (BuilderError, Failure.REQUEST, "the call cannot be put together"),
)


def failure_of(error: PyreqwestError) -> tuple[Failure, str]:
    """Return the class of the HTTP client's error, and its innermost cause in words."""
    causes = _causes_of(error)
    connecting = "client error (Connect)" in causes
    cause = causes[-1] if len(causes) > 1 else "no cause was told"  # the outermost one holds the URL
    for kind, failure, text in _BY_KIND:
        if isinstance(error, kind):
            return failure, f"{text} while connecting" if connecting else text
    if connecting and "tcp connect error" in causes:
        return Failure.CONNECT, f"no connection: {cause}"
    if connecting or "received fatal alert" in cause:
        return Failure.TLS, f"no agreement on TLS: {cause}"
    if isinstance(error, NetworkError) or began_to_answer(error):
        return Failure.RESET, f"the connection ended too early: {cause}"
    return Failure.PROTOCOL, f"the answer is not HTTP: {cause}"


def began_to_answer(error: PyreqwestError) -> bool:
    """Tell whether an answer's head had come, status included, before its body broke off."""
    return any(cause.startswith(_BODY) for cause in _causes_of(error))  # with the URL behind it, or without


def _causes_of(error: PyreqwestError) -> list[str]:
    if not isinstance(error, DetailedPyreqwestError):
        return []
    return [cause["message"] for cause in error.details["causes"] or ()]


def plain(text: str) -> str:
    """Return a text as one short line of ASCII: parts of it may come from the peer."""
    return _ODD.sub("?", text)[:MAX_TEXT]


def retry_after_of(values: Iterable[str], now: int) -> int | None:
    """Return the seconds a `Retry-After` asks for: a number of them, or an HTTP date; `now` in µs.

    None without the header or if it cannot be read; the longest if it is there twice.
    """
    waits = [wait for wait in (_wait_of(value.strip(), now) for value in values) if wait is not None]
    return max(waits, default=None)


def _wait_of(value: str, now: int) -> int | None:
    if _SECONDS.fullmatch(value):
        return MAX_RETRY_AFTER if len(value) > len(str(MAX_RETRY_AFTER)) else min(int(value), MAX_RETRY_AFTER)
    if len(value) > _LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(value)
        moment = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(ceil(moment - now / 1_000_000), 0), MAX_RETRY_AFTER)
