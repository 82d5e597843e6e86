"""What a person has happen to a card: told at once, and the rest of the story follows from it."""

import pytest

from cardtrail.errors import Conflict
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.clock import VirtualClock
from cardtrail.sandbox.world.course import Course, Event, Ordered
from cardtrail.sandbox.world.hours import DAY, HOUR
from cardtrail.sandbox.world.simulate import BEGIN
from cardtrail.sandbox.world.span import AS_FAST_AS_IT_GOES
from cardtrail.sandbox.world.verbs import MEANING, Scan, Verb, act
from cardtrail.sandbox.world.world import World


class Played:
    """A card of a story, `told` steps far."""

    def __init__(self, story: str, told: int = 0) -> None:
        self.clock = VirtualClock(BEGIN, AS_FAST_AS_IT_GOES)
        self.world = World(shipped_book(), 1, self.clock)
        self.ended: list[Course] = []
        self.world.on_end = lambda course, _at: self.ended.append(course)
        self.course = self.world.begin(Ordered("DEMO-BANK1", "card-1", "op-" + "a" * 32), f"sbx-{story}-1")
        for _ in range(told):
            self.clock.reach(self.course.beats[0].reported_at)
            self.world._step(self.course)
        self.clock.advance(HOUR)

    def act(self, verb: Verb, scan: Scan | None = None) -> list[str]:
        """Return the kinds, or statuses, of what is told at once."""
        return [str(each.get("status", each["kind"])) for each in act(self.world, self.course, verb, scan)]

    @property
    def left(self) -> list[str]:
        return [beat.name for beat in self.course.beats]


def test_a_card_that_is_shipped_now_leaves_out_what_was_planned_before_and_is_scanned_soon() -> None:
    card = Played("happy", 2)
    gap = card.course.beats[3].happens_at - card.course.beats[2].happens_at
    assert card.act(Verb.SHIP) == ["shipped"]
    assert card.left == ["announced", "collected", "sorted", "out", "delivered"]
    assert card.course.beats[0].reported_at - card.clock() < DAY
    assert gap > 0
    assert card.world.next_at() == card.course.beats[0].reported_at


@pytest.mark.parametrize(("verb", "status"), [(Verb.DELIVER, "Delivered"), (Verb.RETURN, "returned")])
def test_a_delivery_or_a_return_ends_the_story_and_ships_the_card_before(verb: Verb, status: str) -> None:
    card = Played("happy", 2)
    assert card.act(verb) == ["shipped", status]
    assert (card.left, card.ended, card.world.next_at()) == ([], [card.course], None)
    shipped = Played("happy", 6)
    assert shipped.act(verb) == [status]


def test_what_fails_goes_on_afterwards() -> None:
    card = Played("happy", 3)
    assert card.act(Verb.FAIL) == ["failed"]
    assert card.left[0] == "done"
    shipped = Played("happy", 6)
    assert shipped.act(Verb.FAIL) == ["AttemptFail"]
    assert shipped.left == ["collected", "sorted", "out", "delivered"]


def test_a_hold_lasts_until_the_release() -> None:
    card = Played("happy", 2)
    first = card.course.beats[0].reported_at
    assert card.act(Verb.HOLD) == ["held"]
    assert (card.world.next_at(), card.ended) == (None, [])
    card.clock.advance(5 * DAY)
    assert card.act(Verb.RELEASE) == ["released"]
    assert card.world.next_at() == first + 5 * DAY


def test_a_held_order_can_be_canceled() -> None:
    card = Played("happy", 2)
    card.act(Verb.HOLD)
    assert card.act(Verb.CANCEL) == ["canceled"]
    assert (card.left, card.ended) == ([], [card.course])


def test_a_scan_is_the_storys_next_one_or_what_is_given_whatever_was_before() -> None:
    card = Played("happy", 5)
    assert card.act(Verb.SCAN) == ["InfoReceived"]
    assert card.left == ["collected", "sorted", "out", "delivered"]
    told: list[Event] = act(card.world, card.course, Verb.SCAN, Scan(status="Levitating", code="Z9", location="Ulm"))
    assert [(each["status"], each["code"], each["location"]) for each in told] == [("Levitating", "Z9", "Ulm")]
    assert "message" not in told[0]
    card.act(Verb.DELIVER)
    assert card.act(Verb.SCAN, Scan(code="Z9")) == ["scanned"]
    assert card.ended == [card.course]


