"""The policy at work on a made-up world: the real `due_of`, `Dwell` and `Budget`, event by event.

Nothing is done for a change that is told and followed by the next one before its card is due or swept: that is nearly
all of them, and what lets a million cards go by in less than a minute.
"""

from array import array
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from heapq import heappop, heappush

from bench.polling_told import NEVER, Staleness, Told, staleness_of
from bench.polling_world import BEGIN, DAY, HELD, HOUR, KINDS, PLAIN
from cardtrail.issuer.budget import SWEEP_AFTER, Budget, Limits
from cardtrail.issuer.due import CardKnowledge, Why, due_of, key_of
from cardtrail.issuer.dwell import Dwell
from cardtrail.issuer.patience import next_ask

SLOT = 300_000_000
"""Times are rounded up to this, µs."""
ROUND = 10_000_000
"""The reconciler asks for calls this often, µs."""
SLOTS = DAY // SLOT
Entry = tuple[int, int, int, int, int]
"""Why, due at, change (or -1 - card after an ask), known to be right at, next told at."""


@cache
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


@dataclass
class Asked:
    """What the mirror knows of a card since it was asked: valid until the next change that is told."""

    at: int
    change: int
    changed_at: int
    asks: int
    until: int


@dataclass
class Calls:
    """Calls made, and how many of them found a change, by reason."""

    made: dict[Why, int] = field(default_factory=lambda: dict.fromkeys(Why, 0))
    found: dict[Why, int] = field(default_factory=lambda: dict.fromkeys(Why, 0))
    oldest: int = 0
    """The longest that a card was neither told nor asked when the sweep came to it, µs."""


