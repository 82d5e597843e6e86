"""What really happened to a card, and what a mirror of it may say: the laws' own words, without the product's code.

A *history* is the changes of a card's orders in the order in which they happened. `Bounds` hears what a mirror hears
and tells what it must say then, and what it may say at most: the reference for the third law.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from tests.strict.plots import PLOTS, SECOND, Habits, Json, encode, picture_of

BEGIN = 1_767_571_200 * SECOND
HOUR = 3_600 * SECOND
CARD = "card-0000"
"""The card of a history."""
HABITS = Habits(
    names_inside=False, date_time=False, backwards=False, extra=False, deprecated=False, carrier="deutsch-post"
)
ENDS = {"shipped", "handed", "refused", "broken", "canceled"}
"""Beats that end an operation."""


class Change(NamedTuple):
    """One change of an order: the picture it leaves, and which change of its order it is, from 1."""

    operation_id: str
    age: int
    element: bytes

    def of(self, card_id: str) -> "Change":
        """The same change of another card."""
        return self._replace(element=self.element.replace(CARD.encode(), card_id.encode()))


def changes_of(number: int, beats: Sequence[str], *, numbered: bool) -> list[Change]:
    """Return the changes of the card's order; `numbered` ones carry a sequence, which rises with what can be seen."""
    names = {"card": CARD, "operation": f"op-{number}", "request": f"r-{number}", "file": "orders.xml"}
    started = BEGIN + number * 1_000 * HOUR
    changes: list[Change] = []
    before, sequence, ended = None, 0, 0
    for age in range(1, len(beats) + 1):
        if not ended and beats[age - 1] in ENDS:
            ended = started + age * HOUR
        picture = picture_of(names, beats[:age], (started, ended), HABITS)
        sequence += picture != before
        before = picture
        told = picture | {"cardtrail": {"sequence": sequence}} if numbered else picture
        changes.append(Change(names["operation"], age, encode(told)))
    return changes


def history_of(plots: Sequence[str], turns: Sequence[int], *, numbered: bool) -> list[Change]:
    """Return what happens to the card, whose orders have these plots: each turn names the order that moves on.

    An order begins only after the one before. A turn of an order that cannot move is the latest one's that can.
    """
    waiting = [
        changes_of(number, [beat for beat in PLOTS[plot].split() if beat[0] != "!"], numbered=numbered)
        for number, plot in enumerate(plots)
    ]
    begun, happened = 0, list[Change]()
    for turn in turns:
        wanted = min(turn % len(waiting), begun)
        movable = [number for number in range(min(begun + 1, len(waiting))) if waiting[number]]
        if not movable:
            break
        number = wanted if wanted in movable else movable[-1]
        begun = max(begun, number + 1)
        happened.append(waiting[number].pop(0))
    return happened


histories = st.tuples(
    st.lists(st.sampled_from(sorted(PLOTS)), min_size=1, max_size=3),
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
)
"""Plots and turns of a card."""


def said_by(element: bytes) -> Json:
    """Return what an operation says, without our extension."""
    said: Json = json.loads(element)
    return {name: value for name, value in said.items() if name != "cardtrail"}


class Bounds:
    """What a mirror must say of one order, after all that it has heard, in the order in which it heard it.

    With sequences: the highest that it has heard. Without: something that it has heard; the answer to a question, if
    nothing else was heard since that was asked; and once it has heard the newest, that one, unless it is in doubt.
    """

    def __init__(self, *, numbered: bool) -> None:
        self._numbered = numbered
        self._heard: list[tuple[int, Change]] = []
        self._sure = False

    def hear(self, change: Change, when: int, asked_after: int | None = None) -> None:
        """Hear a change: `when` and `asked_after` count the observations of everything; None for a notification."""
        last = self._heard[-1][0] if self._heard else -1
        self._sure = asked_after is not None and asked_after > last
        self._heard.append((when, change))

    def allows(self, said: Json, *, doubtful: bool) -> bool:
        """Whether a mirror may say this now, and be in doubt or not."""
        changes = [change for _, change in self._heard]
        newest = max(changes, key=lambda change: change.age)
        if self._numbered:
            return not doubtful and said == said_by(newest.element)
        if self._sure:
            return not doubtful and said == said_by(changes[-1].element)
        return any(said == said_by(change.element) for change in changes) and (
            doubtful or said == said_by(newest.element)
        )
