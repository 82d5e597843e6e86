"""What the mirror is told and what it is not: which changes get lost, and how long each loss lasts."""

from array import array
from dataclasses import dataclass, field
from itertools import pairwise

from bench.polling_world import BEGIN, DAY, ENDS, PLAIN, World

NEVER = 2**62


@dataclass
class Told:
    """A world and what of it gets lost: change `i` is told if `luck[i] >= lost`.

    `after[i]` is the next change of that card after `i` that is told, -1: none.
    """

    world: World
    lost: float
    after: "array[int]" = field(init=False)

    def __post_init__(self) -> None:
        world = self.world
        luck, lost = world.luck, self.lost
        after = self.after = array("i", bytes(4 * len(world.at)))
        for begin, end in pairwise(world.first):
            told = -1
            for change in range(end - 1, begin - 1, -1):
                after[change] = told
                if luck[change] >= lost:
                    told = change

    def until(self, change: int) -> int:
        """Return when the next change after this one is told, µs."""
        following = self.after[change]
        return self.world.at[following] if following >= 0 else NEVER

    def first_told(self, card: int) -> int:
        """Return a card's first change that is told, -1: none."""
        begin = self.world.first[card]
        return begin if self.world.luck[begin] >= self.lost else self.after[begin]

    def expected(self, card: int) -> bool:
        """Return whether the issuer imported the card when it was ordered: every second one."""
        return card % 2 == 0

    def known_from(self, card: int) -> int:
        """Return since when the mirror knows of a card without asking."""
        told = self.first_told(card)
        if self.expected(card):
            return self.world.at[self.world.first[card]]
        return self.world.at[told] if told >= 0 else NEVER


@dataclass(frozen=True)
class Staleness:
    """How long the mirror was wrong after a lost change, hours; `unrepaired` is of those lost 10 days ago or longer."""

    calls: int
    p50: float
    p90: float
    p99: float
    longest: float
    mean: float
    unrepaired: float
    lost: int


def staleness_of(told: Told, calls: int, repaired: dict[int, int], stride: int = 1) -> Staleness:
    """Return what losses came to, given when an ask repaired them; what is wrong at the end counts until then."""
    world = told.world
    times: list[float] = []
    old = unrepaired = 0
    for card in range(0, world.cards, stride):
        for change in range(world.first[card], world.first[card + 1]):
            if world.luck[change] >= told.lost:
                continue
            at = world.at[change]
            until = min(repaired.get(change, NEVER), told.until(change))
            if at < world.end - 10 * DAY:
                old += 1
                unrepaired += until == NEVER
            times.append((min(until, world.end) - at) / 3.6e9)
    times.sort()
    count = len(times)
    p50, p90, p99 = (times[int(count * share)] for share in (0.5, 0.9, 0.99))
    return Staleness(calls, p50, p90, p99, times[-1], sum(times) / count, unrepaired / max(1, old), count)


def evenly(told: Told, period: int, stride: int = 1) -> Staleness:
    """Return what asking for every open card each `period` µs comes to, exactly.

    A card is open from when the mirror knows of it until it knows that it has settled, or until two weeks after it was
    shipped without a parcel to follow. `stride`: look at every so many cards only, and count calls for all.
    """
    world, repaired, calls = told.world, {}, 0
    for card in range(0, world.cards, stride):
        begin, end = world.first[card], world.first[card + 1]
        if begin == end:
            continue
        known_from, last = told.known_from(card), end - 1
        until = world.end
        if world.kind[last] in ENDS:
            tick = (max(world.at[last], known_from) // period + 1) * period
            until = min(until, world.at[last] if world.luck[last] >= told.lost else tick)
        elif world.kind[last] == PLAIN:
            until = min(until, world.at[last] + 14 * DAY)
        if known_from >= until:
            continue
        calls += until // period - known_from // period
        for change in range(begin, end):
            if world.luck[change] < told.lost:
                tick = (max(world.at[change], known_from) // period + 1) * period
                if tick <= until:
                    repaired[change] = tick
    return staleness_of(told, calls * stride, repaired, stride)


def open_cards(world: World) -> int:
    """Return the most cards that are open at the end of a day."""
    rises = [0] * (world.days + 2)
    for begin, end in pairwise(world.first):
        if begin == end:
            continue
        rises[(world.at[begin] - BEGIN) // DAY] += 1
        last = end - 1
        if world.kind[last] in ENDS:
            rises[(world.at[last] - BEGIN) // DAY] -= 1
        elif world.kind[last] == PLAIN:
            rises[min((world.at[last] - BEGIN) // DAY + 14, world.days + 1)] -= 1
    most = now = 0
    for rise in rises[: world.days]:
        now += rise
        most = max(most, now)
    return most
