"""When a call is made again, and after how long: pure, so chance and answers are arguments.

What may be done twice (a read, an order with an `issuerRequestId`) is repeated after whatever may pass; anything else
only where the other side cannot have begun with it.
"""

from cardtrail.issuer.steps import Failed, Response
from cardtrail.protocol.failure import Failure

FIRST_WAIT = 0.25
"""Wait before the first repetition, seconds, before chance; it doubles each time."""
LONGEST_WAIT = 10.0
"""Longest wait that is not asked for by the other side, seconds."""
SPREAD = 0.2
"""How much of a wait that the other side asked for is added by chance, so that not all come back at once."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same call can succeed."""
_NOT_BEGUN = frozenset({425, 429})
"""Statuses that say that nothing was begun."""
_BROKEN = frozenset({Failure.CONNECT, Failure.DNS, Failure.TIMEOUT, Failure.RESET, Failure.PROTOCOL})
_NOT_SENT = frozenset({Failure.CONNECT, Failure.DNS})


def may_repeat(reply: Response | Failed, *, is_safe: bool) -> bool:
    """Tell whether the same call can succeed, and do no harm."""
    if isinstance(reply, Failed):
        return reply.failure in (_BROKEN if is_safe else _NOT_SENT)
    return reply.status in (_PASSING if is_safe else _NOT_BEGUN)


def wait_of(tries: int, retry_after: int, chance: float) -> float:
    """Return the seconds to wait after so many tries (1 is the first); `chance` is in 0 to 1.

    Never less than the other side asks for.
    """
    own = min(FIRST_WAIT * 2.0 ** (tries - 1), LONGEST_WAIT) * (0.5 + chance / 2)
    return max(own, retry_after * (1 + SPREAD * chance))
