"""One trace from a site's call to the issuer's receiver, sent by real processes to a collector."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cardtrail.traces.traceparent import ids_of
from tests.background import LOOPBACK, eventually, receiving
from tests.collector import Collector, Told, collecting
from tests.desk import execute
from tests.e2e.test_correlation import order, report
from tests.e2e.test_deliver import add_endpoint
from tests.e2e.test_deliver import delivering as deliverer
from tests.events import event
from tests.serving import ISSUER, PATIENCE, free_port, register_parties, serving

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE_ID}-b7ad6b7169203331-01"
UNSAMPLED = CALLER[:-2] + "00"
IMPORTED = """
import asyncio, sys
from cardtrail.cli.commands import app, load
from cardtrail.platform.app import Platform, build
from cardtrail.platform.settings import Settings
load(app)
async def serve():
    platform = Platform(Settings(database=sys.argv[1]))
    sent = []
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "GET", "path": "/readyz", "query_string": b"", "headers": [], "client": None}
    await platform.start()
    await build(platform)(scope, None, send)
    await platform.stop()
    return sent[0]["status"]
print(asyncio.run(serve()), sorted(name for name in sys.modules if name.partition(".")[0] == "opentelemetry"))
"""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that every process of the test sends to."""
    with collecting() as opened:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", opened.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield opened


