"""What a person has happen to a card now: ship, deliver, return, fail, hold, release, cancel, scan."""

from enum import StrEnum

import msgspec

from cardtrail.errors import Conflict
from cardtrail.protocol.codec import Code, Line, Text
from cardtrail.sandbox.world.book import Step
from cardtrail.sandbox.world.course import Course, Event
from cardtrail.sandbox.world.entrust import entrust
from cardtrail.sandbox.world.world import World

_ENDS = frozenset({"canceled", "scrapped", "data_failed", "delivered", "returned"})
"""After these nothing more happens to an order."""


class Verb(StrEnum):
    """What can be done to a card."""

    SHIP = "ship"
    DELIVER = "deliver"
    RETURN = "return"
    FAIL = "fail"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"
    SCAN = "scan"


MEANING = {
    Verb.SHIP: "The site hands the card to the carrier now; what its story had planned before that is left out.",
    Verb.DELIVER: "The carrier delivers the card now, shipped before if it was not; its story ends.",
    Verb.RETURN: "The carrier brings the card back now, shipped before if it was not; its story ends.",
    Verb.FAIL: "Personalization fails now and will be done again; once shipped, an attempt of delivery fails.",
    Verb.HOLD: "The site puts the order on hold; its story stands still until it is released.",
    Verb.RELEASE: "The site goes on with an order on hold; its story goes on, later by as long as it was held.",
    Verb.CANCEL: "The order is canceled before it is shipped; its story ends.",
    Verb.SCAN: "The carrier scans the letter now, whatever was before: the story's next scan, or what is given.",
}


class Scan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `scan` reports, where it is not the story's next scan; any word is passed on as it is."""

    status: Code | None = None
    code: Code | None = None
    message: Text | None = None
    location: Line | None = None


def act(world: World, course: Course, verb: Verb, scan: Scan | None = None) -> list[Event]:
    """Change a card's course; return what is to be reported at once. Raises Conflict where it is too late for it."""
    now = world.clock()
    was_under_way = course.is_under_way
    events = _ACTIONS[verb](world, course, now, scan or Scan())
    world.replan(course)
    if was_under_way and not course.is_under_way:
        world.end(course, now)
    return events


def _ship(world: World, course: Course, now: int, _: Scan) -> list[Event]:
    _needs_open(course)
    if "shipped" in course.told:
        raise Conflict("cardId: the card is shipped already")
    first = _first_planned(course, "shipped")
    moved = [beat.later(now - first) if first is not None else beat for beat in course.beats if beat.by == "carrier"]
    course.plan(moved)
    return [_now(world, course, "shipped", now)]


def _deliver(world: World, course: Course, now: int, _: Scan) -> list[Event]:
    return _ended(world, course, now, "delivered")


def _return(world: World, course: Course, now: int, _: Scan) -> list[Event]:
    return _ended(world, course, now, "returned")


def _ended(world: World, course: Course, now: int, name: str) -> list[Event]:
    _needs_open(course)
    if course.letter.number is None:
        raise Conflict("cardId: this card's carrier scans nothing")
    before = [] if "shipped" in course.told else [_now(world, course, "shipped", now)]
    events = [*before, _now(world, course, name, now)]
    course.plan([])
    return events


def _fail(world: World, course: Course, now: int, _: Scan) -> list[Event]:
    _needs_open(course)
    name = "missed" if "shipped" in course.told else "failed"
    if name == "missed" and course.letter.number is None:
        raise Conflict("cardId: this card's carrier scans nothing")
    if name == "failed" and "done" in course.told:
        raise Conflict("cardId: too late, the card is made; its delivery can fail once it is shipped")
    return [_now(world, course, name, now)]


def _hold(world: World, course: Course, now: int, _: Scan) -> list[Event]:
    _needs_unshipped(course)
    event = _now(world, course, "held", now)
    entrust(world, course)
    course.hold(now)
    return [event]


def _release(world: World, course: Course, now: int, _: Scan) -> list[Event]:
    if course.held_at is not None:
        course.release(now)
        return [_now(world, course, "released", now)]
    planned = _first_planned(course, "released")
    if not _is_held_by_story(course) or planned is None:
        raise Conflict("cardId: the order is not on hold")
    course.plan([beat.later(now - planned) for beat in course.beats if beat.name != "released"])
    return [_now(world, course, "released", now)]


def _cancel(world: World, course: Course, now: int, _: Scan) -> list[Event]:
    if course.held_at is not None:
        course.release(now)
    _needs_unshipped(course)
    event = _now(world, course, "canceled", now)
    entrust(world, course)
    course.plan([])
    return [event]


def _scan(world: World, course: Course, now: int, scan: Scan) -> list[Event]:
    if course.letter.number is None:
        raise Conflict("cardId: this card's carrier scans nothing")
    if scan == Scan():
        return [_next_scan(course, now)]
    given = {name: value for name, value in msgspec.structs.asdict(scan).items() if value is not None}
    plain = _now(world, course, "collected", now)
    for name in ("status", "code", "message", "location"):
        plain.pop(name, None)
    return [plain | given]


def _next_scan(course: Course, now: int) -> Event:
    planned = course.next_scan()
    if course.held_at is not None:
        raise Conflict("cardId: the order is on hold; release it first, or say which scan with --status or --code")
    if planned is None:
        raise Conflict("cardId: its story has no scan left; say which with --status or --code")
    course.plan([beat for beat in course.beats if beat is not planned])
    return course.tell(planned.later(now - planned.happens_at)).event


_ACTIONS = {
    Verb.SHIP: _ship, Verb.DELIVER: _deliver, Verb.RETURN: _return, Verb.FAIL: _fail, Verb.HOLD: _hold,
    Verb.RELEASE: _release, Verb.CANCEL: _cancel, Verb.SCAN: _scan,
}  # fmt: skip


def _now(world: World, course: Course, name: str, now: int) -> Event:
    """Return a step of the course that happens now, and count it as told."""
    course.told.append(name)
    return world.planner.beat(course, Step(step=name), now).event


def _is_held_by_story(course: Course) -> bool:
    return [name for name in course.told if name in {"held", "released"}][-1:] == ["held"]


def _first_planned(course: Course, name: str) -> int | None:
    return next((beat.happens_at for beat in course.beats if beat.name == name), None)


def _needs_open(course: Course) -> None:
    if course.held_at is not None:
        raise Conflict("cardId: the order is on hold; release it first")
    ended = next((name for name in course.told if name in _ENDS), None)
    if ended is not None:
        raise Conflict(f"cardId: too late, the order is {ended}")


def _needs_unshipped(course: Course) -> None:
    _needs_open(course)
    if "shipped" in course.told:
        raise Conflict("cardId: too late, the card is shipped")
