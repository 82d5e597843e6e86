"""What can go wrong with an answer: by the number of the call, so that a run can be repeated."""

from typing import Literal, NamedTuple

Kind = Literal["", "limited", "unavailable", "gateway", "reset", "torn", "slow", "revoked", "forbidden"]


class Troubles(NamedTuple):
    """Each `…_every` lets every n-th call fail in its way; 0 is never. The first that applies is what happens."""

    limited_every: int = 0
    """429 with `Retry-After`."""
    retry_after: int = 1
    """Seconds that a 429 and a 503 ask for; 0 leaves the header out."""
    unavailable_every: int = 0
    """503."""
    burst: int = 1
    """How many calls in a row are answered 503 then."""
    gateway_every: int = 0
    """502 with a page of HTML."""
    reset_every: int = 0
    """The connection is reset before the answer."""
    torn_every: int = 0
    """The connection is reset in the middle of the answer."""
    slow_every: int = 0
    """The answer takes `slow_seconds`."""
    slow_seconds: float = 0.0
    revoked_every: int = 0
    """All tokens end: this call and the others get 401 until they ask for a new one."""
    forbidden_every: int = 0
    """403."""
    token_seconds: float = 900.0
    """How long a token lives, and what is said about it, whole seconds."""
    outage_from: int = 0
    """The call from which on everything fails; 0 is never."""
    outage_calls: int = 0
    """How many calls fail then, token calls among them."""
    outage_resets: bool = False
    """Whether connections are reset during an outage; else 503."""


def trouble_of(number: int, troubles: Troubles, *, token: bool = False) -> Kind:
    """Return what happens to the call with this number, from 1; calls for tokens know outages alone."""
    t = troubles
    if t.outage_from and t.outage_from <= number < t.outage_from + t.outage_calls:
        return "reset" if t.outage_resets else "unavailable"
    if token:
        return ""
    if t.unavailable_every and number >= t.unavailable_every and number % t.unavailable_every < t.burst:
        return "unavailable"
    periods: tuple[tuple[Kind, int], ...] = (
        ("limited", t.limited_every), ("gateway", t.gateway_every), ("reset", t.reset_every), ("torn", t.torn_every),
        ("slow", t.slow_every), ("revoked", t.revoked_every), ("forbidden", t.forbidden_every),
    )  # fmt: skip
    return next((kind for kind, every in periods if every and number % every == 0), "")
