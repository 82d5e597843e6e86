"""Traces, where somebody wants them: what a process needs to make spans, and the one place that loads OpenTelemetry.

Whoever makes spans has a `Tracer`, or None where nothing is traced: then no line of OpenTelemetry was imported, and all
that it costs is a look at that None. A span that nobody samples is None, too.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol

from cardtrail.errors import SettingError

Attributes = Mapping[str, str | int]


class Kind(Enum):
    """What a span stands for: a call that came, one that went out, or work between them."""

    SERVER = 1
    CLIENT = 2
    INTERNAL = 3


class Span(Protocol):
    """A span that is sampled and under way; `traceparent` is what its children are told."""

    @property
    def traceparent(self) -> str:
        """Return it in W3C's form."""
        ...

    def end(self, name: str, attributes: Attributes, *, is_error: bool = False) -> None:
        """End it, under the name that is known by now."""
        ...


class Tracer(Protocol):
    """Makes the spans of a process, and sends them; no call waits for that, and none fails with it."""

    def serve(self, traceparent: str) -> Span | None:
        """Begin the span of a call that came, below the caller's `traceparent`; it is empty where none came."""
        ...

    def follow(self, kind: Kind, traceparents: Iterable[str]) -> Span | None:
        """Begin a span below the first of these, linked to the others; None where there is none.

        So what was decided for a call, whether it is sampled, holds for all that follows from it.
        """
        ...

    def close(self) -> None:
        """Send what waits, for a limited time."""
        ...


def tracer_of(service: str, *, wanted: bool) -> Tracer | None:
    """Return what traces a service of this name, None where it is not wanted. Raises SettingError."""
    if not wanted:
        return None
    try:
        from cardtrail.traces.otel import Otel  # noqa: PLC0415 -- an extra, and half a second that others need not wait
    except ModuleNotFoundError as error:
        raise SettingError(f"traces: {error.name} is missing: pip install 'cardtrail[otel]'") from None
    try:
        return Otel(service)
    except ValueError as error:  # of a variable
        raise SettingError(f"traces: OTEL_…: {error}") from None
