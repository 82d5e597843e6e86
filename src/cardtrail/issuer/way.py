"""The way of a call through the receiver: verify, decode, one transaction, answer. Contract section 7.

One generator for both sorts of receiver: it yields what takes time, the issuer's own check and the mirror's
transaction, and all between is pure.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from cardtrail.errors import CardtrailError, NotFound, SettingError, Unauthorized
from cardtrail.issuer.message import Message, TooManyElements, message_of
from cardtrail.issuer.receipt import Receipt, receipt_of, refused
from cardtrail.issuer.sight import Seen
from cardtrail.issuer.token import token_receipt
from cardtrail.issuer.trust import Authenticate, Headers, Trust
from cardtrail.protocol.certificate import is_listed, proxies_of
from cardtrail.protocol.codec import CORRELATION_ID, ISSUER_ID
from cardtrail.protocol.problem import problem

MAX_BODY = 2_097_152
"""Largest body that is taken, bytes; the platform sends half as much at most."""
RETRY_SECONDS = 5
"""How long a sender is told to wait where an issuer's own check has failed."""
SECOND = 1_000_000

_JSON = re.compile(r"application/(?:[a-z0-9.+-]{1,60}\+)?json", re.IGNORECASE | re.ASCII)
_log = logging.getLogger("cardtrail.issuer")


class Pairs(Protocol):
    """Headers as frameworks have them: a mapping, or what has `items` as a mapping does."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return names and values; a name may be there twice."""
        ...


Given = Pairs | Iterable[tuple[str, str] | tuple[bytes, bytes]]
"""Headers as they are given to a receiver."""


class Check(NamedTuple):
    """A step of a call's way: ask the issuer's own check."""

    authenticate: Authenticate
    headers: Headers


class Taking(NamedTuple):
    """A step of a call's way: take a message into the mirror."""

    issuer_id: str
    message: Message


Way = Generator[Check | Taking, Any, Receipt]
"""A call's way. It is sent what each step gave, or thrown what it raised, and returns the receipt."""


def headers_of(given: Given) -> dict[str, str]:
    """Return headers by name in lower case; what is there twice is joined by `, `, and proves nothing in that form."""
    found: dict[str, str] = {}
    pairs: Iterable[tuple[Any, Any]] = given.items() if hasattr(given, "items") else given
    for name, value in pairs:
        if isinstance(name, bytes):
            name, value = name.decode("latin-1"), value.decode("latin-1")  # noqa: PLW2901 -- the same, as text
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def correlation_of(headers: Headers) -> str:
    """Return the id of the call that made what a notification tells of, for logs; `-` where none came that is one."""
    found = headers.get("x-correlation-id", "")
    return found if CORRELATION_ID.fullmatch(found) else "-"


