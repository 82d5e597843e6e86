"""Metrics of one process, read by Prometheus at `/metrics`."""

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from cardtrail.platform.answer import Answer
from cardtrail.platform.status import StatusRoute
from cardtrail.protocol.failure import Failure

Tallies = defaultdict[Failure | int | None, int]
"""How often each result of a call came: a failure or an HTTP status."""


class Metrics:
    """Counts requests, events and calls to endpoints; the on-demand answer counts for itself and is only read here."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "cardtrail_requests", "Requests answered, by route and HTTP status", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._attempts: Tallies = defaultdict(int)
        self._carried: Tallies = defaultdict(int)
        self._registry.register(_Deliveries(self._attempts, self._carried))
        self.oldest = Gauge(
            "cardtrail_oldest_pending_seconds", "Age of the notification that has waited longest, seconds",
            registry=self._registry,
        )  # fmt: skip
        self.endpoints = Gauge(
            "cardtrail_endpoints", "Endpoints, by whether they are sent to: enabled, failing, disabled", ["health"],
            registry=self._registry,
        )  # fmt: skip
        self.events = Counter(
            "cardtrail_events", "Events answered, by result and error code", ["result", "code"],
            registry=self._registry,
        )  # fmt: skip

    def attempted(self, answer: Answer, carried: int) -> None:
        """Count a call to an endpoint. On the hot path: labels are looked up when somebody reads."""
        result = answer.failure or answer.status
        self._attempts[result] += 1
        self._carried[result] += carried

    def watch(self, route: StatusRoute) -> None:
        """Show what the status route counts."""
        self._registry.register(_Answers(route))

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class _Answers(Collector):
    def __init__(self, route: StatusRoute) -> None:
        self._route = route

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "cardtrail_production_status_answers", "On-demand answers, by HTTP status", labels=["status"]
        )
        for status, count in sorted(self._route.answers.items()):
            family.add_metric([str(status)], count)
        yield family


class _Deliveries(Collector):
    def __init__(self, attempts: Tallies, carried: Tallies) -> None:
        self._attempts = attempts
        self._carried = carried

    def collect(self) -> Iterator[Metric]:
        for name, text, tallies in (
            ("attempts", "Calls to endpoints", self._attempts),
            ("carried", "Notifications in calls to endpoints", self._carried),
        ):
            family = CounterMetricFamily(
                f"cardtrail_delivery_{name}", f"{text}, by HTTP status or failure", labels=["result"]
            )
            for result, count in sorted((str(result), count) for result, count in tallies.items()):
                family.add_metric([result], count)
            yield family
