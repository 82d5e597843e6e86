"""What came of one call to somebody else's server. Every result is a value; nothing in it is a secret of ours."""

import msgspec

from cardtrail.protocol.failure import Failure, plain


class Answer(msgspec.Struct, frozen=True):
    """What came of one call. Once there is a status it says alone whether the call succeeded."""

    status: int | None
    """HTTP status; None if none came."""
    failure: Failure | None
    """None if there is a status, and the whole body if that was asked for."""
    text: str
    """For people: one line, without header values, bodies and URLs."""
    body: bytes
    """The beginning of the answer's body, or all of it if that was asked for."""
    retry_after: int | None
    """For how many seconds the peer wants to be left alone, at most MAX_RETRY_AFTER."""
    seconds: float
    """How long it took."""


def failed(failure: Failure, text: str, seconds: float) -> Answer:
    """Return the answer of a call that got none."""
    return Answer(None, failure, plain(text), b"", None, seconds)
