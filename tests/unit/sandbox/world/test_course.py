"""Courses: every scenario of the book is a walk that the fold understands, and says what it means to say."""

from datetime import UTC, datetime
from random import Random

import msgspec
import pytest

from cardtrail.core.event import Event
from cardtrail.core.order import SECOND, Order, project
from cardtrail.protocol.codec import decode_event, event_of, instant
from cardtrail.sandbox.world.book import shipped_book
from cardtrail.sandbox.world.clock import wire_instant
from cardtrail.sandbox.world.course import Course, Ordered, Planner
from cardtrail.sandbox.world.hours import HOUR
from cardtrail.sandbox.world.plant import Plant

ORDER = Ordered("DEMO-BANK1", "card-1", "op-0123456789abcdef0123456789abcdef")
MONDAY = int(datetime(2026, 1, 5, 6, tzinfo=UTC).timestamp()) * SECOND
REQUEST = {
    "eventId": "r", "source": "api:orders", "kind": "requested", "issuerId": ORDER.issuer_id,
    "cardId": ORDER.card_id, "operationId": ORDER.operation_id, "occurredAt": wire_instant(MONDAY),
}  # fmt: skip
ANOMALIES = {
    "wrong-clock": {"CLOCK_AHEAD"}, "delivered-before-out-for-delivery": {"OUT_OF_TURN"}, "late-scan": set[str](),
}  # fmt: skip
BOOK = shipped_book()


def course_of(name: str, seed: int = 1) -> Course:
    return Planner(BOOK, Plant()).course_of(ORDER, name, Random(seed), MONDAY)


def order_of(course: Course) -> Order:
    """Return what a course makes of its order, each event recorded when it is reported."""
    told = [(MONDAY, REQUEST), *((beat.reported_at, beat.event) for beat in course.beats)]
    facts: list[Event] = [event_of(decode_event(msgspec.json.encode(event)), at + SECOND) for at, event in told]
    projection = project(facts)
    assert projection.waiting == ()
    [order] = projection.orders
    return order


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", BOOK.scenarios)
def test_every_scenario_is_a_walk_with_those_anomalies_that_it_is_meant_to_have(name: str, seed: int) -> None:
    course = course_of(name, seed)
    order = order_of(course)
    assert {anomaly.code for anomaly in order.anomalies} <= ANOMALIES.get(name, set())
    steps = BOOK.scenarios[name].whole_steps
    assert order.site_events + order.carrier_events == len(steps) + 1
    assert {event_id for _, event_id in [(b.name, b.event["eventId"]) for b in course.beats]} == {
        f"{ORDER.short_id}.{number}" for number in range(1, len(steps) + 1)
    }


def test_it_is_planned_in_the_order_in_which_it_is_reported_and_nothing_before_its_order() -> None:
    for name in BOOK.scenarios:
        times = [beat.reported_at for beat in course_of(name).beats]
        assert times == sorted(times)
        assert times[0] > MONDAY


def test_a_wrong_clock_and_a_stamp_falsify_what_is_said_and_not_when_it_is_reported() -> None:
    skew = {"prepared": 5 * HOUR, "collected": -3 * HOUR}
    for beat in course_of("wrong-clock").beats:
        if beat.name in skew:
            assert instant(datetime.fromisoformat(beat.event["occurredAt"])) == beat.reported_at + skew[beat.name]
    beats = {beat.name: beat for beat in course_of("delivered-before-out-for-delivery").beats}
    stamps = {name: instant(datetime.fromisoformat(beat.event["occurredAt"])) for name, beat in beats.items()}
    assert stamps["delivered"] < stamps["out"]
    assert beats["delivered"].reported_at > beats["out"].reported_at


def test_the_same_seed_plans_the_same_and_another_seed_something_else() -> None:
    events = [[beat.event for beat in course_of("happy", seed).beats] for seed in (5, 5, 6)]
    assert events[0] == events[1] != events[2]


def test_a_held_course_tells_nothing_and_goes_on_later_by_as_long_as_it_was_held() -> None:
    course = course_of("happy")
    before = list(course.beats)
    course.hold(MONDAY + HOUR)
    assert (course.beats, course.is_under_way) == ([], True)
    course.release(MONDAY + 3 * HOUR)
    assert [beat.reported_at for beat in course.beats] == [beat.reported_at + 2 * HOUR for beat in before]
    assert course.beats[0].event["occurredAt"] > before[0].event["occurredAt"]


def test_no_two_orders_share_a_letter_or_an_event() -> None:
    other = Ordered(ORDER.issuer_id, ORDER.card_id, "op-fedcba9876543210fedcba9876543210")
    letters = [Planner(BOOK, Plant()).course_of(each, "happy", Random(1), MONDAY).letter for each in (ORDER, other)]
    assert letters[0].number != letters[1].number
    assert ORDER.short_id != other.short_id
