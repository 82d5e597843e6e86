"""Metrics of one process, read by Prometheus at `/metrics`; what each means is told in cardtrail/meters/platform.py."""

from collections.abc import Callable, Iterable, Mapping

from cardtrail import __version__, logs
from cardtrail.meters.board import Board
from cardtrail.meters.meter import Meter
from cardtrail.meters.platform import DELIVERER, PLATFORM
from cardtrail.platform.answer import Answer
from cardtrail.platform.status import StatusRoute


class DelivererMetrics:
    """Counts calls to endpoints and failures in the background: all that `cardtrail deliver` counts."""

    process = "deliver"

    def __init__(self, meters: Iterable[Meter] = DELIVERER) -> None:
        self.board = Board(meters)
        self._attempts = self.board.values("cardtrail_delivery_attempts_total")
        self._carried = self.board.values("cardtrail_delivery_carried_total")
        self._calls = self.board.spread("cardtrail_delivery_seconds")
        self._failures = self.board.values("cardtrail_background_failures_total")
        self.read("cardtrail_pan_like_lines_total", lambda: logs.seen.pan_like)

    # ── counting ──

    def attempted(self, answer: Answer, carried: int) -> None:
        """Count a call to an endpoint. On the hot path: labels are made when somebody reads."""
        result = (answer.failure or answer.status,)
        self._attempts[result] += 1
        self._carried[result] += carried
        self._calls.note(answer.seconds)

    def failed(self, work: str) -> None:
        """Count a turn of the background's work that failed."""
        self._failures[work,] += 1

    # ── showing ──

    def read(self, name: str, source: Callable[[], float]) -> None:
        """Show one value that is asked for whenever somebody reads."""
        self.board.show(name, lambda: {(): source()})

    def runs_on(self, engine: str) -> None:
        """Show which version runs, on which engine."""
        self.board.values("cardtrail_build_info")[__version__, engine, self.process] = 1

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return self.board.text()


class Metrics(DelivererMetrics):
    """Counts requests and events too; the on-demand answer counts for itself and is only read here."""

    process = "serve"

    def __init__(self) -> None:
        super().__init__(PLATFORM)
        self._requests = self.board.values("cardtrail_requests_total")
        self._durations = self.board.spread("cardtrail_request_seconds")
        self._events = self.board.values("cardtrail_events_total")
        self._tokens = self.board.values("cardtrail_tokens_total")

    # ── counting ──

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request by the template of its path, "" where there is none."""
        self._requests[route, status] += 1
        self._durations.note(seconds, route)

    def recorded(self, result: str, code: str | None) -> None:
        """Count an event by what it was answered."""
        self._events[result, code or ""] += 1

    def asked_for_token(self, result: str) -> None:
        """Count a request for an access token: `issued`, or the error it was answered."""
        self._tokens[result,] += 1

    # ── showing ──

    def watch(self, route: StatusRoute) -> None:
        """Show what the status route counts."""
        self.board.show(
            "cardtrail_production_status_answers_total",
            lambda: {(status,): count for status, count in route.answers.items()},
        )
        self.read("cardtrail_production_status_slow_total", lambda: route.slow)

    def set(self, name: str, value: float | Mapping[str, float]) -> None:
        """Set a gauge, or its values by those of its label."""
        values = self.board.values(name)
        if isinstance(value, Mapping):
            values.update({(label,): each for label, each in value.items()})
        else:
            values[()] = value