class Desk:
    """What both receivers are: whom they trust, and the way of a call.

    `trusts` are the proofs by issuer. What `trusted_proxies`, addresses or networks, say in `certificate_header` of
    their clients' certificates is believed. `wall` gives µs since 1970. Raises SettingError.
    """

    def __init__(
        self, trusts: Mapping[str, Trust], trusted_proxies: Sequence[str], certificate_header: str,
        wall: Callable[[], int],
    ) -> None:  # fmt: skip
        if isinstance(trusted_proxies, str):
            raise SettingError("trusted_proxies: a list is expected")
        self._trusts = dict(trusts)
        self._proxies = proxies_of(trusted_proxies)
        self._certificate_header = certificate_header.lower()
        self._wall = wall
        self._seen = Seen()
        self._clients = [trust.credentials for trust in trusts.values() if trust.credentials is not None]
        self.answers: Counter[int] = Counter()
        """Calls answered since the start, by HTTP status."""
        _check(self._trusts)
        if not self._proxies and any("certificate" in trust.proofs for trust in trusts.values()):
            raise SettingError("trusted_proxies: needed with certificates, or nobody is believed about them")

    @property
    def issuers(self) -> frozenset[str]:
        """The issuers whose notifications are taken."""
        return frozenset(self._trusts)

    @property
    def gives_tokens(self) -> bool:
        """Whether there is a client that the token endpoint knows."""
        return bool(self._clients)

    def token(self, headers: Given, body: bytes) -> Receipt:
        """Answer a token request: client credentials, by Basic auth or in the form. No waiting is in it."""
        return token_receipt(self._clients, headers_of(headers), body, self._wall() // SECOND)

    def way(self, headers: Headers, body: bytes, issuer_id: str, peer: str) -> Way:
        """Return the way of a call. `peer` is the address it came from, empty where that is not known."""
        try:
            now = self._wall()
            trust = self._trusts.get(issuer_id)
            if trust is None:
                return receipt_of(NotFound("no such issuer"))
            objection = _objection_to(headers, body)
            if objection is not None:
                return objection
            trust.check(headers, body, self._certificate(headers, peer), now // SECOND)
            if trust.authenticate is not None:
                yield from _checked(Check(trust.authenticate, headers))
            return (yield from self._taken(issuer_id, message_of(issuer_id, body, now, self._seen)))
        except CardtrailError as error:
            return _answer_to(error)

    def _certificate(self, headers: Headers, peer: str) -> str | None:
        """Return what a trusted proxy says of the client's certificate; what others say of it is not heard."""
        told = headers.get(self._certificate_header)
        return told if told is not None and is_listed(peer, self._proxies) else None

    def _taken(self, issuer_id: str, message: Message) -> Way:
        outcomes = yield Taking(issuer_id, message)
        self._seen.note(issuer_id, message.sightings)
        if message.refusal is not None:
            raise message.refusal
        return Receipt(status=204, outcomes=tuple(outcomes), why="; ".join(message.bad[:3]))

    def noted(self, issuer_id: str, receipt: Receipt, headers: Headers) -> Receipt:
        """Count an answer, and log it where not all was well, with the correlation id of the call."""
        self.answers[receipt.status] += 1
        if receipt.why:
            level = logging.INFO if 400 <= receipt.status < 500 else logging.WARNING  # noqa: PLR2004 -- HTTP statuses
            _log.log(
                level, "notification: status=%d issuer=%.20r correlation_id=%s: %s", receipt.status, issuer_id,
                correlation_of(headers), receipt.why,
            )  # fmt: skip
        return receipt


class _Unchecked(CardtrailError):
    """The issuer's own check has failed: whether to believe the call is not known."""


def _checked(check: Check) -> Generator[Check, Any, None]:
    """Ask the issuer's own check. Raises Unauthorized unless it says True and nothing else."""
    try:
        allowed = yield check
    except CardtrailError:
        raise
    except Exception:  # noqa: BLE001 -- other people's code; whatever it is, the call is not believed
        _log.exception("authenticate failed: correlation_id=%s", correlation_of(check.headers))
        raise _Unchecked("authenticate failed") from None
    if allowed is not True:
        raise Unauthorized("the issuer's own check says no")


def _answer_to(error: CardtrailError) -> Receipt:
    if isinstance(error, TooManyElements):
        return refused(problem(413, error.code, str(error)), str(error))
    if isinstance(error, _Unchecked):
        later = ((b"retry-after", b"%d" % RETRY_SECONDS),)
        return refused(problem(503, "UNAVAILABLE", "try again in a moment", later), str(error))
    return receipt_of(error)


def _objection_to(headers: Headers, body: bytes) -> Receipt | None:
    """Return the answer to a body that nobody would look at, whoever sent it."""
    if len(body) > MAX_BODY:
        return too_large()
    kind = headers.get("content-type", "application/json").partition(";")[0].strip()
    if not _JSON.fullmatch(kind) or headers.get("content-encoding", "identity").lower() != "identity":
        text = "JSON is expected, and not compressed"
        return refused(problem(415, "UNSUPPORTED_MEDIA_TYPE", text), text)
    return None


def too_large() -> Receipt:
    """Return the answer to a body that is too large, which need not be read for it."""
    text = f"at most {MAX_BODY} bytes"
    return refused(problem(413, "BODY_TOO_LARGE", text), text)


def _check(trusts: Mapping[str, Trust]) -> None:
    """Raise SettingError for issuers that could be mistaken for each other."""
    owners: dict[str, str] = {}
    for issuer_id, trust in trusts.items():
        if not ISSUER_ID.fullmatch(issuer_id):
            raise SettingError(f"trusts: {issuer_id[:20]!r} is no issuer's id: 10 of A-Z, a-z, 0-9, - and _")
        for secret in trust.secrets:  # a signature covers the body, and the issuer stands in the path
            if owners.setdefault(secret, issuer_id) != issuer_id:
                raise SettingError(
                    f"secrets: {owners[secret]} and {issuer_id} share one, so that what was signed for the one is "
                    "good for the other"
                )
