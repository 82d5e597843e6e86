"""The switchboard: which faults are active, and whom they strike. With the same seed the same calls are struck."""

from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any

import msgspec

from cardtrail.errors import InputError
from cardtrail.protocol.codec import CARD_ID
from cardtrail.sandbox.wire.kinds import TABLE, Hop, Kind, about, hop_of, seconds_of

MAX_CARDS = 1_000
"""Most cards that a fault can be told."""
MAX_COUNT = 1_000_000
"""Most strikes after which a fault can be told to end."""
MAX_SPARED = 10_000
"""Most tokens that are remembered as fetched since a fault was switched on."""
ENDS = frozenset({Kind.TOKEN_EXPIRY, Kind.DROP, Kind.SERVER_ERROR, Kind.TOO_MANY})
"""Kinds behind which no other strikes the same message: it has not reached the other side."""
POSTPONES = frozenset({Kind.DELAY, Kind.REORDER})
"""Kinds behind which only a duplicate strikes: the connection on which the message came is done with."""
_PLACES = {each.kind: place for place, each in enumerate(TABLE)}

Applies = Callable[["Fault"], bool]


class FaultIn(msgspec.Struct, forbid_unknown_fields=True):
    """How a fault is asked for; see `Faults.set`."""

    hop: str | None = None
    rate: float = 1.0
    cards: list[str] = []
    seconds: float | None = None
    count: int | None = None


class Fault:
    """An active fault; what it was told, `Faults.set` explains. `struck` counts its strikes."""

    def __init__(  # noqa: PLR0913 -- what a fault can be told, and its seed
        self, kind: Kind, hop: Hop, seed: int, *, rate: float, cards: frozenset[str], seconds: float, count: int
    ) -> None:
        self.kind = kind
        self.hop = hop
        self.rate = rate
        self.cards = cards
        self.seconds = seconds
        self.count = count
        self.struck = 0
        self._chance = Random(f"{seed}-{kind}-{hop}")  # noqa: S311 -- what goes wrong is no secret
        self._spared: dict[str, None] = {}

    @property
    def is_spent(self) -> bool:
        """Whether it has struck as often as it was told to."""
        return 0 < self.count <= self.struck

    def meets(self, cards: Collection[str]) -> bool:
        """Draw whether to strike a message that carries these cards."""
        if self.cards and self.cards.isdisjoint(cards):
            return False
        return self._chance.random() < self.rate

    def spare(self, token: str) -> None:
        """Remember a token that is never to be struck; of very many, the oldest are forgotten."""
        self._spared[token] = None
        if len(self._spared) > MAX_SPARED:
            del self._spared[next(iter(self._spared))]

    def spares(self, token: str) -> bool:
        """Tell whether a token is never to be struck."""
        return token in self._spared

    def told(self) -> dict[str, Any]:
        """Return how it stands, for people and programs."""
        return {
            "kind": self.kind, "hop": self.hop, "rate": self.rate, "cards": sorted(self.cards),
            "seconds": self.seconds, "count": self.count, "struck": self.struck,
        }  # fmt: skip


