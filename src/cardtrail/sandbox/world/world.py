"""The world at work: orders become courses, and what is due is reported. It is the platform's production connector.

All that will happen stands on one agenda, so that the same seed and the same orders give the same events: the next
thing is taken, whatever clock drives it.
"""

import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import msgspec
import structlog

from cardtrail.core.order import SECOND
from cardtrail.errors import CardtrailError, NotFound, Refused, StoreUnavailable
from cardtrail.platform.connector import CardOrder
from cardtrail.sandbox.wire.events import EventWire, Later
from cardtrail.sandbox.world.book import Book
from cardtrail.sandbox.world.course import Beat, Course, Event, Ordered, Planner
from cardtrail.sandbox.world.magic import scenario_named
from cardtrail.sandbox.world.owed import MAX_BATCH, Outside, Owed, Wish
from cardtrail.sandbox.world.plant import Plant

MAX_COURSES = 200_000
"""Courses that are remembered; the oldest that have ended are forgotten."""
MAX_KNOWN = 2 * MAX_COURSES
"""Orders that are recognized when the platform places them again."""
MAX_TEXT = 256
"""Longest text that an event may have; one with a longer is rejected as a whole."""
REORDER_AFTER = 24 * 3_600 * 1_000_000
"""How long after a course's end the bank orders the card again, where its scenario says so, µs."""
OVERDUE = 0
"""When something happens that should have happened already: an instant before all others, µs."""
NO_SCENARIO = "NO_SUCH_SCENARIO"
"""`errorCode` of an order whose magic id names none: it is rejected, so that a slip cannot pass unseen."""

_log = structlog.get_logger()


Entry = Wish | Later | tuple[Course, int]
"""What stands on the agenda: an order of the bank, what the wire keeps back, a course's next step by its version."""


