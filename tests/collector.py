"""A collector of traces on a real socket: it takes OTLP over HTTP and remembers every span, or behaves badly."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.serving import PATIENCE


class Told(NamedTuple):
    """A span as it came: who made it, its name, its place, what it links to, its attributes; ids in hexadecimal."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    is_error: bool


class Collector:
    """What came so far."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Told] = []
        self.calls = 0
        self.released = threading.Event()
        """Where it is silent, it answers once this is set."""
        self.released.set()

    def take(self, body: bytes) -> None:
        """Remember the spans of an export."""
        self.calls += 1
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            self.spans += [_told(service, span) for scope in resource.scope_spans for span in scope.spans]

    def named(self, service: str, beginning: str) -> list[Told]:
        """Return the spans of a service whose names begin so."""
        return [span for span in list(self.spans) if span.service == service and span.name.startswith(beginning)]


def _told(service: str, span: Any) -> Told:
    links = tuple(link.span_id.hex() for link in span.links)
    return Told(
        service, span.name, span.kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), links,
        _values(span.attributes), span.status.code == 2,
    )  # fmt: skip


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            packed = self.headers.get("content-encoding") == "gzip"
            collector.take(gzip.decompress(body) if packed else body)
            collector.released.wait(PATIENCE)
            try:
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                pass  # who sent this did not wait for the answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.released.set()
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()
