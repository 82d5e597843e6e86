"""The other side of a client's flows, played by hand: no sockets, no threads, and a clock that a test moves."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from joserfc.jwk import ECKey

from cardtrail.errors import CardtrailError
from cardtrail.issuer.link import link_of
from cardtrail.issuer.session import Session
from cardtrail.issuer.steps import Failed, Flow, Renew, Request, Response, Step, Wait
from cardtrail.protocol.failure import Failure

T = TypeVar("T")
ISSUER = "ISSUER0001"
BASE = "https://d1.example/banking/v1"
TOKENS = "https://d1.example/authz/v1/oauth2/token"
KEY: ECKey = ECKey.generate_key("P-256")
Reply = Response | Failed


def answer(status: int = 200, content: object = None, *, retry_after: int = 0) -> Response:
    """Return an answer with JSON in it, an empty list of operations if none is given."""
    return Response(status, msgspec.json.encode({"operations": []} if content is None else content), retry_after)


def token(name: str = "t1", expires_in: object = 900) -> Response:
    """Return a token endpoint's success."""
    return answer(200, {"access_token": name, "expires_in": expires_in, "token_type": "Bearer"})


def failed(failure: Failure = Failure.RESET) -> Failed:
    return Failed(failure, f"it failed: {failure}")


class Play:
    """One session on a clock of its own, and what it has sent, waited for and renewed.

    The other side's replies are used up one by one; the last one is given for ever. Tokens are given by themselves,
    unless `tokens` says what comes of asking for one.
    """

    def __init__(self, *replies: Reply, tokens: Iterable[Reply] = (), **options: Any) -> None:
        self.now = 1_000.0
        self.chance = 0.0
        link = link_of(BASE, ISSUER, KEY, "k1", **options)
        self.session = Session(link, lambda: self.now, lambda: round(self.now * 1e6), lambda: self.chance)
        self.replies = list(replies)
        self.tokens = list(tokens)
        self.sent: list[Request] = []
        self.assertions: list[Request] = []
        self.waits: list[float] = []
        self.renewals: list[Renew] = []
        self.seconds = 0.0
        """How long each answer takes."""

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow as a driver does, at once; waits only move the clock."""
        try:
            step: Step = next(flow)
            while True:
                step = self._carried_out(flow, step)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a generator returns has no type

    def _carried_out(self, flow: Flow[Any], step: Step) -> Step:
        if isinstance(step, Request):
            return flow.send(self._reply(step))
        if isinstance(step, Wait):
            self.waits.append(step.seconds)
            self.now += step.seconds
            return next(flow)
        self.renewals.append(step)
        try:
            self.run(self.session.renewal(step.round))
        except CardtrailError as error:
            return flow.throw(error)
        return next(flow)

    def _reply(self, request: Request) -> Reply:
        self.now += self.seconds
        if request.url == TOKENS:
            self.assertions.append(request)
            given = _next(self.tokens)
            return token(f"t{len(self.assertions)}") if given is None else given
        self.sent.append(request)
        given = _next(self.replies)
        assert given is not None, "nobody said what to answer"
        return given

    def call(self, **more: Any) -> Response:
        """Make a call that reads."""
        return self.run(self.session.call("GET", f"{BASE}/x", **more))[1]

    def error(self, run: Callable[[], object]) -> CardtrailError:
        """Return what is raised."""
        try:
            run()
        except CardtrailError as error:
            return error
        raise AssertionError("nothing was raised")


def _next(replies: list[Reply]) -> Reply | None:
    if len(replies) > 1:
        return replies.pop(0)
    return replies[0] if replies else None
