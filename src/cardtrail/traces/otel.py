"""Spans by OpenTelemetry's SDK, sent as OTLP over HTTP. The standard variables `OTEL_…` say where to, and how many.

Sending is a thread's business: spans wait in a queue that drops what is too much, and a collector that is down or slow
costs spans and nothing else.
"""

import os
import threading
from collections.abc import Iterable

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from cardtrail import __version__
from cardtrail.traces import Attributes, Kind
from cardtrail.traces.traceparent import ids_of, traceparent_of

MAX_LINKS = 128
"""Most calls that a span is linked to; a larger batch names so many of them."""
CLOSE_SECONDS = 3.0
"""How long a process that ends waits until its last spans are sent; the SDK itself would wait for 30."""

_KINDS = {Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT, Kind.INTERNAL: SpanKind.INTERNAL}
_ROOT = Context()
"""No context of the surroundings counts: what a span follows from is always said."""


class OtelSpan:
    """A `Span` of OpenTelemetry."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """Return it in W3C's form."""
        context = self._span.get_span_context()
        return traceparent_of(context.trace_id, context.span_id)

    def end(self, name: str, attributes: Attributes, *, is_error: bool = False) -> None:
        """End it, under the name that is known by now."""
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if is_error:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Otel:
    """The `Tracer` of a service; `OTEL_SERVICE_NAME` gives it another name."""

    def __init__(self, service: str) -> None:
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: service}
        resource = Resource.create({**named, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("cardtrail", __version__)

    def serve(self, traceparent: str) -> OtelSpan | None:
        """Begin the span of a call that came, below the caller's `traceparent`; it is empty where none came."""
        context = _context_of(traceparent)
        return self._begun(Kind.SERVER, _ROOT if context is None else _below(context))

    def follow(self, kind: Kind, traceparents: Iterable[str]) -> OtelSpan | None:
        """Begin a span below the first of these, linked to the others; None where there is none."""
        found = [context for each in dict.fromkeys(traceparents) if (context := _context_of(each)) is not None]
        if not found:
            return None
        return self._begun(kind, _below(found[0]), [Link(each) for each in found[1 : MAX_LINKS + 1]])

    def close(self) -> None:
        """Send what waits, for a limited time; a thread that is still at it then ends with the process."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def _begun(self, kind: Kind, context: Context, links: Iterable[Link] = ()) -> OtelSpan | None:
        span = self._tracer.start_span("", context, _KINDS[kind], links=tuple(links))
        return OtelSpan(span) if span.is_recording() else None


def _context_of(traceparent: str) -> SpanContext | None:
    ids = ids_of(traceparent)
    if ids is None:
        return None
    trace_id, span_id, sampled = ids
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(sampled))


def _below(context: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(context), _ROOT)
