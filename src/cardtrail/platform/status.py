"""The on-demand answer: a bare ASGI callable that stands in front of the router.

Route, check the token, read one row, send the stored bytes. Nothing is decoded, nothing is drawn, and only answers
that were slow, failed or sampled are logged: one log line costs a third of a request.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs

from cardtrail.db import Database, Transaction
from cardtrail.errors import CardtrailError, Forbidden, InputError, NotFound
from cardtrail.platform.auth import Principal
from cardtrail.platform.parties import READ
from cardtrail.platform.tls import CERTIFICATE
from cardtrail.protocol.codec import CORRELATION_ID, answer_of, etag_of, strict_form
from cardtrail.protocol.problem import problem_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Check = Callable[[bytes | None, str | None, str], Principal]
"""(Authorization header, certificate thumbprint, peer address) -> who calls; raises Unauthorized or TooMany."""

SLOW = 0.25
"""An answer that took longer is logged; seconds."""
SAMPLE = 1_000
"""One of so many answers is logged all the same."""

# ASCII, or ignoring case would let the long s pass for an s and the Kelvin sign for a k.
_PATH = re.compile(
    r"/banking/v1/issuers/([A-Za-z0-9_-]{10})/physicalcards/([A-Za-z0-9_-]{1,48})/productionstatus",
    re.IGNORECASE | re.ASCII,
)
_METHODS = frozenset({"GET", "HEAD"})
_UNKNOWN = NotFound("no such card")


class StatusRoute:
    """Answers `GET …/productionStatus`, and HEAD, itself and hands everything else on to `app`."""

    def __init__(self, app: Asgi, db: Database, check: Check, log: Callable[..., object]) -> None:
        self._app = app
        self._db = db
        self._find = db.lookup("latest_picture")
        self._check = check
        self._log = log
        self.answers: Counter[int] = Counter()
        """Answers since the start, by HTTP status."""
        self.slow = 0
        """How many of them took longer than SLOW."""
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] in _METHODS:
            path = _PATH.fullmatch(scope["path"])
            if path is not None:
                await self._answer(scope, send, path[1], path[2])
                return
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, send: Send, issuer_id: str, card_id: str) -> None:
        began = perf_counter()
        authorization, wanted, correlation = _picked(scope["headers"])
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"private, no-cache")]
        try:
            client = scope["client"]
            caller = self._check(authorization, scope.get(CERTIFICATE), client[0] if client else "")
            if not caller.may_act_for(issuer_id) or READ not in caller.scopes:
                raise Forbidden("the token does not allow to read this issuer's cards")
            if correlation is not None:
                headers.append(_echo(correlation))
            body, etag = await self._body(issuer_id, card_id, scope["query_string"], strict=caller.strict)
            status = 200
            if etag is not None:
                headers.append((b"etag", etag.encode()))
                if wanted is not None and _matches(wanted, etag):
                    status, body = 304, b""
        except CardtrailError as error:
            problem = problem_of(error)
            status, body = problem.status, problem.body
            headers += problem.headers
        if status != 304:  # noqa: PLR2004 -- an HTTP status
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._note(status, perf_counter() - began, issuer_id, correlation)

    async def _body(self, issuer_id: str, card_id: str, query: bytes, *, strict: bool) -> tuple[bytes, str | None]:
        """Return the answer and its validator; the strict form has none, since validators are ours."""
        if query and not strict and _wants_history(query):
            body = await self._history(issuer_id, card_id)
            return body, etag_of(body)
        row = await self._find(issuer_id, card_id)
        if row is None:
            raise _UNKNOWN
        picture, strict_length, etag = row
        if strict:
            return answer_of((strict_form(picture, strict_length),)), None
        return b'{"operations":[%b]}' % picture, etag

    async def _history(self, issuer_id: str, card_id: str) -> bytes:
        def work(tx: Transaction) -> list[tuple[Any, ...]]:
            return tx.all("history", issuer_id=issuer_id, card_id=card_id)

        rows = await self._db.read(work)
        if not rows:
            raise _UNKNOWN
        return answer_of(bytes(row[0]) for row in rows)

    def _note(self, status: int, seconds: float, issuer_id: str, correlation: bytes | None) -> None:
        self.answers[status] += 1
        self._count += 1
        if status >= 500 or seconds > SLOW or self._count % SAMPLE == 0:  # noqa: PLR2004 -- an HTTP status
            self.slow += seconds > SLOW
            self._log(
                "production_status", status=status, ms=round(seconds * 1000, 2), issuer_id=issuer_id,
                correlation_id=correlation.decode("latin-1")[:64] if correlation else None,
            )  # fmt: skip


def is_status(path: str) -> bool:
    """Tell whether this route answers a path."""
    return _PATH.fullmatch(path) is not None


def _picked(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Return the values of Authorization, If-None-Match and x-correlation-id."""
    authorization = wanted = correlation = None
    for name, value in headers:
        if name == b"authorization":
            authorization = value
        elif name == b"if-none-match":
            wanted = value
        elif name == b"x-correlation-id":
            correlation = value
    return authorization, wanted, correlation


def _echo(correlation: bytes) -> tuple[bytes, bytes]:
    if not CORRELATION_ID.fullmatch(correlation.decode("latin-1")):
        raise InputError("x-correlation-id", "1 to 64 of A-Z a-z 0-9 _ -")
    return b"x-correlation-id", correlation


def _wants_history(query: bytes) -> bool:
    values = parse_qs(query.decode("latin-1"), max_num_fields=20).get("history", ["false"])
    if values not in (["true"], ["false"]):
        raise InputError("history", "true or false", "FIELD_INVALID_VALUE")
    return values == ["true"]


def _matches(wanted: bytes, etag: str) -> bool:
    """Compare validators weakly, as If-None-Match asks; `*` matches whatever exists."""
    tags = (tag.strip().removeprefix("W/") for tag in wanted.decode("latin-1").split(","))
    return any(tag in (etag, "*") for tag in tags)
