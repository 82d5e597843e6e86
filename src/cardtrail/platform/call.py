"""One call to an endpoint: the body, the signature, the token; then what the answer means."""

from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from cardtrail.platform.answer import Answer
from cardtrail.platform.egress import Egress, Tls
from cardtrail.platform.endpoint import Endpoint, Secrets, Signing
from cardtrail.platform.logs import masked
from cardtrail.platform.oauth import TokenSource
from cardtrail.protocol.codec import strict_form
from cardtrail.protocol.envelope import body_of, webhook_id_of
from cardtrail.protocol.signature import Signer, headers_of

CURSOR_HEADER = "x-cardtrail-cursor"
MAX_BODY = 1_048_576
"""Largest body of a call, bytes; one picture alone may be larger."""
MAX_SHOWN = 1_024
"""How much of an answer the ledger keeps, characters."""
_MASK = "***"
_UNAUTHORIZED, _GONE = 401, 410
_REFUSING = frozenset({400, 413})


class Message(msgspec.Struct, frozen=True):
    """A notification as it was claimed; times in µs."""

    notification_id: str
    operation_id: str
    lot: int
    round: int
    attempts: int
    due_at: int
    picture: bytes
    strict_length: int

    @property
    def name(self) -> str:
        """What its body is known by: a replay may say something else under the same id."""
        return f"{self.notification_id}#{self.round}" if self.round else self.notification_id


class Verdict(StrEnum):
    """What an answer means for what was sent."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    GONE = "gone"
    FAILED = "failed"


def verdict_of(answer: Answer) -> Verdict:
    """Return what an answer means; contract section 7."""
    status = answer.status
    if status is None or answer.failure is not None:
        return Verdict.FAILED
    if 200 <= status < 300:  # noqa: PLR2004 -- every 2xx is a success
        return Verdict.DELIVERED
    if status in _REFUSING:
        return Verdict.REFUSED
    return Verdict.GONE if status == _GONE else Verdict.FAILED


class Caller:
    """Calls one endpoint, as it was configured when this was made."""

    def __init__(
        self, egress: Egress, endpoint: Endpoint, secrets: Secrets, now: int, monotonic: Callable[[], float]
    ) -> None:
        config = endpoint.config
        self._egress = egress
        self._endpoint = endpoint
        self._peer = f"{endpoint.issuer_id}/{endpoint.endpoint_id}"
        self._target = endpoint.target
        self._strict = config.strict
        self._tls = Tls(secrets.client_pem.encode(), secrets.ca_pem.encode())
        signing = secrets.valid(now) if config.signing is not Signing.NONE and not config.strict else ()
        self._signer = Signer(signing) if signing else None
        self._hidden = [secret for secret in (secrets.client_secret, *signing) if secret]
        self._tokens = (
            TokenSource(self._post_whole, config.oauth, secrets.client_secret, monotonic) if config.oauth else None
        )

    async def _post_whole(self, url: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        return await self._egress.post(self._peer, url, headers, body, self._tls, whole=True)

    async def send(self, messages: Sequence[Message], cursor: str, seconds: int) -> Answer:
        """Send these in one call, once more with a fresh token where the issuer refuses the old one.

        `seconds` since 1970 go into the signature.
        """
        if self._strict:
            pictures = [strict_form(each.picture, each.strict_length) for each in messages]
        else:
            pictures = [each.picture for each in messages]
        return await self._post(pictures, self._id_of([each.name for each in messages]), cursor, seconds)

    async def beat(self, cursor: str, seconds: int) -> Answer:
        """Send a heartbeat: no operation, and the high-water mark."""
        return await self._post([], self._id_of([f"heartbeat#{seconds}"]), cursor, seconds)

    def _id_of(self, names: Sequence[str]) -> str:
        return webhook_id_of(self._endpoint.endpoint_id, names, strict=self._strict)

    async def _post(self, pictures: Sequence[bytes], webhook_id: str, cursor: str, seconds: int) -> Answer:
        body = body_of(pictures, None if self._strict else cursor)
        headers = [("content-type", "application/json")]
        if not self._strict:
            headers.append((CURSOR_HEADER, cursor))
        if self._signer is not None:
            headers += headers_of(self._signer, webhook_id, seconds, body).items()
        if self._tokens is None:
            return await self._egress.post(self._peer, self._target, headers, body, self._tls)
        return await self._post_with_token(self._tokens, headers, body)

    async def _post_with_token(self, tokens: TokenSource, headers: list[tuple[str, str]], body: bytes) -> Answer:
        for is_last in (False, True):
            failed = await tokens.fetch()
            if failed is not None:
                return failed
            token = tokens.token
            bearing = [*headers, ("authorization", f"Bearer {token}")]
            answer = await self._egress.post(self._peer, self._target, bearing, body, self._tls)
            if answer.status != _UNAUTHORIZED or is_last:
                break
            tokens.forget(token)
        return answer

    def shown(self, answer: Answer) -> str:
        """Return what the ledger may keep of an answer: the text of a failure, or the beginning of the body, masked."""
        text = answer.text if answer.failure is not None else answer.body.decode("utf-8", "replace")
        token = self._tokens.token if self._tokens is not None else ""
        for secret in (*self._hidden, token):
            if secret:
                text = text.replace(secret, _MASK)
        return masked(text.replace("\x00", "�"))[:MAX_SHOWN]