class Faults:
    """The faults of one sandbox; its seed decides whom they strike."""

    def __init__(self, seed: int) -> None:
        self.is_any = False
        """Whether any fault is active: all that a call costs when none is."""
        self._seed = seed
        self._active: dict[tuple[Kind, Hop], Fault] = {}
        self._past: dict[tuple[Kind, Hop], int] = {}

    def set(  # noqa: PLR0913 -- what a fault can be told
        self, kind: str, hop: str | None = None, *, rate: float = 1.0, cards: Iterable[str] = (),
        seconds: float | None = None, count: int | None = None,
    ) -> Fault:  # fmt: skip
        """Switch a fault on, or anew, from the beginning of its seed.

        It strikes this part of the messages on its hop, 0 < `rate` <= 1, of these `cards` or of all, and ends after
        `count` strikes, 0 for never. What `seconds` is, and what holds where nothing is said, `kinds.TABLE` tells.
        Raises InputError naming what is wrong.
        """
        found = about(kind)
        place = hop_of(found, hop)
        if not 0 < rate <= 1:
            raise InputError("rate", "more than 0 and at most 1", "FIELD_INVALID_VALUE")
        wanted = found.count if count is None else count
        if not 0 <= wanted <= MAX_COUNT:
            raise InputError("count", f"0 to {MAX_COUNT}", "FIELD_INVALID_VALUE")
        fault = Fault(
            found.kind, place, self._seed, rate=rate, cards=_cards_of(cards),
            seconds=seconds_of(found, place, seconds), count=wanted,
        )  # fmt: skip
        self._retire(found.kind, place)
        self._active[found.kind, place] = fault
        self._active = dict(sorted(self._active.items(), key=lambda item: _PLACES[item[0][0]]))
        self.is_any = True
        return fault

    def clear(self, kind: str | None = None, hop: str | None = None) -> int:
        """Switch off all faults, or those of a kind, of a hop; return how many. Raises InputError."""
        wanted = None if kind is None else about(kind).kind
        if hop is not None and hop not in set(Hop):
            raise InputError("hop", f"one of {', '.join(Hop)}", "FIELD_INVALID_VALUE")
        going = [key for key in self._active if wanted in (None, key[0]) and hop in (None, key[1])]
        for key in going:
            self._retire(*key)
        self.is_any = bool(self._active)
        return len(going)

    def _retire(self, kind: Kind, hop: Hop) -> None:
        gone = self._active.pop((kind, hop), None)
        if gone is not None:
            self._past[kind, hop] = self._past.get((kind, hop), 0) + gone.struck

    # ── what there is to see ──

    def active(self) -> list[Fault]:
        """Return the active faults in the order of application; one that is spent stays until it is cleared."""
        return list(self._active.values())

    def find(self, kind: Kind, hop: Hop) -> Fault | None:
        """Return an active fault."""
        return self._active.get((kind, hop))

    def struck(self, kind: Kind, hop: Hop) -> int:
        """Return how often a kind has struck on a hop since the start, however often it was switched."""
        fault = self._active.get((kind, hop))
        return self._past.get((kind, hop), 0) + (fault.struck if fault is not None else 0)

    def names_cards(self, hop: Hop) -> bool:
        """Tell whether a fault of the hop asks for cards, so that a message's must be looked for."""
        return any(fault.cards for (_, place), fault in self._active.items() if place is hop)

    # ── strikes ──

    def strike(
        self, hop: Hop, cards: Collection[str], among: Collection[Kind], applies: Applies | None = None
    ) -> dict[Kind, Fault]:
        """Return the faults among some kinds that strike a message, in the order of application.

        Every one draws, so that what one does never depends on the others. One that has nothing to change in the
        message, as `applies` tells, has not struck, and neither has one behind a kind that leaves nothing to strike.
        """
        struck: dict[Kind, Fault] = {}
        meeting = [
            fault for (kind, place), fault in self._active.items()
            if place is hop and kind in among and fault.meets(cards)
        ]  # fmt: skip
        for fault in meeting:
            if fault.is_spent or (applies is not None and not applies(fault)):
                continue
            if POSTPONES & struck.keys() and fault.kind is not Kind.DUPLICATE:
                continue
            fault.struck += 1
            struck[fault.kind] = fault
            if fault.kind in ENDS:
                break
        return struck


def _cards_of(cards: Iterable[str]) -> frozenset[str]:
    found = frozenset(cards)
    if len(found) > MAX_CARDS:
        raise InputError("cards", f"at most {MAX_CARDS}", "FIELD_INVALID_VALUE")
    if not all(CARD_ID.fullmatch(card) for card in found):
        raise InputError("cards", "each 1 to 48 of A-Z a-z 0-9 _ -")
    return found