class Simulation:
    """One budget in one world."""

    def __init__(self, told: Told, by_day: "list[array[int]]", limits: Limits, sample: int = 20) -> None:
        self.told, self.world, self._by_day = told, told.world, by_day
        self._sample = sample
        self.budget = Budget(limits)
        self.dwell = Dwell()
        self.calls = Calls()
        self.repaired: dict[int, int] = {}
        self._asked: dict[int, Asked] = {}
        self._due: list[Entry] = []
        self._looks: deque[Entry] = deque()
        self._sweep: deque[Entry] = deque()
        slots = self.world.days * SLOTS + 1
        self._wheel: list[list[Entry]] = [[] for _ in range(slots)]
        self._sweeps: list[list[Entry]] = [[] for _ in range(slots)]

    def run(self) -> Staleness:
        """Let all days go by."""
        for day in range(self.world.days):
            self._prepare(day)
            for slot in range(day * SLOTS, (day + 1) * SLOTS):
                self._arrive(slot)
                for step in range(SLOT // ROUND):
                    self._round(BEGIN + slot * SLOT + step * ROUND)
            self._learn(day)
        return staleness_of(self.told, sum(self.calls.made.values()), self.repaired)

    # ── what the mirror is told ──

    def _prepare(self, day: int) -> None:
        """Place the cards that a day's changes leave waiting for long enough to be due or swept."""
        world, told = self.world, self.told
        at, kind, luck, after, lost = world.at, world.kind, world.luck, told.after, told.lost
        usual = [[self._usual(number, day, hour) for hour in range(24)] for number in range(len(KINDS))]
        for change in self._by_day[day]:
            if luck[change] < lost:
                card = world.card[change]
                if change == world.first[card] and told.expected(card):
                    self._place(-1 - card, self._knowledge(-1, card, at[change]), at[change], told.until(change))
                continue
            now, following = at[change], after[change]
            until = at[following] if following >= 0 else NEVER
            if until - now < usual[kind[change]][now // HOUR % 24]:
                continue
            card = world.card[change]
            self._place(change, self._knowledge(change, card, now), now, until)

    def _usual(self, number: int, day: int, hour: int) -> int:
        """Return the shortest time after which anything can come of a change, as far as the due date allows."""
        stage, shipment, status = KINDS[number]
        card = CardKnowledge(stage, shipment, status, 0, tracked=number != PLAIN, held=number == HELD)
        at = BEGIN + day * DAY + hour * HOUR
        return min(next_ask(self.dwell.stay(key_of(card)).plan(at // HOUR % 168), 0), SWEEP_AFTER)

    def _knowledge(self, change: int, card: int, changed_at: int, asked_at: int = 0, asks: int = 0) -> CardKnowledge:
        if change < 0:
            return CardKnowledge("", "", "", changed_at, asked_at, asks)
        number = self.world.kind[change]
        stage, shipment, status = KINDS[number]
        return CardKnowledge(
            stage, shipment, status, changed_at, asked_at, asks, _date(self.world.due[card]), number == HELD,
            number != PLAIN and stage == "CARD_SHIPPED", looked=asked_at >= changed_at,
        )  # fmt: skip

    def _place(self, token: int, card: CardKnowledge, now: int, until: int) -> None:
        due = due_of(card, now, self.dwell)
        if due.why is Why.SILENT:
            self.dwell.learn_silent(key_of(card))
        if due.why in {Why.SETTLED, Why.SILENT}:
            return
        if max(due.at, now) < min(until, self.world.end):
            self._put(self._wheel, max(due.at, now), (int(due.why), due.at, token, now, until))
        if due.why is not Why.LAST_LOOK and now + SWEEP_AFTER < min(until, self.world.end):
            self._put(self._sweeps, now + SWEEP_AFTER, (int(Why.SWEEP), due.at, token, now, until))

    def _put(self, wheel: list[list[Entry]], at: int, entry: Entry) -> None:
        wheel[-(-(at - BEGIN) // SLOT)].append(entry)

    def _learn(self, day: int) -> None:
        """Learn from the dwells of some cards that ended, told at both ends."""
        world, told = self.world, self.told
        for change in self._by_day[day]:
            card = world.card[change]
            if card % self._sample or world.luck[change] < told.lost or change == world.first[card]:
                continue
            before = change - 1
            while before >= world.first[card] and world.luck[before] < told.lost:
                before -= 1
            if before >= world.first[card]:
                key = key_of(self._knowledge(before, card, world.at[before]))
                self.dwell.learn(key, world.at[before], world.at[change])
        patience = self.budget.usage.patience
        if day < 14 or day % 7 == 0 or not 0.8 < patience / self.dwell.patience < 1.25:
            self.dwell.settle(patience)

    # ── what the reconciler does ──

    def _arrive(self, slot: int) -> None:
        for entry in self._wheel[slot]:
            if entry[0] == Why.LAST_LOOK:
                self._looks.append(entry)
            else:
                heappush(self._due, entry)
        self._sweep.extend(self._sweeps[slot])
        self._wheel[slot] = self._sweeps[slot] = []
        if slot % 12 == 0:
            self._due = [entry for entry in self._due if self._alive(entry, BEGIN + slot * SLOT)]
            self._due.sort()

    def _round(self, now: int) -> None:
        due, looks, sweep = self._due, self._looks, self._sweep
        while due and not self._alive(due[0], now):
            heappop(due)
        while looks and not self._alive(looks[0], now):
            looks.popleft()
        while sweep and not self._alive(sweep[0], now):
            sweep.popleft()
        grant = self.budget.grant(now, due=len(due), looks=len(looks), sweep=len(sweep))
        for _ in range(grant.due):
            self._ask_next(due, now)
        for _ in range(grant.looks):
            self._ask_next(looks, now)
        for _ in range(grant.sweep):
            self._ask_next(sweep, now)

    def _ask_next(self, queue: "list[Entry] | deque[Entry]", now: int) -> None:
        while queue:
            entry = heappop(queue) if isinstance(queue, list) else queue.popleft()
            if self._alive(entry, now):
                why = Why(entry[0])
                self.calls.made[why] += 1
                self.calls.found[why] += self._ask(entry, now)
                if why is Why.SWEEP:
                    self.calls.oldest = max(self.calls.oldest, now - entry[3])
                return

    def _alive(self, entry: Entry, now: int) -> bool:
        """Return whether nothing has been learned of a card since it was placed."""
        if entry[4] <= now:
            return False
        token = entry[2]
        asked = self._asked.get(-1 - token if token < 0 else self.world.card[token])
        return asked is None or asked.at <= entry[3]

    def _ask(self, entry: Entry, now: int) -> bool:
        """Ask for a card; return whether the mirror was wrong about it."""
        world, token = self.world, entry[2]
        card = -1 - token if token < 0 else world.card[token]
        begin, end = world.first[card], world.first[card + 1]
        asked = self._asked.get(card)
        if asked is not None and asked.until > now:
            change, changed_at, asks = asked.change, asked.changed_at, asked.asks + 1
        else:
            change, changed_at, asks = token if token >= 0 else -1, entry[3], 1
        newest = change if change >= 0 else begin - 1
        while newest + 1 < end and world.at[newest + 1] <= now:
            newest += 1
            self.repaired.setdefault(newest, now)
        found = newest >= begin and newest != change
        if found:
            change, changed_at, asks = newest, now, 0
        until = self.told.until(newest) if newest >= begin else self._first_told_at(card)
        self._asked[card] = Asked(now, change, changed_at, asks, until)
        self._place(-1 - card, self._knowledge(change, card, changed_at, now, asks), now, until)
        return found

    def _first_told_at(self, card: int) -> int:
        told = self.told.first_told(card)
        return self.world.at[told] if told >= 0 else NEVER
