"""The issuer's own OAuth: a token by client credentials, fetched through the egress and kept until it is old."""

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode

import msgspec

from cardtrail.platform.answer import Answer
from cardtrail.platform.endpoint import OAuth

RENEW_AFTER = 0.9
"""Part of a token's life after which a new one is fetched."""
DEFAULT_SECONDS = 300.0
"""Life of a token whose answer does not say."""
MAX_SECONDS = 86_400.0
"""Longest time a token is kept."""
MAX_TOKEN = 16_384
"""Longest token, characters."""
MAX_REMEMBERED = 4
"""How many of the newest tokens must not be shown."""
_OK = 200


class _TokenIn(msgspec.Struct):
    """The token endpoint's answer; `expires_in` may be a string (contract section 7)."""

    access_token: str
    expires_in: float | str | None = None


Post = Callable[[str, list[tuple[str, str]], bytes], Awaitable[Answer]]
"""(URL, headers, body) -> the answer, whole."""


class TokenSource:
    """One endpoint's token; `post` calls the issuer, `monotonic` gives seconds."""

    def __init__(self, post: Post, oauth: OAuth, secret: str, monotonic: Callable[[], float]) -> None:
        self._post = post
        self._oauth = oauth
        self._secret = secret
        self._monotonic = monotonic
        self._pair = b64encode(f"{quote(oauth.client_id, safe='')}:{quote(secret, safe='')}".encode()).decode()
        self._lock = asyncio.Lock()
        self._asked = 0
        self._failed: Answer | None = None
        self._good_until = 0.0
        self._newest: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self.token = ""

    async def fetch(self) -> Answer | None:
        """Make sure that there is a token; return what went wrong, or None. One call for many who wait."""
        asked = self._asked
        async with self._lock:
            if self.token and self._monotonic() < self._good_until:
                return None
            if self._asked == asked:  # or somebody has asked meanwhile, and what came of it is for all who waited
                self._failed = await self._renew()
                self._asked += 1
            return self._failed

    @property
    def hidden(self) -> tuple[str, ...]:
        """What must not be shown of an answer: the secret, however it was sent, and the newest tokens."""
        return (self._pair, self._secret, *self._newest)

    def forget(self, token: str) -> None:
        """The issuer does not believe this token; it may have been replaced meanwhile."""
        if token == self.token:
            self.token = ""

    async def _renew(self) -> Answer | None:
        oauth = self._oauth
        headers = [
            ("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"),
            ("authorization", f"Basic {self._pair}"),  # RFC 6749, section 2.3.1
        ]  # fmt: skip
        form = {"grant_type": "client_credentials"} | ({"scope": oauth.scope} if oauth.scope else {})
        asked = self._monotonic()
        answer = await self._post(oauth.token_url, headers, urlencode(form).encode())
        if answer.failure is not None:
            return msgspec.structs.replace(answer, status=None, body=b"", text=f"token: {answer.text}")
        found = _token_of(answer) if answer.status == _OK else None
        if found is None:
            return _no_token(answer)
        self.token, seconds = found
        self._newest.append(self.token)
        self._good_until = asked + seconds * RENEW_AFTER
        return None


def _no_token(answer: Answer) -> Answer:
    """Tell of an answer without a token; its body stays out of the ledger, it may hold one."""
    text = f"the token endpoint answered {answer.status} without a token"
    return msgspec.structs.replace(answer, status=None, failure="token", text=text, body=b"")


def _token_of(answer: Answer) -> tuple[str, float] | None:
    try:
        found = msgspec.json.decode(answer.body, type=_TokenIn)
        seconds = float(found.expires_in if found.expires_in is not None else DEFAULT_SECONDS)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not 0 < len(found.access_token) <= MAX_TOKEN or not found.access_token.isprintable() or not seconds > 0:
        return None
    return found.access_token, min(seconds, MAX_SECONDS)
