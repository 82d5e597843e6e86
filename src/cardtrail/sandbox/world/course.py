"""A course: what will be reported of one order, planned as a whole when the order is placed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from cardtrail.core.event import CarrierKind
from cardtrail.core.order import SECOND
from cardtrail.sandbox.world.book import Book, Scenario, Step, StepKind, kind_of
from cardtrail.sandbox.world.clock import wire_instant
from cardtrail.sandbox.world.hours import dwell_of, open_at
from cardtrail.sandbox.world.plant import Plant

PROMISE = timedelta(days=6)
"""The estimated shipment date that a site gives: so long after the data is prepared."""
TRAVEL = timedelta(days=3)
"""The estimated delivery that a carrier gives: so long after it is announced."""
TOWNS = ("Köln", "Bremen", "Dresden", "Ulm", "Jena", "Lübeck", "Hagen", "Speyer")
_AT_THE_DOOR = frozenset({"out", "missed", "pickup", "delivered"})
_SAID = ("status", "message", "reason", "error_code", "error")
_WIRE = {"error_code": "errorCode"}
Event = dict[str, Any]


class Ordered(msgspec.Struct, frozen=True):
    """An order that the platform has taken."""

    issuer_id: str
    card_id: str
    operation_id: str

    @property
    def short_id(self) -> str:
        """What its events are numbered by; no two orders share one."""
        return self.operation_id[-16:]


class Beat(msgspec.Struct, frozen=True):
    """Something that will be reported: when it happens and when it is reported, µs, and what is said."""

    name: str
    by: str
    happens_at: int
    reported_at: int
    event: Event

    def later(self, span: int) -> "Beat":
        """Return the same so much later, as far as it has a time of its own."""
        occurred = self.event["occurredAt"]
        moved = datetime.fromisoformat(occurred) + timedelta(microseconds=span)
        event = self.event | {"occurredAt": wire_instant(round(moved.timestamp() * 1_000) * 1_000)}
        return Beat(self.name, self.by, self.happens_at + span, self.reported_at + span, event)


class Letter(msgspec.Struct, frozen=True):
    """How a card travels: the carrier, the number if it has one, and whether it is scanned for this card."""

    carrier: str
    number: str | None
    is_scanned: bool = True


class Course:
    """One order's way: what has been reported, and what will be, the next first."""

    def __init__(self, order: Ordered, name: str, scenario: Scenario, site: str, letter: Letter) -> None:
        self.order = order
        self.name = name
        self.scenario = scenario
        self.site = site
        self.letter = letter
        self.beats: list[Beat] = []
        self.told: list[str] = []
        """Names of the steps that were reported."""
        self.held_at: int | None = None
        self.version = 0
        """Another one after each change of what will be reported."""
        self._numbers = 0
        self._kept: list[Beat] = []
        self._said: dict[str, Event] = {}
        """Events that were told and will be again, by their ids."""

    @property
    def is_under_way(self) -> bool:
        """Whether something will be reported yet, at once or after a release."""
        return bool(self.beats) or self.held_at is not None

    def next_id(self) -> str:
        """Return an id for another event."""
        self._numbers += 1
        return f"{self.order.short_id}.{self._numbers}"

    def plan(self, beats: list[Beat]) -> None:
        """Have this reported from now on, instead of what was planned."""
        self.beats = sorted(beats, key=lambda beat: beat.reported_at)
        self.version += 1

    def hold(self, at: int) -> None:
        """Let everything stand still: nothing is reported until it is released."""
        self.held_at, self._kept = at, self.beats
        self.plan([])

    def release(self, at: int) -> None:
        """Go on, later by as long as it was held."""
        held_for = at - (self.held_at or at)
        self.held_at = None
        self.plan([beat.later(held_for) for beat in self._kept])

    def take(self) -> Beat:
        """Take the next one: it is reported now."""
        return self.tell(self.beats.pop(0))

    def tell(self, beat: Beat) -> Beat:
        """Count something as told; return it as it is told: the second time as the first, whatever was moved since."""
        self.told.append(beat.name)
        if not self.scenario.again:
            return beat
        return msgspec.structs.replace(beat, event=self._said.setdefault(beat.event["eventId"], beat.event))

    def next_scan(self) -> Beat | None:
        """Return the next of the carrier that was not told yet; None where there is none."""
        return next(
            (each for each in self.beats if each.by == "carrier" and each.event["eventId"] not in self._said), None
        )


