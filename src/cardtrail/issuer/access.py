"""The client's access token: fetched by a signed assertion, kept, and renewed before it ends. Contract section 5.

The drivers see to it that one caller at a time runs `renewal`, and that those who waited take what came of it.
"""

import copy
from urllib.parse import urlencode

import msgspec

from cardtrail.errors import RemoteError
from cardtrail.issuer.steps import Response
from cardtrail.protocol.failure import plain

RENEW_AFTER = 0.75
"""Part of a token's life after which a new one is fetched while the old one still works."""
GONE_AFTER = 0.95
"""Part of a token's life after which it is used no more."""
DEFAULT_SECONDS = 300.0
"""Life of a token whose answer does not say."""
MAX_SECONDS = 86_400.0
"""Longest time a token is kept."""
MAX_TOKEN = 16_384
"""Longest token, characters."""
HOLD_OFF = 1.0
"""For how long after a failure nobody tries again, seconds: its error is everybody's."""
EARLY_HOLD_OFF = 15.0
"""The same for a renewal that failed while the old token still worked."""


class TokenAnswer(msgspec.Struct):
    """The token endpoint's answer; `expires_in` is a number, or a text from some servers."""

    access_token: str
    expires_in: float | str | None = None


class Access:
    """One client's token. `now` is the session's clock, seconds."""

    def __init__(self) -> None:
        self.authorization = ""
        """The header's value; empty without a token."""
        self.round = 0
        """How many renewals have ended, well or not."""
        self._early_at = 0.0
        self._gone_at = 0.0
        self._error: RemoteError | None = None
        self._error_until = 0.0

    def is_good(self, now: float) -> bool:
        """Tell whether there is a token that works."""
        return now < self._gone_at

    def is_fresh(self, now: float) -> bool:
        """Tell whether there is one, and no time yet to ask for another."""
        return now < self._early_at

    def refuse(self, authorization: str) -> None:
        """The other side does not believe this token; it may have been replaced meanwhile."""
        if authorization == self.authorization:
            self._gone_at = self._early_at = 0.0

    def take(self, answer: TokenAnswer, asked: float) -> None:
        """Keep a new token that was asked for then. Raises ValueError for what is no token."""
        token = answer.access_token
        if not 0 < len(token) <= MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("the token in it cannot be used")
        seconds = float(DEFAULT_SECONDS if answer.expires_in is None else answer.expires_in)
        if not seconds > 0:
            raise ValueError("the token in it has expired")
        seconds = min(seconds, MAX_SECONDS)
        self.authorization = f"Bearer {token}"
        self._early_at = asked + seconds * RENEW_AFTER
        self._gone_at = asked + seconds * GONE_AFTER
        self._error = None
        self.round += 1

    def fail(self, error: RemoteError, now: float) -> None:
        """Remember that there was no new token, for whoever waits for it."""
        self._error, self._error_until = error, now + HOLD_OFF
        self._early_at = min(max(self._early_at, now + EARLY_HOLD_OFF), self._gone_at)
        self.round += 1

    def failure(self, seen: int, now: float) -> RemoteError | None:
        """Return what went wrong for a caller that had seen so many renewals, or a moment ago; None if nothing."""
        if self._error is None or (seen == self.round and now >= self._error_until):
            return None
        return copy.copy(self._error)  # raised by many, and each adds its own traceback


def form_of(grant: str, assertion: str, scope: str | None) -> bytes:
    """Return the body of a token request."""
    members = {"grant_type": grant, "assertion": assertion}
    if scope is not None:
        members["scope"] = scope
    return urlencode(members).encode()


def token_of(response: Response) -> TokenAnswer:
    """Return what a token endpoint's success says. Raises ValueError for what cannot be understood."""
    try:
        return msgspec.json.decode(response.body, type=TokenAnswer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(plain(str(error))) from None
