"""What one client knows while it lives, and how a call is made in it: turn, token, repetitions, deadline."""

from collections.abc import Callable
from contextlib import suppress
from random import getrandbits
from secrets import token_hex

from cardtrail.errors import RemoteError, RemoteUnauthorized
from cardtrail.issuer.access import Access, form_of, token_of
from cardtrail.issuer.link import Link
from cardtrail.issuer.pace import Pace
from cardtrail.issuer.refusal import bad_answer, refusal_of, unreachable
from cardtrail.issuer.retry import may_repeat, wait_of
from cardtrail.issuer.steps import Failed, Flow, Renew, Request, Response, Wait
from cardtrail.protocol.failure import Failure
from cardtrail.protocol.token import GRANT, make_assertion

FORM = "application/x-www-form-urlencoded"
ASSERTION_SECONDS = 300
"""How long an assertion is valid; half of the longest, since clocks differ."""

_REDIRECT, _REFUSED, _UNAUTHORIZED, _TOO_MANY, _SERVER_ERROR = 300, 400, 401, 429, 500
_NO_TURN = Failed(Failure.TIMEOUT, "not sent: the client's own rate, or an earlier 429, leaves no turn in time")
_TOO_LATE = Failed(Failure.TIMEOUT, "not sent: out of time")


class Session:
    """One client's state. `clock` is monotonic and in seconds, `wall` gives µs, `chance` 0.0 to 1.0."""

    def __init__(
        self, link: Link, clock: Callable[[], float], wall: Callable[[], int], chance: Callable[[], float]
    ) -> None:
        self.link = link
        self.clock = clock
        self._wall = wall
        self._chance = chance
        self._access = Access()
        self._pace = Pace(link.rate)
        self.features: dict[str, bool] = {}
        """Which extensions the other side has, as far as it is known: `feed`, `batch`."""
        self.root = f"{link.base_url}/issuers/{link.issuer_id}"
        """What every URL of the issuer begins with."""

    def call(
        self, method: str, url: str, body: bytes | None = None, *, is_safe: bool = True, longer: float = 0.0
    ) -> Flow[tuple[Request, Response]]:
        """Make a call; return what was sent and its success. Raises RemoteError for everything else.

        `is_safe` says that it may be done twice. `longer` is how many seconds the other side may wait before it
        answers.
        """
        until, correlation = self.clock() + self.link.deadline + longer, _correlation_id()
        tries, is_refused, timeout = 0, False, self.link.timeout + longer
        while True:
            now = self.clock()
            wait = self._pace.turn(now, until - now)
            if wait is None:
                raise unreachable(Request(method, url, correlation), _NO_TURN)
            if wait:
                yield Wait(wait)
            if not self._access.is_fresh(self.clock()):
                yield from self._token(until)
            left = until - self.clock()
            if left <= 0:
                raise unreachable(Request(method, url, correlation), _TOO_LATE)
            request = Request(
                method, url, correlation, self._access.authorization, body, timeout=min(timeout, left), until=until
            )
            reply = yield request
            if type(reply) is Response and reply.status < _REDIRECT:
                return request, reply
            if type(reply) is Response and reply.status == _UNAUTHORIZED and not is_refused:
                is_refused = True
                self._access.refuse(request.authorization)
                continue
            tries += 1
            yield from self._again(request, reply, tries, is_safe=is_safe)

    def renewal(self, seen: int) -> Flow[None]:
        """Fetch a token, unless somebody has while the caller waited, who had seen so many renewals.

        Only one may run at a time. Raises RemoteError.
        """
        access, now = self._access, self.clock()
        if (error := access.failure(seen, now)) is not None:
            raise error
        if access.round != seen:
            return
        try:
            yield from self._fetch(now)
        except RemoteError as failed:
            access.fail(failed, self.clock())
            raise

    def _token(self, until: float) -> Flow[None]:
        """Have a token that works. Raises RemoteError."""
        access, now = self._access, self.clock()
        if not access.is_good(now):
            yield Renew(access.round, until)
        elif not access.is_fresh(now):
            with suppress(RemoteError):  # the token still works, and the next renewal may too
                yield Renew(access.round, until, is_early=True)

    def _again(self, request: Request, reply: Response | Failed, tries: int, *, is_safe: bool) -> Flow[None]:
        """Wait until the call can be made again. Raises RemoteError if it cannot or must not be."""
        now = self.clock()
        asked = reply.retry_after if type(reply) is Response else 0
        if type(reply) is Response and reply.status == _TOO_MANY:
            self._pace.hold(now + asked)
        if tries > self.link.retries or not may_repeat(reply, is_safe=is_safe):
            raise self._error(request, reply)
        wait = wait_of(tries, asked, self._chance())
        if now + wait >= request.until:
            raise self._error(request, reply)
        yield Wait(wait)

    def _error(self, request: Request, reply: Response | Failed) -> RemoteError:
        if isinstance(reply, Failed):
            return unreachable(request, reply)
        return refusal_of(request, reply, self._access.authorization.removeprefix("Bearer "))

    def _fetch(self, now: float) -> Flow[None]:
        """Trade an assertion for a token. Each try signs one of its own, since a server may take each only once."""
        link, correlation, tries = self.link, _correlation_id(), 0
        while True:
            assertion = make_assertion(
                link.party_id, link.kid, link.key, self._wall(),
                audience=link.audience, jti=token_hex(16), lifetime=ASSERTION_SECONDS,
            )  # fmt: skip
            request = Request(
                "POST", link.token_url, correlation, "", form_of(GRANT, assertion, link.scope), FORM,
                link.timeout, now + link.deadline,
            )  # fmt: skip
            asked = self.clock()
            reply = yield request
            if type(reply) is Response and reply.status < _REFUSED:
                return self._take(request, reply, asked)
            if type(reply) is Response and _is_refusal(reply):
                raise refusal_of(request, reply, assertion, RemoteUnauthorized)
            tries += 1
            yield from self._again(request, reply, tries, is_safe=True)

    def _take(self, request: Request, reply: Response, asked: float) -> None:
        if reply.status >= _REDIRECT:
            raise refusal_of(request, reply)
        try:
            self._access.take(token_of(reply), asked)
        except ValueError as error:
            raise bad_answer(request, reply, str(error)) from None


def _correlation_id() -> str:
    """Return a name for one call in the logs of both sides; no secret, and six times as fast as one."""
    return f"{getrandbits(64):016x}"


def _is_refusal(reply: Response) -> bool:
    """Tell whether a token endpoint refuses us, whatever its status: a 404 of it must not look like an unknown card."""
    return _REFUSED <= reply.status < _SERVER_ERROR and not may_repeat(reply, is_safe=True)