@contextmanager
def issuing(folder: Path, port: int, secret: str) -> Iterator[None]:
    """Run `cardtrail issuer serve` with traces until the block ends."""
    (folder / "secrets").write_text(secret)
    log = folder / "issuer.log"
    command = [
        sys.executable, "-m", "cardtrail", "issuer", "serve", "--port", str(port), "--issuer-id", ISSUER, "--traces",
        "--mirror", f"sqlite:///{folder}/mirror.db", "--secrets-file", str(folder / "secrets"),
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env=os.environ)
    try:
        eventually(lambda: "cardtrail receives for" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.kill()
        process.wait(PATIENCE)


def one(collector: Collector, service: str, beginning: str) -> Told:
    """Return the one span of a service with this name, once it has come."""
    [span] = eventually(lambda: collector.named(service, beginning))
    return span


def causes(url: str) -> set[str]:
    return {row[0] for row in execute(url, "SELECT cause FROM operation UNION SELECT cause FROM notification")}


@pytest.mark.parametrize("told", ["event", "order"])
def test_the_trace_of_a_call_reaches_the_delivery_and_the_issuers_receiver(
    database_url: str, tmp_path: Path, collector: Collector, told: str
) -> None:
    register_parties(database_url)
    sent = {"traceparent": CALLER, "x-correlation-id": "call-1"}
    with serving(database_url, tmp_path, "--traces", *LOOPBACK) as service:
        port = free_port()
        path, token = f"/operator/v1/issuers/{ISSUER}/endpoints", service.token("cardtrail:operate")
        wanted = {"endpointId": "hook", "url": f"http://127.0.0.1:{port}"}
        made = service.call("POST", path, wanted, token=token, headers={"traceparent": UNSAMPLED})
        with issuing(tmp_path, port, made.json["signingSecret"]):
            if told == "event":
                assert report(service, event("requested", "card-1"), **sent).status == 200
                called = one(collector, "cardtrail", "POST /ingest/v1/events")
                batch = one(collector, "cardtrail", "ingest")
                assert (batch.trace_id, batch.parent_id) == (TRACE_ID, called.span_id)
                assert batch.attributes == {"cardtrail.events": 1}
            else:
                assert order(service, "card-1", **sent).status == 202
                called = one(collector, "cardtrail", "POST /banking/v1/issuers/{issuer_id}/physicalCards/{card_id}/op")
            delivery = one(collector, "cardtrail", "POST notifications")
            received = one(collector, "cardtrail-issuer", "POST /notifications/d1/v2/issuers/{issuerId}/cards")
    assert called.parent_id == "b7ad6b7169203331"
    assert called.attributes["cardtrail.correlation_id"] == "call-1"
    assert {span.trace_id for span in (called, delivery, received)} == {TRACE_ID}
    assert (delivery.parent_id, received.parent_id) == (called.span_id, delivery.span_id)
    assert (called.kind, delivery.kind, received.kind) == (2, 3, 2)
    assert delivery.attributes == {
        "http.request.method": "POST", "http.response.status_code": 204, "cardtrail.carried": 1,
        "cardtrail.issuer_id": ISSUER, "cardtrail.endpoint_id": "hook",
    }  # fmt: skip
    assert received.attributes["http.response.status_code"] == 204
    assert received.attributes["cardtrail.correlation_id"] == "call-1"
    assert not any(span.is_error for span in (called, delivery, received))


def test_a_process_that_only_delivers_goes_on_with_the_trace(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    register_parties(database_url)
    with receiving() as receiver, serving(database_url, tmp_path, "--traces", "--no-deliver", *LOOPBACK) as service:
        receiver.reply = lambda _call: (503, {}, b"")
        add_endpoint(service, receiver.url)
        report(service, event("requested", "card-1"), traceparent=CALLER)
        with deliverer(database_url, tmp_path, "--traces"):
            delivery = eventually(lambda: collector.named("cardtrail", "POST notifications"))[0]
    assert delivery.trace_id == TRACE_ID
    assert (delivery.is_error, delivery.attributes["http.response.status_code"]) == (True, 503)
    ids = ids_of(receiver.calls[0].headers["traceparent"])
    assert ids == (int(TRACE_ID, 16), int(delivery.span_id, 16), True)


def test_a_deliverer_without_traces_hands_on_what_was_kept(tmp_path: Path, collector: Collector) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with receiving() as receiver, serving(url, tmp_path, "--traces", "--no-deliver", *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        report(service, event("requested", "card-1"), traceparent=CALLER)
        with deliverer(url, tmp_path):
            eventually(lambda: receiver.calls)
        called = one(collector, "cardtrail", "POST /ingest/v1/events")
    assert receiver.calls[0].headers["traceparent"] == f"00-{TRACE_ID}-{called.span_id}-01"
    assert collector.named("cardtrail", "POST notifications") == []


def test_a_batch_of_several_calls_hangs_below_the_first_and_is_linked_to_the_others(
    tmp_path: Path, collector: Collector
) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with receiving() as receiver, serving(url, tmp_path, "--traces", "--no-deliver", *LOOPBACK) as service:
        path, token = f"/operator/v1/issuers/{ISSUER}/endpoints", service.token("cardtrail:operate")
        wanted = {"endpointId": "hook", "url": receiver.url, "batchSize": 10}
        service.call("POST", path, wanted, token=token)
        for card, trace in (("card-1", CALLER), ("card-2", CALLER.replace("0af", "1bf")), ("card-3", UNSAMPLED)):
            report(service, event("requested", card), traceparent=trace)
        eventually(lambda: len(collector.named("cardtrail", "POST /ingest")) == 2)
        first, second = collector.named("cardtrail", "POST /ingest")
        with deliverer(url, tmp_path, "--traces"):
            delivery = one(collector, "cardtrail", "POST notifications")
    assert (delivery.parent_id, delivery.links) == (first.span_id, (second.span_id,))
    assert delivery.attributes["cardtrail.carried"] == 3


@pytest.mark.parametrize("traceparent", [UNSAMPLED, "nonsense", CALLER + "-x", "00-" + "0" * 32 + CALLER[35:]])
def test_what_is_not_sampled_or_not_well_formed_is_not_believed(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch, traceparent: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with receiving() as receiver, serving(url, tmp_path, "--traces", *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        sent = {"traceparent": traceparent, "x-correlation-id": "call-1"}
        assert report(service, event("requested", "card-1"), **sent).status == 200
        eventually(lambda: receiver.calls)
        assert service.stop() == 0
    assert collector.spans == []
    assert causes(url) == {"call-1"}
    assert "traceparent" not in receiver.calls[0].headers


def test_the_on_demand_answer_is_traced_where_it_is_sampled(tmp_path: Path, collector: Collector) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with serving(url, tmp_path, "--traces") as service:
        service.ingest(event("requested", "card-1"))
        assert service.status("card-1", traceparent=UNSAMPLED).status == 200
        assert service.status("card-1", traceparent=CALLER).status == 200
        span = one(collector, "cardtrail", "GET /banking/v1/issuers/{issuer_id}/physicalCards/{card_id}/production")
    assert span.trace_id == TRACE_ID
    assert "card-1" not in str(collector.spans)


@pytest.mark.parametrize("silent", [False, True])
def test_a_collector_that_is_down_or_silent_neither_slows_nor_fails_anything(
    tmp_path: Path,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    silent: bool,  # noqa: FBT001 - a parameter
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    collector.released.clear()
    if not silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with receiving() as receiver, serving(url, tmp_path, "--traces", *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        for number in range(60):
            assert report(service, event("requested", f"card-{number}"), traceparent=CALLER).status == 200
            assert service.status(f"card-{number}", traceparent=CALLER).status == 200
        eventually(lambda: len(receiver.newest) == 60)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 15


def test_without_traces_no_part_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORTED, f"sqlite:///{tmp_path}/cardtrail.db"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.splitlines()[-1] == "200 []", done.stderr


def test_without_traces_a_traceparent_goes_nowhere(tmp_path: Path, collector: Collector) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with receiving() as receiver, serving(url, tmp_path, *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        report(service, event("requested", "card-1"), traceparent=CALLER, **{"x-correlation-id": "call-1"})
        eventually(lambda: receiver.calls)
    assert "traceparent" not in receiver.calls[0].headers
    assert causes(url) == {"call-1"}
    assert collector.calls == 0
