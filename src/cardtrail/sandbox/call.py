"""Calls to the platform: the one place where the sandbox speaks HTTP, and only ever to its own address."""

import time
from datetime import timedelta
from typing import Any

import msgspec
from pyreqwest.client import Client, ClientBuilder, SyncClientBuilder
from pyreqwest.exceptions import RequestError

from cardtrail.errors import Refused, StoreUnavailable
from cardtrail.heed import heeded
from cardtrail.protocol.token import GRANT, SECOND, TOKEN_PATH, PrivateKey, make_assertion

INGEST_PATH = "/ingest/v1/events"
BASE_PATH = "/banking/v1"
RENEW_AFTER = 0.6
"""Part of a token's life after which a new one is fetched."""
_AGAIN = frozenset({401, 408, 429, 500, 502, 503, 504})
"""Answers after which the same call can succeed."""


TIMEOUT = timedelta(seconds=10)
"""Longest time for one call."""


def client() -> Client:
    """Return an HTTP client that goes nowhere but where it is sent: no proxy, no redirect."""
    return ClientBuilder().no_proxy().follow_redirects(enable=False).timeout(TIMEOUT).build()


def ask(method: str, url: str, token: str, content: object = None, timeout: timedelta = TIMEOUT) -> Any:
    """Call without an event loop; return the answer's JSON. Raises Refused or StoreUnavailable."""
    with SyncClientBuilder().no_proxy().follow_redirects(enable=False).timeout(timeout).build() as http:
        request = http.request(method, url).bearer_auth(token).header("content-type", "application/json")
        body = b"" if content is None else msgspec.json.encode(content)
        try:
            response = request.body_bytes(body).build().send()
            return _content(url, response.status, bytes(response.bytes()))
        except RequestError as error:
            raise StoreUnavailable(f"{url} cannot be reached: {error}") from None


class _Expired(StoreUnavailable):
    """The token is not believed any more; the same call can succeed with a new one."""


class Pretender(msgspec.Struct, frozen=True):
    """A registered party that the sandbox plays."""

    party_id: str
    kid: str
    key: PrivateKey


class Caller:
    """One party's calls to the platform at `root`, such as `http://127.0.0.1:8080`."""

    def __init__(self, http: Client, root: str, party: Pretender) -> None:
        self._http = http
        self._root = root
        self.party = party
        self._renew_at = 0.0
        self.token = ""

    async def renew(self) -> bool:
        """Fetch a token if it is time to; return whether it was. Raises StoreUnavailable."""
        now = time.time()  # not monotonic: tokens go on ageing while a laptop sleeps
        if now < self._renew_at:
            return False
        self._renew_at = now + await self._fetch(now) * RENEW_AFTER
        return True

    async def _fetch(self, now: float) -> float:
        """Take a new token; return how long it lives, seconds.

        The old one is not shown for it. A refusal is not for good: clocks that differ now can agree later.
        """
        url = self._root + TOKEN_PATH
        assertion = make_assertion(self.party.party_id, self.party.kid, self.party.key, int(now * SECOND), audience=url)
        try:
            answer = await self._send(url, {"grant_type": GRANT, "assertion": assertion})
        except Refused as error:
            raise StoreUnavailable(f"no token: {error}") from None
        self.token = answer["access_token"]
        return float(answer["expires_in"])

    async def post(self, path: str, content: object) -> Any:
        """Return the answer's JSON. Raises Refused, or StoreUnavailable if the same call may succeed later.

        Where the token is not believed any more, a new one is taken for this call, before it is time to.
        """
        try:
            return await self._send(self._root + path, content, self.token)
        except _Expired:
            await self._fetch(time.time())
            return await self._send(self._root + path, content, self.token)

    async def _send(self, url: str, content: object, token: str = "") -> Any:
        request = self._http.post(url).header("content-type", "application/json")
        if token:
            request = request.bearer_auth(token)
        try:
            response = await heeded(request.body_bytes(msgspec.json.encode(content)).build().send())
            body = bytes(await heeded(response.bytes()))
        except RequestError as error:
            raise StoreUnavailable(f"{url} cannot be reached: {error}") from None
        return _content(url, response.status, body)


def _error_of(body: bytes) -> str:
    """Return what a refusal says for people; nothing where it says it in another form."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ""
    return str(told.get("error", "")) if isinstance(told, dict) else ""


def _content(url: str, status: int, body: bytes) -> Any:
    """Return what a good answer holds. Raises Refused, or StoreUnavailable for an answer that may be another later."""
    if status not in (200, 202):
        text = _error_of(body) or f"{url} answers {status}: {body[:300]!r}"
        if status == 401:  # noqa: PLR2004 -- an HTTP status
            raise _Expired(text)
        raise StoreUnavailable(text) if status in _AGAIN else Refused(text)
    return msgspec.json.decode(body)
