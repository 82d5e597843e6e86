"""How busy the hours of a week are, and time measured in it.

Sites and carriers rest at night and at week-ends. A card that has been silent from Friday evening to Monday morning
has been silent for hardly any *active* time, so ages are compared in active time: an hour as busy as the average lasts
an hour, a busier one longer, a dead one nearly nothing. A whole week lasts a week. Instants and durations are whole µs;
hours are counted in UTC from 1970, so an hour of the week is `at // HOUR % 168`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

HOUR: Final = 3_600_000_000
HOURS: Final = 168
WEEK: Final = HOURS * HOUR
FLOOR: Final = 0.02
"""The share of an average hour that a dead one still counts: nothing is ever quite impossible."""


class Week:
    """A week's profile. `weights` are 168 numbers of any scale, not all 0; they are brought to an average of 1."""

    __slots__ = ("_before", "weights")

    def __init__(self, weights: Sequence[float]) -> None:
        if len(weights) != HOURS:
            raise ValueError(f"{HOURS} weights expected, not {len(weights)}")
        mean = sum(weights) / HOURS
        raised = [max(weight / mean, FLOOR) for weight in weights]
        scale = HOURS / sum(raised)
        self.weights = tuple(weight * scale for weight in raised)
        before = [0]
        for weight in self.weights:
            before.append(before[-1] + round(weight * HOUR))
        before[-1] = WEEK
        self._before = tuple(before)

    def active(self, at: int) -> int:
        """Return how much active time has passed from 1970 until an instant."""
        hours, part = divmod(at, HOUR)
        weeks, hour = divmod(hours, HOURS)
        return weeks * WEEK + self._before[hour] + int(part * self.weights[hour])

    def instant(self, active: int) -> int:
        """Return the instant at which so much active time has passed: the inverse of `active`, but for rounding."""
        weeks, rest = divmod(active, WEEK)
        hour = bisect_right(self._before, rest) - 1
        return weeks * WEEK + hour * HOUR + int((rest - self._before[hour]) / self.weights[hour])


EVEN: Final = Week([1.0] * HOURS)
"""Every hour like every other."""
