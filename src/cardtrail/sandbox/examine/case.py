"""What a case is: a sentence what is done, why it matters, how to mend it, and one function that does it.

A function that returns has found nothing wrong; `Failed` says what was seen.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cardtrail.sandbox.examine.exam import Exam


class Failed(Exception):
    """The receiver did not do what it should; the text says what was seen, in one line."""


class Silent(Failed):
    """The receiver did not answer at all; `is_closed` where it hung up instead."""

    def __init__(self, text: str, *, is_closed: bool = False) -> None:
        super().__init__(text)
        self.is_closed = is_closed


class Weight(StrEnum):
    """How much a case matters."""

    MUST = "must"
    """Without it notifications are lost, or the copy becomes wrong, or others can write to it."""
    SHOULD = "should"
    """Without it somebody will have a bad day: alarms, repetitions for days, a slow recovery."""


class Need(StrEnum):
    """What a case cannot be tried without."""

    STATE = "state"
    """The read hook."""
    SECRET = "secret"  # noqa: S105 -- the name of a need
    """A secret that the receiver verifies signatures with."""
    SECOND = "second secret"
    """One more secret, to which the receiver is being moved."""
    TOKEN = "token"  # noqa: S105 -- the name of a need
    """A bearer token that the receiver asks for."""


Act = Callable[["Exam"], Awaitable[None]]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A case. `damaging` ones are followed by a plain notification, which must be taken all the same."""

    name: str
    theme: str
    title: str
    why: str
    fix: str
    weight: Weight
    needs: tuple[Need, ...]
    damaging: bool
    act: Act


class Theme:
    """Cases that belong together; `title` is what they have in common."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.cases: list[Case] = []

    def case(  # noqa: PLR0913 -- each is a part of a case
        self, name: str, title: str, *needs: Need, why: str, fix: str, weight: Weight = Weight.MUST,
        damaging: bool = False,
    ) -> Callable[[Act], Act]:  # fmt: skip
        """Return a decorator that makes a function a case of this theme."""

        def add(act: Act) -> Act:
            self.cases.append(Case(
                name=name, theme=self.name, title=title, why=why, fix=fix, weight=weight, needs=needs,
                damaging=damaging, act=act,
            ))  # fmt: skip
            return act

        return add