class Planner:
    """Plans courses by the book. `chance` is the order's own, so that no order changes another's story."""

    def __init__(self, book: Book, plant: Plant) -> None:
        self._book = book
        self._plant = plant

    def course_of(self, order: Ordered, name: str, chance: Random, at: int) -> Course:
        """Return the course of an order that was placed at `at`, µs."""
        scenario = self._book.scenarios[name]
        site = chance.choices(
            list(self._book.sites), [each.capacity for each in self._book.sites.values()]
        )[0]  # fmt: skip
        letter = self._letter_of(order, scenario, chance)
        course = Course(order, name, scenario, site, letter)
        beats = list(self._beats(course, chance, at))
        if scenario.again:
            beats += [
                msgspec.structs.replace(beat, name=f"{beat.name} again", reported_at=beat.reported_at + scenario.again)
                for beat in beats
            ]  # fmt: skip
        course.plan(beats)
        return course

    def _letter_of(self, order: Ordered, scenario: Scenario, chance: Random) -> Letter:
        carriers = self._book.carriers
        carrier = scenario.carrier or chance.choices(list(carriers), [each.weight for each in carriers.values()])[0]
        if scenario.parcel == "untracked":
            return Letter(carrier, None, is_scanned=False)
        return Letter(carrier, f"CT{order.short_id.upper()}DE")

    def _beats(self, course: Course, chance: Random, at: int) -> Iterator[Beat]:
        town = chance.choice(TOWNS)
        for step in course.scenario.whole_steps:
            kind = self._book.steps[step.step]
            at = self._moment(course, step, kind, at, chance)
            if step.step == "shipped" and course.scenario.parcel == "branch":
                at = self._join_branch(course, at)
            if kind.by == "carrier" and not course.letter.is_scanned:
                return
            yield self.beat(course, step, at, town)

    def _moment(self, course: Course, step: Step, kind: StepKind, at: int, chance: Random) -> int:
        """Return when a step happens whose predecessor happened at `at`."""
        at += dwell_of(*kind.dwell, chance) if step.after is None else step.after
        if kind.by == "carrier":
            return open_at(self._book.carriers[course.letter.carrier], at)
        site = self._book.sites[course.site]
        return self._plant.lot(course.site, site, at) if step.step == "started" else open_at(site, at)

    def _join_branch(self, course: Course, at: int) -> int:
        """Put the card into the site's next parcel to the branch; return when that leaves."""
        letter = course.letter
        fresh = letter.carrier, letter.number or ""
        parcel, is_first = self._plant.branch(course.site, self._book.sites[course.site], at, fresh)
        course.letter = Letter(parcel.carrier, parcel.number, is_scanned=is_first)
        return parcel.leaves_at

    def close(self, letter: Letter) -> None:
        """Put no more cards into a parcel."""
        self._plant.close(letter.number or "")

    # ── one beat ──

    def beat(self, course: Course, step: Step, at: int, town: str = "") -> Beat:
        """Return one step of a course as it is reported, happening at `at`."""
        kind = self._book.steps[step.step]
        clock = course.scenario.site_clock if kind.by == "site" else course.scenario.carrier_clock
        event: Event = {"eventId": course.next_id(), "occurredAt": wire_instant(at + step.stamp + clock)}
        event |= {_WIRE.get(name, name): said for name in _SAID if (said := getattr(kind, name)) is not None}
        if kind.by == "site":
            event |= self._of_site(course, step.step, kind, at)
        else:
            event |= self._of_carrier(course, step.step, kind, at)
            if town:
                event["location"] = town if step.step in _AT_THE_DOOR else "Frankfurt"
        return Beat(step.step, kind.by, at, at + step.late, event)

    def _of_site(self, course: Course, name: str, kind: StepKind, at: int) -> Event:
        order = course.order
        event: Event = {
            "source": f"site:{course.site}", "kind": kind_of(name, kind),
            "issuerId": order.issuer_id, "cardId": order.card_id, "operationId": order.operation_id,
        }  # fmt: skip
        if kind.final:
            event["final"] = True
        if name == "prepared":
            event |= {"dueDate": _date_after(at, PROMISE), "productionSite": self._book.sites[course.site].name}
        if name == "shipped":
            event["carrier"] = course.letter.carrier
            if course.letter.number is not None:
                event["trackingNumber"] = course.letter.number
        return event

    def _of_carrier(self, course: Course, name: str, kind: StepKind, at: int) -> Event:
        """A carrier knows the letter, and neither card nor order."""
        carrier = self._book.carriers[course.letter.carrier]
        event: Event = {
            "source": f"carrier:{course.letter.carrier}", "kind": kind_of(name, kind),
            "carrier": course.letter.carrier, "trackingNumber": course.letter.number,
        }  # fmt: skip
        if name in carrier.codes:
            event["code"] = carrier.codes[name]
        if name == "announced":
            event["estimatedDelivery"] = _date_after(at, TRAVEL)
        if event["kind"] == CarrierKind.RETURNED:
            event.pop("status", None)
        return event


def _date_after(at: int, span: timedelta) -> str:
    return (datetime.fromtimestamp(at / SECOND, UTC) + span).date().isoformat()
