"""The truth of the strict server: cards whose orders walk through plots, a step at a time, drawn by a seed.

Nothing here knows of HTTP. A card has had no order, one, or several; the answer to a question is the latest order.
Older orders may still move, and are then heard of by notifications alone.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from tests.strict.plots import PLOTS, SECOND, Habits, Json, aside_of, encode, picture_of

DAY = 86_400 * SECOND
BEGIN = 1_767_571_200 * SECOND
"""5 January 2026: the world's own time, which passes by steps alone."""
MAX_ENCODED = 250_000
"""Most answers that are kept ready to send."""
AGAIN = 0.1
"""How often a card whose order has ended gets another one, when its turn comes."""
TOO_EARLY = 0.01
"""How often it gets another one although the order before still moves."""
MAX_TRIES = 1_000
"""Most cards that are looked at for one step."""


class Order:
    """One order: where in its plot it stands."""

    __slots__ = ("ended", "number", "place", "plot", "started")

    def __init__(self, number: int, plot: str, started: int) -> None:
        self.number = number
        self.plot = plot
        self.place = 0
        self.started = started
        self.ended = 0

    @property
    def beats(self) -> list[str]:
        """Its whole plot."""
        return PLOTS[self.plot].split()

    @property
    def moves(self) -> bool:
        """Whether something is still to come."""
        return self.place < len(self.beats)


class Told(NamedTuple):
    """What a step leads to: an operation, ready to be notified."""

    card_id: str
    operation_id: str
    element: bytes


Tell = Callable[[Told], object]


class World:
    """Cards with numbers from 0; `plots` are the names of those that may be drawn."""

    def __init__(
        self, cards: int, seed: int = 0, *, plots: Sequence[str] = tuple(PLOTS), never: float = 0.0, begin: int = BEGIN
    ) -> None:
        self.cards = cards
        self.now = begin
        self.steps = 0
        self._seed = seed
        self._chance = Random(f"{seed}:world")
        self._plots = tuple(plots)
        self._never = never
        self._orders: dict[int, list[Order]] = {}
        self._encoded: dict[str, bytes] = {}
        self._pause = DAY // max(1, cards)

    # ── time passes ──

    def advance(self, steps: int, tell: Tell | None = None) -> int:
        """Let this many steps happen, each of a card that chance picks, and tell of them; return how many there were.

        There are fewer only where nearly nothing can happen any more.
        """
        return sum(self._step_somewhere(tell) for _ in range(steps))

    def step(self, number: int, tell: Tell | None = None, plot: str = "") -> bool:
        """Let the next thing happen to a card, or a new order with this plot; return False if there is nothing."""
        order = self._due(number, plot)
        if order is None:
            return False
        self.now += self._pause
        self.steps += 1
        beat = order.beats[order.place]
        order.place += 1
        if order.ended == 0 and beat in {"shipped", "handed", "refused", "broken", "canceled"}:
            order.ended = self.now
        self._encoded.pop(self.card_id(number), None)
        if tell is not None:
            tell(self._told(number, order, beat))
        self._forget(number)
        return True

    def _step_somewhere(self, tell: Tell | None) -> bool:
        tries = (self._chance.randrange(self.cards) for _ in range(MAX_TRIES))
        return any(self.step(number, tell) for number in tries)

    def _due(self, number: int, plot: str) -> Order | None:
        orders = self._orders.setdefault(number, [])
        if not orders and not plot and self.is_never_ordered(number):
            return None
        moving = [order for order in orders if order.moves]
        wanted = not orders or self._chance.random() < (TOO_EARLY if moving else AGAIN)
        if plot or wanted:
            latest = orders[-1].number + 1 if orders else 1
            orders.append(Order(latest, plot or self._chance.choice(self._plots), self.now + self._pause))
            return orders[-1]
        return self._chance.choice(moving) if moving else None

    def _forget(self, number: int) -> None:
        orders = self._orders[number]
        self._orders[number] = [order for order in orders[:-1] if order.moves] + orders[-1:]

    def _told(self, number: int, order: Order, beat: str) -> Told:
        if not beat.startswith("!"):
            return Told(self.card_id(number), f"op-{number}-{order.number}", encode(self._picture(number, order)))
        aside = aside_of(beat, self._names(number, order), self.now)
        return Told(self.card_id(number), aside["operationId"], encode(aside))

    # ── what is so ──

    @staticmethod
    def card_id(number: int) -> str:
        """The id of a card."""
        return f"card-{number:07}"

    def number(self, card_id: str) -> int | None:
        """The number of a card, None if there is no such card."""
        digits = card_id.removeprefix("card-")
        number = int(digits) if digits.isdecimal() else -1
        return number if 0 <= number < self.cards and self.card_id(number) == card_id else None

    def is_never_ordered(self, number: int) -> bool:
        """Whether a card is one that nobody ever orders."""
        return self._never > 0 and Random(f"{self._seed}:{number}:never").random() < self._never

    def answer(self, card_id: str) -> bytes | None:
        """The body that answers for a card, None if it was never ordered."""
        body = self._encoded.get(card_id)
        if body is None:
            element = self.newest(card_id)
            if element is None:
                return None
            if len(self._encoded) >= MAX_ENCODED:
                self._encoded.clear()
            body = self._encoded[card_id] = b'{"operations":[%b]}' % element
        return body

    def newest(self, card_id: str) -> bytes | None:
        """The latest order of a card, as it is now."""
        number = self.number(card_id)
        orders = self._orders.get(number, []) if number is not None else []
        return encode(self._picture(number, orders[-1])) if number is not None and orders else None

    def truth(self) -> Iterator[tuple[str, bytes | None]]:
        """Each card and its latest order; None where there is none."""
        for number in range(self.cards):
            card_id = self.card_id(number)
            yield card_id, self.newest(card_id)

    def _names(self, number: int, order: Order) -> dict[str, str]:
        operation = f"op-{number}-{order.number}"
        return {
            "card": self.card_id(number), "operation": operation, "request": f"request-{number}-{order.number}",
            "file": f"orders-{order.started // DAY}.xml",
        }  # fmt: skip

    def _picture(self, number: int, order: Order) -> Json:
        habits = Habits.draw(Random(f"{self._seed}:{number}:{order.number}"))
        beats = [beat for beat in order.beats[: order.place] if not beat.startswith("!")]
        return picture_of(self._names(number, order), beats, (order.started, order.ended), habits)
