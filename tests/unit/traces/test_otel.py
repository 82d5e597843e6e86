"""Spans by OpenTelemetry's SDK, sent to a collector that is there, that is silent, and that is not there."""

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cardtrail.errors import SettingError
from cardtrail.traces import Kind, Tracer, tracer_of
from cardtrail.traces.otel import CLOSE_SECONDS, MAX_LINKS
from cardtrail.traces.serve import TRACE, traced
from cardtrail.traces.traceparent import traceparent_of
from tests.collector import Collector, collecting
from tests.serving import free_port

PARENT = traceparent_of(7, 8)
UNSAMPLED = PARENT[:-2] + "00"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as opened:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", opened.url)
        yield opened


def tracer(name: str = "house") -> Tracer:
    found = tracer_of(name, wanted=True)
    assert found is not None
    return found


def ask(made: Tracer, *headers: tuple[bytes, bytes], status: int = 200, method: str = "GET") -> dict[str, Any]:
    """Let an application answer a request; return the scope it saw."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.update(scope)
        if not status:
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(*_: Any) -> None:
        pass

    scope = {"type": "http", "method": method, "path": "/a", "headers": headers}
    asyncio.run(traced(app, made, lambda _scope: ("/{a}", {"n": 1}))(scope, nothing, nothing))  # type: ignore[arg-type]  # as far as it is asked
    return seen


def test_a_request_gets_a_span_below_the_callers(collector: Collector) -> None:
    made = tracer()
    seen = ask(made, (b"traceparent", PARENT.encode()))
    made.close()
    [span] = collector.spans
    assert (span.service, span.name, span.kind) == ("house", "GET /{a}", 2)
    assert (span.trace_id, span.parent_id) == (f"{7:032x}", f"{8:016x}")
    assert seen[TRACE] == f"00-{span.trace_id}-{span.span_id}-01"
    assert span.attributes == {
        "http.request.method": "GET", "http.route": "/{a}", "http.response.status_code": 200, "n": 1
    }  # fmt: skip


@pytest.mark.parametrize(("status", "is_error"), [(200, False), (404, False), (500, True), (503, True)])
def test_faults_of_ours_are_errors(collector: Collector, status: int, is_error: bool) -> None:  # noqa: FBT001 - a column of the table
    made = tracer()
    ask(made, status=status)
    made.close()
    assert [span.is_error for span in collector.spans] == [is_error]


def test_an_application_that_breaks_leaves_a_span_without_a_status(collector: Collector) -> None:
    made = tracer()
    with pytest.raises(ZeroDivisionError):
        ask(made, status=0)
    made.close()
    assert [(span.is_error, "http.response.status_code" in span.attributes) for span in collector.spans] == [
        (True, False)
    ]


def test_a_method_that_nobody_knows_names_no_span(collector: Collector) -> None:
    made = tracer()
    ask(made, method="X" * 1_000)
    made.close()
    assert [span.name for span in collector.spans] == ["_OTHER /{a}"]


def test_what_the_caller_does_not_sample_leaves_no_trace(collector: Collector) -> None:
    made = tracer()
    assert TRACE not in ask(made, (b"traceparent", UNSAMPLED.encode()))
    assert made.follow(Kind.CLIENT, [UNSAMPLED]) is None
    assert made.follow(Kind.CLIENT, ["", "nothing"]) is None
    made.close()
    assert collector.spans == []


@pytest.mark.parametrize(("share", "found"), [("0", 0), ("1", 1)])
def test_the_standard_variables_set_the_share_of_calls_without_a_parent(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, share: str, found: int
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    made = tracer()
    ask(made)
    ask(made, (b"traceparent", PARENT.encode()))
    made.close()
    assert sorted(span.parent_id for span in collector.spans) == [""] * found + [f"{8:016x}"]
    assert {span.service for span in collector.spans} == {"other"}


def test_a_batch_hangs_below_its_first_call_and_is_linked_to_the_others(collector: Collector) -> None:
    made = tracer()
    span = made.follow(Kind.INTERNAL, ["", *(traceparent_of(7, 1 + n // 2) for n in range(1_000))])
    assert span is not None
    span.end("batch", {})
    made.close()
    [told] = collector.spans
    assert told.parent_id == f"{1:016x}"
    assert told.links == tuple(f"{n:016x}" for n in range(2, MAX_LINKS + 2))


def test_a_collector_that_is_not_there_costs_spans_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    made = tracer()
    for _ in range(10_000):  # five times as many as wait
        ask_nothing(made)
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < CLOSE_SECONDS + 2


def test_a_collector_that_is_silent_holds_nobody_up(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    collector.released.clear()
    made = tracer()
    for _ in range(10_000):
        ask_nothing(made)
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < CLOSE_SECONDS + 2
    assert collector.calls >= 1


def ask_nothing(made: Tracer) -> None:
    span = made.serve(PARENT)
    assert span is not None
    span.end("nothing", {})


def test_a_variable_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(SettingError, match=r"^traces: OTEL_…: max_queue_size"):
        tracer()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cardtrail.traces.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingError, match=r"opentelemetry\.sdk\.trace is missing: pip install 'cardtrail\[otel\]'"):
        tracer()


def test_where_nobody_wants_traces_there_is_no_tracer() -> None:
    assert tracer_of("house", wanted=False) is None
