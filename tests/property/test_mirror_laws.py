"""Law 3: `apply` is idempotent and keeps the newest, whatever the order in which notifications and answers come."""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, permutations
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.issuer.mirror import Mirror
from cardtrail.issuer.standing import Applied, Duplicate, Observed, Outcome, Regressed
from cardtrail.protocol.reading import operation_of
from tests.property.cardlore import CARD, Bounds, Change, changes_of, histories, history_of, said_by
from tests.strict.plots import PLOTS, Json

SHORT = {
    "refused": ["requested", "prepared", "refused"],
    "rework": ["ongoing", "trouble", "ongoing", "done"],
    "hold": ["ready", "held", "released", "held"],
    "attempts": ["shipped", "out", "missed", "out"],
    "last attempt": ["out", "missed", "out", "delivered"],
    "canceled on hold": ["ready", "held", "canceled"],
    "returned": ["shipped", "missed", "stuck", "returned"],
    "another parcel": ["moving", "out", "rerouted", "out"],
    "strange": ["ready", "lasered", "ongoing", "done"],
    "paused": ["prepared", "paused", "ready"],
    "broken": ["ongoing", "trouble", "broken"],
}
"""Beats that are hard to put in order; what comes before them is left out."""
LEAD = {
    "attempts": ["requested"],
    "last attempt": ["requested", "shipped"],
    "returned": ["requested"],
    "another parcel": ["requested", "shipped"],
}
FULL, STRICT = "with sequence", "without"
both_forms = pytest.mark.parametrize("form", [FULL, STRICT])


class Asked(NamedTuple):
    """A question: the mirror's ticket from before it, and after how many observations it was asked."""

    ticket: int
    after: int


class Room:
    """An issuer's mirror: what it hears of each card, and what it must say."""

    def __init__(self, mirror: Mirror, issuer_id: str, form: str) -> None:
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._form = form
        self._when = 0
        self._bounds: dict[tuple[str, str], Bounds] = {}

    def ask(self) -> Asked:
        """Ask for all cards."""
        return Asked(self._mirror.ticket(self._issuer_id), self._when)

    def hear(self, changes: Sequence[Change], asked: Asked | None = None) -> list[Outcome]:
        """Hear changes of different cards, as notifications or as the answers to a question."""
        self._when += 1
        ticket = None if asked is None else asked.ticket
        observed = [
            Observed(operation_of(change.element), "answer" if asked else "notification", self._when, ticket)
            for change in changes
        ]
        outcomes = self._mirror.apply(self._issuer_id, observed)
        for change, outcome in zip(changes, outcomes, strict=True):
            bounds = self._bounds.setdefault(
                (outcome.operation.card_id, change.operation_id), Bounds(numbered=self._form == FULL)
            )
            bounds.hear(change, self._when, None if asked is None else asked.after)
        return outcomes

    def says(self, card_id: str = CARD) -> dict[str, tuple[Json, bool]]:
        """What the mirror says of each order of a card, and whether it is in doubt."""
        held = self._mirror.card(self._issuer_id, card_id)
        return {each.operation.operation_id: (said_by(each.operation.raw), each.known.doubtful) for each in held}

    def check(self) -> None:
        """See that the mirror says what it must of each order that it has heard of."""
        for (card_id, operation_id), bounds in self._bounds.items():
            said, doubtful = self.says(card_id)[operation_id]
            assert bounds.allows(said, doubtful=doubtful), (card_id, operation_id, said, doubtful)


