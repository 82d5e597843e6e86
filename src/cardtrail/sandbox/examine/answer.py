"""What a receiver answered, and what may be expected of it. Contract section 7."""

from collections.abc import Callable, Mapping

import msgspec

from cardtrail.protocol.failure import plain
from cardtrail.sandbox.examine.case import Failed

MAX_SHOWN = 120
"""How much of an answer's body is shown, characters."""
SPLIT = frozenset({400, 413})
"""Answers after which the platform does not send the same again: it halves a batch, and sets aside what is alone."""


class Answer(msgspec.Struct, frozen=True):
    """An answer; names of headers are in lower case, and are there where it was read from a line of a case's own.

    `hide` takes what is secret from a text; `ends` tells whether such a line is closed behind it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    hide: Callable[[str], str] = str
    ends: bool = False

    @property
    def is_taken(self) -> bool:
        """Whether it says that all of it was taken."""
        return 200 <= self.status < 300  # noqa: PLR2004 -- HTTP statuses

    @property
    def is_refused(self) -> bool:
        """Whether it says that the call is at fault."""
        return 400 <= self.status < 500  # noqa: PLR2004 -- HTTP statuses

    def __str__(self) -> str:
        """Return it as a finding shows it: bytes of somebody else's, in one short line.

        What is secret is hidden before anything is cut off: half of it would not be known for what it is.
        """
        body = plain(self.hide(self.body.decode("latin-1")))[:MAX_SHOWN].strip()
        return f"HTTP {self.status}{': ' + body if body else ''}"


def taken(answer: Answer, what: str = "") -> None:
    """Raise Failed unless all of a call was taken."""
    if not answer.is_taken:
        raise Failed(f"{_of(what)}answered {answer}; 204 expected")


def refused(answer: Answer, what: str = "", *, best: int) -> None:
    """Raise Failed unless a call was refused by a status that blames the call; `best` is the one that says why."""
    if not answer.is_refused:
        raise Failed(f"{_of(what)}answered {answer}; {best} or another 4xx expected")


def set_aside(answer: Answer, what: str = "") -> None:
    """Raise Failed unless what can never be taken was answered so that the platform stops sending it."""
    if answer.status not in SPLIT:
        raise Failed(f"{_of(what)}answered {answer}; 400 expected, since after all else it is sent again for days")


def taken_or_set_aside(answer: Answer, what: str = "") -> None:
    """Raise Failed unless a call was taken, or answered so that the platform does not send the same again."""
    if not answer.is_taken and answer.status not in SPLIT:
        raise Failed(f"{_of(what)}answered {answer}; 204 or 400 expected")


def _of(what: str) -> str:
    return f"{what}: " if what else ""