class World:
    """Sites and carriers. `clock` gives virtual time, µs; `seed` decides every choice that is made."""

    def __init__(
        self, book: Book, seed: int, clock: Callable[[], int], touch: Callable[[], None] = lambda: None
    ) -> None:
        self.book = book
        self.clock = clock
        self.told = Counter[str]()
        """How the platform answered what was reported: accepted, duplicate, rejected."""
        self.stories = Counter[str]()
        """Orders of each scenario."""
        self.courses: dict[tuple[str, str], Course] = {}
        """The newest course of each card, by issuer and card."""
        self.planner = Planner(book, Plant())
        self.wire: EventWire | None = None
        """What events go through on their way to the platform, and may be lost, changed or kept back by."""
        self.on_end: Callable[[Course, int], None] = lambda _course, _at: None
        """Told when a course has come to its end, and when that was."""
        self.on_refused: Callable[[Wish], None] = lambda _wish: None
        """Told when the platform does not take an order of the bank."""
        self.refused = 0
        """Orders of the bank that the platform did not take."""
        self.happened = 0
        """How much has happened so far: what was due, whatever became of it on its way."""
        self._seed = seed
        self._touch = touch
        self._orders = Counter[tuple[str, str]]()
        self._known: dict[str, None] = {}
        self._agenda: list[tuple[int, int, Entry]] = []
        self._owed = Owed()
        self._entries = 0

    # ── orders in ──

    async def place(self, order: CardOrder) -> None:
        """Take an order, as the platform's production connector."""
        if order.operation_id in self._known:
            return
        self._known[order.operation_id] = None
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self.begin(Ordered(order.issuer_id, order.card_id, order.operation_id), _request_id_of(order))

    def begin(self, order: Ordered, request_id: str | None) -> Course:
        """Plan an order's course from now on, and remember it."""
        key = order.issuer_id, order.card_id
        self._orders[key] += 1
        chance = Random(f"{self._seed}|{order.issuer_id}|{order.card_id}|{self._orders[key]}")  # noqa: S311 -- a story is no secret
        name, wanted = self._scenario_of(order, request_id, chance)
        course = self.planner.course_of(order, name, chance, self.clock())
        if name != wanted:
            course.plan([_told_of(course.beats[0], wanted, self.book)])
        self.stories[name] += 1
        self._remember(key, course)
        self.replan(course)
        return course

    def _scenario_of(self, order: Ordered, request_id: str | None, chance: Random) -> tuple[str, str]:
        """Return the scenario to play and the one that was asked for; they differ where there is no such scenario."""
        names = self.book.scenarios
        asked = (scenario_named(name, names) for name in (request_id, order.card_id))
        wanted = next((name for name in asked if name is not None), None)
        if wanted is None:
            wanted = chance.choices(list(names), [each.weight for each in names.values()])[0]
        return (wanted if wanted in names else "data-exception"), wanted

    def _remember(self, key: tuple[str, str], course: Course) -> None:
        self.courses.pop(key, None)
        self.courses[key] = course
        if len(self.courses) > MAX_COURSES:
            ended = next((key for key, each in self.courses.items() if not each.is_under_way), next(iter(self.courses)))
            del self.courses[ended], self._orders[ended]

    def course(self, issuer_id: str, card_id: str) -> Course:
        """Return a card's newest course. Raises NotFound."""
        found = self.courses.get((issuer_id, card_id))
        if found is None:
            raise NotFound(f"cardId: the sandbox has no order of {card_id[:48]!r} under way since it began")
        return found

    # ── the agenda ──

    def wish(self, at: int, wish: Wish) -> None:
        """Have the bank order a card at an instant."""
        self._enter(at, wish)

    def replan(self, course: Course) -> None:
        """Put what a course will report next on the agenda; what stood there before is void by its version."""
        course.version += 1
        if course.beats:
            self._enter(course.beats[0].reported_at, (course, course.version))

    def _enter(self, at: int, entry: Entry) -> None:
        self._entries += 1
        heapq.heappush(self._agenda, (at, self._entries, entry))
        self._touch()

    def next_at(self) -> int | None:
        """Return when the next thing happens, µs; None where nothing will, OVERDUE where the platform is to be told."""
        return OVERDUE if self._owed.is_any else self._next_at()

    def _next_at(self) -> int | None:
        while self._agenda and _is_void(self._agenda[0][2]):
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else None

    async def play(self, until: int, outside: Outside) -> int:
        """Let everything happen that is due by an instant; return how much it was.

        Raises StoreUnavailable where the platform has not heard of all of it: the rest is kept, and told the next time.
        Raises Refused where the platform does not want something, which is then lost. Neither orders nor events keep
        the others from being told.
        """
        before = self.happened
        while self._take(until) or self._owed.is_any:
            errors = [await _error_of(self.report(outside)), await _error_of(self._order(outside))]
            for error in filter(None, errors):
                raise error
        return self.happened - before

    async def report(self, outside: Outside) -> None:
        """Report what has happened and was not heard of, and count how it was answered. Raises as `play`."""
        while self._owed.events:
            self.note(await self._owed.report(outside))

    async def _order(self, outside: Outside) -> None:
        while self._owed.wishes:
            await self._owed.order(outside, self._refuse)

    def _refuse(self, wish: Wish, error: CardtrailError) -> None:
        self.refused += 1
        _log.error("not_ordered", card=wish.card_id, error=str(error))
        self.on_refused(wish)

    def say(self, events: list[Event]) -> None:
        """Take events that happen now; `report` or `play` reports them."""
        self._owed.events += self._through(events)

    def _through(self, events: list[Event]) -> list[Event]:
        """Send events through the wire; return those that arrive now. Others follow by the clock of the world."""
        if self.wire is None:
            return events
        outgoing = self.wire.on_events(events)
        for later in outgoing.later:
            self._enter(self.clock() + round(later.seconds * SECOND), later)
        return outgoing.now

    def note(self, results: Sequence[Any]) -> None:
        """Count how the platform answered."""
        self.told.update(result["result"] for result in results)
        for result in results:
            if result["result"] == "rejected":
                _log.warning("event_rejected", **{name: result.get(name) for name in ("eventId", "errorCode", "error")})

    def _take(self, until: int) -> int:
        """Take from the agenda what is due, about as much as one call carries; return how much it was."""
        events: list[Event] = []
        late: list[Event] = []
        wishes: list[Wish] = []
        while len(wishes) + len(events) + len(late) < MAX_BATCH:
            at = self._next_at()
            if at is None or at > until:
                break
            entry = heapq.heappop(self._agenda)[2]
            if isinstance(entry, Wish):
                wishes.append(entry)
            elif isinstance(entry, Later):
                late += entry.take()
            else:
                events.append(self._step(entry[0]).event)
        self._owed.wishes += wishes
        self._owed.events += [*late, *self._through(events)]
        many = len(wishes) + len(events) + len(late)
        self.happened += many
        return many

    def _step(self, course: Course) -> Beat:
        """Let the next thing of a course happen."""
        beat = course.take()
        self.replan(course)
        if not course.beats:
            self.end(course, beat.reported_at)
        return beat

    def end(self, course: Course, at: int) -> None:
        """Do what the bank does when an order has come to its end."""
        if course.scenario.reorder:
            wish = Wish(course.order.card_id, f"sbx-{course.scenario.reorder}-{course.order.short_id}")
            self.wish(at + REORDER_AFTER, wish)
        self.on_end(course, at)


async def _error_of(work: Awaitable[None]) -> Refused | StoreUnavailable | None:
    """Do something; return how the platform kept it from being done."""
    try:
        await work
    except (Refused, StoreUnavailable) as error:
        return error
    return None


def _is_void(entry: Entry) -> bool:
    return isinstance(entry, tuple) and entry[0].version != entry[1]


def _request_id_of(order: CardOrder) -> str | None:
    try:
        content = msgspec.json.decode(order.content) if order.content else {}
    except msgspec.DecodeError:
        return None
    name = content.get("issuerRequestId") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def _told_of(beat: Beat, wanted: str, book: Book) -> Beat:
    """Return an order's rejection that says which scenarios there are."""
    text = f"there is no scenario {wanted[:60]!r}; there are {', '.join(book.scenarios)}"
    return msgspec.structs.replace(beat, event=beat.event | {"errorCode": NO_SCENARIO, "error": text[:MAX_TEXT]})
