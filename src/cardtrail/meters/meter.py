"""What a metric is: a name, a unit and a meaning, and what tells its values apart."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

Says = tuple[str, ...] | str
"""All values of a label, or in words what it says."""
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of durations that are counted, seconds."""
COUNTED = 10_000
"""Most rows that are counted for a metric; one more says that there are more."""


class Kind(StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    """It only rises, and begins with 0 in every process."""
    GAUGE = "gauge"
    """It is as it is now."""
    HISTOGRAM = "histogram"
    """How many were at most as large as each bound, since the process began, and their sum."""


class Meter(msgspec.Struct, frozen=True):
    """A metric; the name as it is shown, of a histogram without `_bucket`, `_sum` and `_count`."""

    name: str
    kind: Kind
    unit: str
    text: str
    labels: Mapping[str, Says] = {}
    bounds: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which its values are shown and can be asked for."""
        if self.kind is not Kind.HISTOGRAM:
            return (self.name,)
        return tuple(f"{self.name}_{each}" for each in ("bucket", "sum", "count"))


def counter(name: str, unit: str, text: str, **labels: Says) -> Meter:
    """Return a metric that only rises."""
    return Meter(name, Kind.COUNTER, unit, text, labels)


def gauge(name: str, unit: str, text: str, **labels: Says) -> Meter:
    """Return a metric that is as it is now."""
    return Meter(name, Kind.GAUGE, unit, text, labels)


def durations(name: str, text: str, **labels: Says) -> Meter:
    """Return a metric that counts durations by how long they were."""
    return Meter(name, Kind.HISTOGRAM, "seconds", text, labels, QUICK)
