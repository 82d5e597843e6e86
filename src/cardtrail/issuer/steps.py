"""What a call is made of: a *flow* is a generator that yields these steps and is sent what came of them.

A flow knows no sockets, no threads and no event loop, so that one text serves both clients, and a test can play the
other side by hand. What carries out the steps is `drive`.
"""

from collections.abc import Callable, Generator
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct

from cardtrail.protocol.failure import Failure

S = TypeVar("S")
T = TypeVar("T")


class Request(Struct, frozen=True, gc=False):
    """Send this. What comes back is a Response or a Failed."""

    method: str
    url: str
    correlation_id: str
    authorization: str = ""
    body: bytes | None = None
    content_type: str = "application/json"
    timeout: float = 0.0
    """Longest time the answer may take, seconds; 0.0 is what the client was set up with."""
    until: float = 0.0
    """When the whole call must be over, on the session's clock; a wait for a free place ends there."""

    def __repr__(self) -> str:
        """Leave out what is secret: the token, and an assertion or a card's data in the body."""
        return f"Request({self.method} {self.url})"


class Response(Struct, frozen=True, gc=False):
    """What the other side answered. `retry_after` is in seconds, 0 where it does not say."""

    status: int
    body: bytes
    retry_after: int = 0
    correlation_id: str = ""
    """Under which it has logged the call, where it says so."""

    def __repr__(self) -> str:
        """Leave out the body, which may be a token."""
        return f"Response({self.status}, {len(self.body)} bytes)"


class Failed(Struct, frozen=True, gc=False):
    """No whole answer came; `text` says why, for people."""

    failure: Failure
    text: str


class Wait(Struct, frozen=True, gc=False):
    """Let some time pass."""

    seconds: float


class Renew(Struct, frozen=True, gc=False):
    """Have a new token fetched, by one caller for all who wait.

    `round` says which renewals the caller has seen: one that ended since then is as good. Who comes `early` still has
    a token that works, and goes on with it while another caller is at it.
    """

    round: int
    until: float
    is_early: bool = False


Step = Request | Wait | Renew
Flow = Generator[Step, Any, T]
"""Yields steps; returns what the caller wants, or raises InputError or RemoteError."""


class Plan(NamedTuple, Generic[S, T]):
    """How very many things are worked through: a flow for so many each, and how many flows are at work at a time."""

    size: int
    flow_of: Callable[[list[S]], Flow[T]]
    ahead: int
