"""The cause of a change: the call that made it, kept with the change so that a notification can name it.

It is one text: the call's correlation id and, where the call is traced, a blank and the `traceparent` of its span. Such
ids are random and logged in clear (contract section 1), so they are no secrets and name nobody.
"""

from collections.abc import Iterable
from random import getrandbits

from cardtrail.logs import masked

HEADER = "x-correlation-id"


def new_correlation_id() -> str:
    """Return a name for a call whose caller gave none; no secret, and six times as fast as one."""
    return f"{getrandbits(64):016x}"


def cause_of(correlation_id: str, trace: str = "") -> str:
    """Return the cause that a call is; without its id where that looks like a card number, which is not handed on."""
    kept = correlation_id if masked(correlation_id) == correlation_id else ""
    return f"{kept} {trace}" if trace else kept


def correlation_of(cause: str) -> str:
    """Return a cause's correlation id, empty where it is not known."""
    return cause.partition(" ")[0]


def trace_of(cause: str) -> str:
    """Return the `traceparent` of the call's span, empty where it was not traced."""
    return cause.partition(" ")[2]


def shared(values: Iterable[str]) -> str:
    """Return what all values are, empty where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""
