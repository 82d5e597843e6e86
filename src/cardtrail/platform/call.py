"""One call to an endpoint: the body, the signature, the token; then what the answer means."""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from urllib.parse import quote

import msgspec

from cardtrail.logs import masked
from cardtrail.platform.answer import Answer, failed
from cardtrail.platform.cause import HEADER, correlation_of, shared, trace_of
from cardtrail.platform.egress import KEPT_BODY, Egress, Tls
from cardtrail.platform.endpoint import Endpoint, Secrets, Signing
from cardtrail.platform.oauth import TokenSource
from cardtrail.protocol.codec import strict_form
from cardtrail.protocol.envelope import body_of, webhook_id_of
from cardtrail.protocol.failure import Failure
from cardtrail.protocol.signature import Signer, headers_of
from cardtrail.traces import traceparent as traces

CURSOR_HEADER = "x-cardtrail-cursor"
MAX_BODY = 1_048_576
"""Largest body of a call, bytes; one picture alone may be larger."""
MAX_SHOWN = 1_024
"""How much of an answer the ledger keeps, characters."""
NOT_SENT = failed(Failure.CLOSED, "it was no longer ours to send", 0.0)
"""What came of a call that was never made."""
LEAST_TOLD = 3
"""So many characters of a secret at the end of what is kept tell nothing of it."""
_MASK = "***"
_CUT_DIGITS = re.compile(r"\d{7,19}\Z")
"""Six digits of a card number may be shown, they tell the bank."""
Headers = Sequence[tuple[str, str]]
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
    cause: str = ""

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
        self._secrets = secrets if config.signing is not Signing.NONE and not config.strict else Secrets()
        self._signing: tuple[str, ...] = ()
        self._signer: Signer | None = None
        self._as_of = -1
        self._sign_as_of(now // 1_000_000)
        self._tokens = (
            TokenSource(self._post_whole, config.oauth, secrets.client_secret, monotonic) if config.oauth else None
        )

    def _sign_as_of(self, seconds: int) -> None:
        """Sign with the secrets that are in use then, seconds since 1970: an old one ends while this lives."""
        if seconds == self._as_of:
            return
        self._as_of, valid = seconds, self._secrets.valid(seconds * 1_000_000)
        if valid != self._signing:
            self._signing, self._signer = valid, Signer(valid) if valid else None

    async def _post_whole(self, url: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        return await self._egress.post(self._peer, url, headers, body, self._tls, whole=True)

    async def send(
        self, messages: Sequence[Message], cursor: str, seconds: int, may_send: Callable[[], bool] = lambda: True,
        traceparent: str = "",
    ) -> Answer:  # fmt: skip
        """Send these in one call, once more with a fresh token where the issuer refuses the old one.

        `seconds` since 1970 go into the signature. NOT_SENT if `may_send` came to an end while there was no token
        yet. The call bears the correlation id of the change that it tells of, if there is one for all of them, and
        `traceparent`, or where that is empty the one that is kept with the change.
        """
        if self._strict:
            pictures = [strict_form(each.picture, each.strict_length) for each in messages]
        else:
            pictures = [each.picture for each in messages]
        names, caused = [each.name for each in messages], _caused(messages, traceparent)
        return await self._post(pictures, self._id_of(names), cursor, seconds, may_send, caused)

    async def beat(self, cursor: str, seconds: int, may_send: Callable[[], bool] = lambda: True) -> Answer:
        """Send a heartbeat: no operation, and the high-water mark."""
        return await self._post([], self._id_of([f"heartbeat#{seconds}"]), cursor, seconds, may_send)

    def _id_of(self, names: Sequence[str]) -> str:
        return webhook_id_of(self._endpoint.endpoint_id, names, strict=self._strict)

    async def _post(  # noqa: PLR0913, PLR0917 -- one call is one thing, as in Egress
        self, pictures: Sequence[bytes], webhook_id: str, cursor: str, seconds: int, may_send: Callable[[], bool],
        caused: Headers = (),
    ) -> Answer:  # fmt: skip
        body = body_of(pictures, None if self._strict else cursor)
        headers = [("content-type", "application/json")]
        if not self._strict:
            headers += [(CURSOR_HEADER, cursor), *caused]
        self._sign_as_of(seconds)
        if self._signer is not None:
            headers += headers_of(self._signer, webhook_id, seconds, body).items()
        if self._tokens is None:
            return await self._egress.post(self._peer, self._target, headers, body, self._tls)
        return await self._post_with_token(self._tokens, headers, body, may_send)

    async def _post_with_token(
        self, tokens: TokenSource, headers: list[tuple[str, str]], body: bytes, may_send: Callable[[], bool]
    ) -> Answer:
        answer = NOT_SENT
        for is_last in (False, True):
            wrong = await tokens.fetch()
            if wrong is not None:
                return wrong
            if not may_send():  # whoever else sends by now does it with a token of its own
                break
            token = tokens.token
            bearing = [*headers, ("authorization", f"Bearer {token}")]
            answer = await self._egress.post(self._peer, self._target, bearing, body, self._tls)
            if answer.status != _UNAUTHORIZED or is_last:
                break
            tokens.forget(token)
        return answer

    def shown(self, answer: Answer) -> str:
        """Return what the ledger may keep of an answer: the text of a failure, or the beginning of the body, masked."""
        if answer.failure is not None:
            text, is_cut = answer.text, False
        else:
            text, is_cut = answer.body.decode("utf-8", "replace"), len(answer.body) >= KEPT_BODY
        if not text:  # as most answers that are well
            return text
        for secret in self._hidden():
            text = text.replace(secret, _MASK)
            if is_cut:
                text = _without_beginning_of(secret, text)
        text = masked(text.replace("\x00", "\ufffd"))
        if is_cut:  # it may be the beginning of a card number
            text = _CUT_DIGITS.sub(lambda found: "*" * len(found[0]), text)
        return text[:MAX_SHOWN]

    def _hidden(self) -> Iterator[str]:
        """Yield what must not be shown, as a receiver may write it."""
        signing = [part for secret in self._signing for part in (secret, secret.partition("_")[2])]
        for secret in (*(self._tokens.hidden if self._tokens is not None else ()), *signing):
            if secret:
                in_json = msgspec.json.encode(secret)[1:-1].decode()
                yield from dict.fromkeys((secret, quote(secret, safe=""), in_json, in_json.replace("/", "\\/")))


def _caused(messages: Sequence[Message], traceparent: str) -> Headers:
    """Return the headers that name the call of which all these tell, where it is one."""
    causes = {each.cause for each in messages}  # mostly one, or none
    correlation_id = shared(map(correlation_of, causes))
    trace = traceparent or shared(map(trace_of, causes))
    return [pair for pair in ((HEADER, correlation_id), (traces.HEADER, trace)) if pair[1]]


def _without_beginning_of(secret: str, text: str) -> str:
    """Return a text that was cut off without what may be the beginning of a secret at its end."""
    for length in range(min(len(secret), len(text)), LEAST_TOLD, -1):
        if text.endswith(secret[:length]):
            return text[:-length] + _MASK
    return text
