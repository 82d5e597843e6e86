"""Metrics of one process, read by Prometheus at `/metrics`."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from cardtrail.platform.answer import Answer
from cardtrail.platform.status import StatusRoute


class Metrics:
    """Counts requests and events; the on-demand answer counts for itself and is only read here."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "cardtrail_requests", "Requests answered, by route and HTTP status", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self.attempts = Counter(
            "cardtrail_delivery_attempts", "Calls to endpoints, by HTTP status or failure", ["result"],
            registry=self._registry,
        )  # fmt: skip
        self.carried = Counter(
            "cardtrail_delivery_carried", "Notifications in calls to endpoints, by HTTP status or failure", ["result"],
            registry=self._registry,
        )  # fmt: skip
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
        """Count a call to an endpoint."""
        result = answer.failure or str(answer.status)
        self.attempts.labels(result).inc()
        self.carried.labels(result).inc(carried)

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
