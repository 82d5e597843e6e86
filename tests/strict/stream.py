"""The way of notifications to the receiver, where some are lost, some come twice and all may overtake each other."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import NamedTuple


class Losses(NamedTuple):
    """What happens on the way: shares from 0 to 1; the others count notifications sent meanwhile."""

    lost: float = 0.0
    doubled: float = 0.0
    window: int = 0
    """How many later ones may overtake one."""
    late: float = 0.0
    delay: int = 0
    """How many more may overtake one that is late."""


class Stream:
    """Takes elements in their order and gives them as they arrive; what was lost, by a seed, never does."""

    def __init__(self, losses: Losses, seed: int = 0) -> None:
        self.counts: Counter[str] = Counter()
        self._losses = losses
        self._chance = Random(f"{seed}:stream")
        self._numbers = count()
        self._sent = 0
        self._under_way: list[tuple[int, int, bytes]] = []

    def push(self, element: bytes) -> list[bytes]:
        """Send one more; return what arrives now."""
        self._sent += 1
        self.counts["told"] += 1
        for _ in range(self._copies()):
            entry = (self._sent + self._detour(), next(self._numbers), element)
            heapq.heappush(self._under_way, entry)
        return self._arrived(self._sent)

    def flush(self) -> list[bytes]:
        """Let everything arrive that is still under way."""
        return self._arrived(None)

    def _copies(self) -> int:
        if self._chance.random() < self._losses.lost:
            self.counts["lost"] += 1
            return 0
        if self._chance.random() < self._losses.doubled:
            self.counts["doubled"] += 1
            return 2
        return 1

    def _detour(self) -> int:
        detour = self._chance.randint(0, self._losses.window)
        if self._chance.random() < self._losses.late:
            self.counts["late"] += 1
            detour += self._losses.delay
        return detour

    def _arrived(self, until: int | None) -> list[bytes]:
        arrived = []
        while self._under_way and (until is None or self._under_way[0][0] <= until):
            arrived.append(heapq.heappop(self._under_way)[2])
        self.counts["arrived"] += len(arrived)
        return arrived


def body_around(elements: Sequence[bytes]) -> bytes:
    """Return the body of one notification call."""
    return b'{"operations":[%b]}' % b",".join(elements)


def bodies_of(elements: Sequence[bytes], per_call: int = 1) -> Iterator[bytes]:
    """Yield the bodies of the calls that carry these elements."""
    for begin in range(0, len(elements), per_call):
        yield body_around(elements[begin : begin + per_call])
