"""The values of one process's metrics, and how they are shown to Prometheus.

Values are counted in plain dictionaries, which cost next to nothing; families are made when somebody reads.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cardtrail.meters.meter import Kind, Meter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of what a board shows."""
Values = defaultdict[tuple[object, ...], float]
"""The values of a counter or gauge by those of its labels, in the order in which they are declared."""
Source = Callable[[], Mapping[tuple[object, ...], float]]


class Spread:
    """How many durations were at most as long as each bound, by the values of labels."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._rows: dict[tuple[object, ...], list[float]] = {}

    def note(self, seconds: float, *labels: object) -> None:
        """Count a duration."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = [0.0] * (len(self._bounds) + 2)
        row[bisect_left(self._bounds, seconds)] += 1
        row[-1] += seconds

    def rows(self) -> Iterator[tuple[tuple[object, ...], list[tuple[str, float]], float]]:
        """Yield labels, (bound, how many at most so long), and the sum."""
        names = [*map(str, self._bounds), "+Inf"]
        for labels, row in self._rows.items():
            yield labels, list(zip(names, accumulate(row[:-1]), strict=True)), row[-1]


class Board(Collector):
    """The values of the declared metrics. Each is kept here, or has a source that is asked when somebody reads."""

    def __init__(self, meters: Iterable[Meter]) -> None:
        self._meters = {meter.name: meter for meter in meters}
        self._values = {name: _begun(each) for name, each in self._meters.items() if each.kind is not Kind.HISTOGRAM}
        self._sources: dict[str, Source] = {}
        self._spreads = {name: Spread(each.bounds) for name, each in self._meters.items() if each.bounds}

    def values(self, name: str) -> Values:
        """Return the values of a counter or gauge, to be written to. Raises KeyError for what is not declared."""
        return self._values[name]

    def spread(self, name: str) -> Spread:
        """Return the counts of a histogram. Raises KeyError for what is not declared."""
        return self._spreads[name]

    def show(self, name: str, source: Source) -> None:
        """Show what `source` returns whenever somebody reads. Raises KeyError for what is not declared."""
        del self._values[name]
        self._sources[name] = source

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every declared metric with its values, also where there are none."""
        for name, meter in self._meters.items():
            if meter.kind is Kind.HISTOGRAM:
                yield self._histogram(meter)
                continue
            make = CounterMetricFamily if meter.kind is Kind.COUNTER else GaugeMetricFamily
            family = make(name.removesuffix("_total"), meter.text, labels=tuple(meter.labels))
            found = self._sources[name]() if name in self._sources else self._values[name]
            for labels, value in _sorted(found):
                family.add_metric(labels, value)
            yield family

    def _histogram(self, meter: Meter) -> HistogramMetricFamily:
        family = HistogramMetricFamily(meter.name, meter.text, labels=tuple(meter.labels))
        for labels, buckets, total in self._spreads[meter.name].rows():
            family.add_metric(list(map(str, labels)), buckets, total)
        return family


def _begun(meter: Meter) -> Values:
    """Return the values of a counter at the start: 0, where all values of its label are known.

    A counter that is first seen with 1 has not risen, as far as Prometheus can tell.
    """
    values: Values = defaultdict(float)
    if meter.kind is Kind.COUNTER and not meter.labels:
        values[()] = 0.0
    if meter.kind is Kind.COUNTER and len(meter.labels) == 1:
        [says] = meter.labels.values()
        values.update({(each,): 0.0 for each in says if isinstance(says, tuple)})
    return values


def _sorted(found: Mapping[tuple[object, ...], float]) -> list[tuple[list[str], float]]:
    return sorted((list(map(str, labels)), value) for labels, value in found.items())