class House:
    """A mirror of many issuers, so that each room begins with nothing known."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._rooms = 0

    def room(self, form: str) -> Room:
        """Begin with nothing known."""
        self._rooms += 1
        return Room(self._mirror, f"{self._rooms:010}", form)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Mirror.open(f"sqlite:///{tmp_path_factory.mktemp('mirror')}/mirror.db") as mirror:
        yield House(mirror)


# ── every order of short stories, each with a card of its own ──


def short(name: str, form: str) -> list[Change]:
    """The changes of a short story."""
    lead = LEAD.get(name, [])
    return changes_of(1, lead + SHORT[name], numbered=form == FULL)[len(lead) :]


def step_of(orders: Sequence[Sequence[Change]], step: int) -> list[Change]:
    """What is heard in a step: of each card the change whose turn it is."""
    return [order[step].of(f"card-{card:04}") for card, order in enumerate(orders)]


@both_forms
@pytest.mark.parametrize("name", SHORT)
def test_every_order_of_a_short_story_ends_well(house: House, name: str, form: str) -> None:
    changes = short(name, form)
    orders = [order for again in changes for order in permutations([*changes, again])]
    room = house.room(form)
    for step in range(len(changes) + 1):
        room.hear(step_of(orders, step))
        room.check()


@both_forms
@pytest.mark.parametrize("name", SHORT)
def test_an_answer_may_come_anywhere_between(house: House, name: str, form: str) -> None:
    """Notifications come in any order; a question is asked, looked at and answered at any three moments."""
    changes = short(name, form)
    orders = list(permutations(changes))
    for asked, looked, answered in combinations_with_replacement(range(len(changes) + 1), 3):
        # The platform sees at least what it has notified of by then; before it has notified of anything, the first.
        seen = [max(order[:looked], key=lambda change: change.age, default=changes[0]) for order in orders]
        answer_between(house.room(form), orders, seen, (asked, answered))


def answer_between(
    room: Room, orders: Sequence[Sequence[Change]], seen: Sequence[Change], moments: tuple[int, int]
) -> None:
    """Let notifications be heard in these orders, and the answers, asked for at one moment, at another."""
    asked = None
    for moment in range(len(orders[0]) + 1):
        if moment == moments[0]:
            asked = room.ask()
        if moment == moments[1]:
            room.hear([change.of(f"card-{card:04}") for card, change in enumerate(seen)], asked)
            room.check()
        if moment < len(orders[0]):
            room.hear(step_of(orders, moment))
            room.check()


# ── long stories of several orders ──

actions = st.lists(
    st.tuples(st.sampled_from(["happen", "happen", "notify", "notify", "ask", "look", "answer"]), st.integers(0, 40)),
    max_size=60,
)
"""What platform, network and reconciler do, and to which of those that there are."""


class Story:
    """A platform with one card, notifications on their way in any order, and questions under way."""

    def __init__(self, room: Room, history: list[Change]) -> None:
        self.room = room
        self.history = history
        self.happened = 0
        self.asked: list[Asked] = []
        self.seen: list[tuple[Asked, Change]] = []

    @property
    def latest(self) -> Change:
        """What the platform answers: the latest order, as it is now."""
        past = self.history[: self.happened]
        newest = max(change.operation_id for change in past)
        return [change for change in past if change.operation_id == newest][-1]

    def act(self, what: str, which: int) -> None:
        """Do one thing, if it can be done."""
        if what == "happen":
            self.happened = min(len(self.history), self.happened + 1)
        elif what == "notify" and self.happened:
            self.hear(self.history[which % self.happened])
        elif what == "ask":
            self.asked.append(self.room.ask())
        elif what == "look" and self.asked and self.happened:
            self.seen.append((self.asked.pop(which % len(self.asked)), self.latest))
        elif what == "answer" and self.seen:
            asked, change = self.seen.pop(which % len(self.seen))
            self.hear(change, asked)

    def end(self) -> None:
        """Let the faults stop: everything has happened, and one more question is asked and answered."""
        self.happened = len(self.history)
        self.hear(self.latest, self.room.ask())

    def hear(self, change: Change, asked: Asked | None = None) -> None:
        """Let the mirror hear a change, and see that it says what it must."""
        self.room.hear([change], asked)
        self.room.check()


@both_forms
@given(drawn=histories, done=actions)
def test_any_story_ends_well_with_the_next_answer(
    house: House, form: str, drawn: tuple[list[str], list[int]], done: list[tuple[str, int]]
) -> None:
    story = Story(house.room(form), history_of(*drawn, numbered=form == FULL))
    for what, which in done:
        story.act(what, which)
    story.end()

    assert story.room.says()[story.latest.operation_id] == (said_by(story.latest.element), False)


@given(drawn=histories, chance=st.randoms(use_true_random=False), times=st.integers(1, 3))
def test_with_sequences_every_order_ends_at_the_same_mirror(
    house: House, drawn: tuple[list[str], list[int]], chance: Random, times: int
) -> None:
    history = history_of(*drawn, numbered=True)
    shuffled = history * times
    chance.shuffle(shuffled)
    ends = []
    for order in (history, shuffled):
        room = house.room(FULL)
        for change in order:
            room.hear([change])
        ends.append(room.says())

    assert ends[0] == ends[1]


# ── once more, and a platform that was restored ──


@both_forms
@given(drawn=histories)
def test_the_same_again_changes_nothing(house: House, form: str, drawn: tuple[list[str], list[int]]) -> None:
    room = house.room(form)
    for change in history_of(*drawn, numbered=form == FULL):
        room.hear([change])
        before = room.says()
        [again] = room.hear([change])
        assert isinstance(again, Duplicate)
        assert room.says() == before


class Restored(Story):
    """A platform that is restored now and then, and then another thing happens than before."""

    def __init__(self, room: Room, histories: Sequence[list[Change]]) -> None:
        super().__init__(room, histories[0])
        self._others = list(histories[1:])
        self._told: list[Change] = []

    def act(self, what: str, which: int) -> None:
        """Do one thing; what was told before a restore may still be heard."""
        if what == "restore" and self._others and self.happened:
            kept = self.history[: 1 + which % self.happened]
            ages = {change.operation_id: change.age for change in kept}
            other = self._others.pop()
            rest = [change for change in other if change.age > ages.get(change.operation_id, 0)]
            self.history, self.happened = [*kept, *rest], len(kept)
        elif what == "notify" and self._told:
            self.hear(self._told[which % len(self._told)])
        else:
            super().act(what, which)
        self._told += [change for change in self.history[: self.happened] if change not in self._told]

    def hear(self, change: Change, asked: Asked | None = None) -> None:
        """Let the mirror hear a change; until the end it may say whatever was told."""
        self.room.hear([change], asked)


turned = st.lists(
    st.tuples(
        st.sampled_from(["happen", "happen", "happen", "notify", "notify", "ask", "look", "answer", "restore"]),
        st.integers(0, 40),
    ),
    max_size=80,
)
same_orders = st.integers(1, 3).flatmap(
    lambda orders: st.lists(
        st.tuples(
            st.lists(st.sampled_from(sorted(PLOTS)), min_size=orders, max_size=orders),
            st.lists(st.integers(0, 2), min_size=1, max_size=30),
        ),
        min_size=2, max_size=4,
    )
)  # fmt: skip
"""What happens to a card, and what happens instead after each restore."""


@both_forms
@given(drawn=same_orders, done=turned, late=st.lists(st.integers(0, 200), max_size=4))
def test_whatever_is_restored_the_next_answer_is_believed(
    house: House, form: str, drawn: list[tuple[list[str], list[int]]], done: list[tuple[str, int]], late: list[int]
) -> None:
    story = Restored(house.room(form), [history_of(*each, numbered=form == FULL) for each in drawn])
    for what, which in done:
        story.act(what, which)
    for which in late:
        story.act("notify", which)
    story.end()

    assert story.room.says()[story.latest.operation_id] == (said_by(story.latest.element), False)


def test_an_answer_of_a_restored_platform_is_believed_and_marked(house: House) -> None:
    room = house.room(FULL)
    old = changes_of(1, ["requested", "prepared", "ready", "ongoing"], numbered=True)
    for change in old:
        room.hear([change])

    [back] = room.hear([old[1]], room.ask())
    assert isinstance(back, Regressed)
    new = changes_of(1, ["requested", "prepared", "canceled"], numbered=True)[-1]
    [on] = room.hear([new])
    assert isinstance(on, Applied)
    assert room.says() == {new.operation_id: (said_by(new.element), False)}