def test_what_is_told_twice_is_told_the_same_whatever_was_moved_in_between() -> None:
    """A scan, a hold or a shipment moved the time of one of two copies: the other was rejected as a conflict."""
    card = Played("duplicate-events", 0)
    told: dict[str, Event] = {}

    def step() -> None:
        card.clock.reach(card.course.beats[0].reported_at)
        event = card.world._step(card.course).event
        assert told.setdefault(event["eventId"], event) == event

    while card.left[0] != "ready":
        step()
    card.act(Verb.HOLD)
    card.clock.advance(5 * DAY)
    card.act(Verb.RELEASE)
    while card.left[0] != "announced":
        step()
    [first] = act(card.world, card.course, Verb.SCAN)
    told[first["eventId"]] = first
    [second] = act(card.world, card.course, Verb.SCAN)
    assert second["eventId"] not in told  # the next one, not the first again
    told[second["eventId"]] = second
    while card.left:
        step()
    assert len(told) == 10


class Branch(Played):
    """Cards of one parcel to a branch; the first of them is `course`."""

    def __init__(self, many: int) -> None:
        super().__init__("bulk-to-branch")
        self.courses = [self.course, *(self.join(number) for number in range(2, many + 1))]

    def join(self, number: int) -> Course:
        """Order one more card at the time when the world began."""
        ordered = Ordered("DEMO-BANK1", f"card-{number}", "op-" + f"{number:032x}")
        return self.world.begin(ordered, f"sbx-bulk-to-branch-{number}")

    def mates(self) -> list[Course]:
        return [each for each in self.courses if each.letter.number == self.course.letter.number]


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.HOLD])
def test_a_card_that_stays_behind_leaves_its_parcels_scans_to_another(verb: Verb) -> None:
    """Nobody in the parcel was scanned any more."""
    branch = Branch(40)
    first, second, *_ = branch.mates()
    scans = [beat for beat in first.beats if beat.by == "carrier"]
    assert scans
    assert [beat.by for beat in second.beats if beat.by == "carrier"] == []
    branch.act(verb)
    assert [beat for beat in second.beats if beat.by == "carrier"] == scans
    assert (first.letter.is_scanned, second.letter.is_scanned) == (False, True)
    if verb is Verb.HOLD:
        branch.act(Verb.RELEASE)
    assert [beat for beat in first.beats if beat.by == "carrier"] == []
    told: list[Event] = []
    while (at := branch.world.next_at()) is not None:
        branch.clock.reach(at)
        branch.world._take(at)
        told += branch.world._owed.events
        branch.world._owed.events = []
    scanned = [each for each in told if each.get("trackingNumber") == second.letter.number and "status" in each]
    assert scanned[-1]["status"] == "Delivered"


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.HOLD])
def test_nobody_joins_the_parcel_of_a_card_that_stays_behind_alone(verb: Verb) -> None:
    branch, usual = Branch(1), Branch(1)
    twin = next(each for each in map(usual.join, range(2, 99)) if each.letter.number == usual.course.letter.number)
    branch.act(verb)
    for number in range(2, int(twin.order.card_id.partition("-")[2]) + 1):
        joined = branch.join(number)
    assert joined.letter.is_scanned
    assert joined.letter.number != branch.course.letter.number
    assert branch.course.letter.is_scanned


REFUSED: dict[str, tuple[str, int, list[Verb], Verb]] = {
    "shipped already": ("happy", 6, [], Verb.SHIP),
    "the card is shipped": ("happy", 6, [], Verb.CANCEL),
    "too late, the card is shipped": ("happy", 6, [], Verb.HOLD),
    "too late, the order is delivered": ("happy", 10, [], Verb.RETURN),
    "too late, the order is data_failed": ("data-exception", 1, [], Verb.SHIP),
    "too late, the order is canceled": ("happy", 2, [Verb.CANCEL], Verb.DELIVER),
    "on hold; release it first": ("happy", 2, [Verb.HOLD], Verb.SHIP),
    "is on hold; release": ("happy", 2, [Verb.HOLD], Verb.HOLD),
    "not on hold": ("happy", 2, [], Verb.RELEASE),
    "scans nothing": ("untracked-post", 5, [], Verb.SCAN),
    "carrier scans nothing": ("untracked-post", 2, [], Verb.DELIVER),
    "no scan left": ("happy", 10, [], Verb.SCAN),
    "on hold; release it first, or say which scan": ("happy", 2, [Verb.HOLD], Verb.SCAN),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_comes_too_late_is_refused_in_words_and_changes_nothing(text: str) -> None:
    story, told, before, verb = REFUSED[text]
    card = Played(story, told)
    for each in before:
        card.act(each)
    left, ended = card.left, list(card.ended)
    with pytest.raises(Conflict, match=text):
        card.act(verb)
    assert (card.left, card.ended) == (left, ended)


def test_every_verb_says_what_it_means() -> None:
    assert set(MEANING) == set(Verb)
    assert all(text.endswith(".") for text in MEANING.values())
