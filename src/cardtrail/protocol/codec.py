"""Wire events to core events, operations to published bytes.

Reading is liberal (unknown members are ignored, member order is free), writing is exact. Every limit of the wire is
a constant here.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from cardtrail.core.event import (
    RETRACTED,
    CarrierEvent,
    CarrierKind,
    Event,
    ProductionEvent,
    ProductionKind,
    Retraction,
)
from cardtrail.core.operation import Operation
from cardtrail.core.order import Checkpoint
from cardtrail.errors import InputError, ParsingError

MAX_BODY = 1_048_576
"""Largest request body, bytes."""
MAX_BATCH = 1_000
"""Most elements in one request."""
MAX_BRACKETS = 64
"""Most `{` and `[` in one element of a batch; bounds its depth."""
MAX_DEPTH = 32
"""Deepest nesting of a request body that is not a batch of events."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Times outside are taken for typing errors."""

ISSUER_ID = re.compile(r"[A-Za-z0-9_-]{10}")
CARD_ID = re.compile(r"[A-Za-z0-9_-]{1,48}")
CORRELATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

IssuerId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{10}\Z")]
CardId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,48}\Z")]
OperationId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
EventId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z")]
Source = Annotated[str, Meta(pattern=r"^(?:site|carrier):[a-z0-9._-]{1,40}\Z")]
AnySource = Annotated[str, Meta(pattern=r"^(?:site|carrier|api|operator):[a-z0-9._-]{1,40}\Z")]
Carrier = Annotated[str, Meta(pattern=r"^[a-z0-9._-]{1,40}\Z")]
TrackingNumber = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
Code = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]
Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}\Z")]
Text = Annotated[str, Meta(pattern=r"^[^\x00]{1,256}\Z")]
Url = Annotated[str, Meta(pattern=r"^https?://[^\s\x00\"<>\\]{1,500}\Z")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = len("YYYY-MM-DD")


class EventIn(msgspec.Struct, rename="camel", gc=False):
    """An event as it comes in; which members it may have depends on its kind."""

    event_id: EventId
    source: AnySource
    kind: str
    occurred_at: datetime
    issuer_id: IssuerId | None = None
    card_id: CardId | None = None
    operation_id: OperationId | None = None
    carrier: Carrier | None = None
    tracking_number: TrackingNumber | None = None
    reason: Text | None = None
    final: bool = False
    error_code: Name | None = None
    error: Text | None = None
    due_date: str | None = None
    production_site: Line | None = None
    input_file_name: Line | None = None
    issuer_request_id: Name | None = None
    tracking_url: Url | None = None
    distribution_channel: Name | None = None
    code: Code | None = None
    status: Code | None = None
    message: Text | None = None
    location: Line | None = None
    estimated_delivery: str | None = None
    retracts: EventId | None = None
    retracted_source: AnySource | None = None


class Batch(msgspec.Struct):
    """`{"events": [...]}`, each element still raw, so that a bad one rejects only itself."""

    events: list[msgspec.Raw]


_batch = msgspec.json.Decoder(Batch)
_event_in = msgspec.json.Decoder(EventIn)
_stored = msgspec.json.Decoder(list[Event])
_encoder = msgspec.json.Encoder()

_PRODUCTION_KINDS = {kind.value: kind for kind in ProductionKind}
_CARRIER_KINDS = {kind.value: kind for kind in CarrierKind}
_HALF_LETTER = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u"
    rb"(?:[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u)[dD][c-fC-F][0-9a-fA-F]{2})"
)
"""An escape of half a letter, as a text has that was cut inside an emoji: JSON, but no text."""

# ── events in ────────────────────────────────────────────────────────────────────────────────────────────────


def decode_batch(body: bytes) -> list[msgspec.Raw]:
    """Return the raw elements of an ingest body. Raises ParsingError, or InputError naming `events`.

    Half a letter would make the whole body unreadable; as a NUL, which no text may have, it rejects only its element.
    """
    try:
        events = _batch.decode(body).events
    except msgspec.ValidationError as error:
        raise input_error_of(error) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        readable = without_half_letters(body)
        if readable != body:
            return decode_batch(readable)
        raise ParsingError(reason_of(error)) from None
    if not 1 <= len(events) <= MAX_BATCH:
        raise InputError("events", f"1 to {MAX_BATCH} events, got {len(events)}", "FIELD_INVALID_VALUE")
    return events


def without_half_letters(body: bytes) -> bytes:
    """Return JSON with a NUL in place of each escape of half a letter, which no reader of JSON here would take."""
    return _HALF_LETTER.sub(rb"\1\\u0000", body)


def decode_event(raw: msgspec.Raw | bytes) -> EventIn:
    """Return one event's members, typed but not yet checked against each other. Raises InputError."""
    data = bytes(raw)
    if data.count(b"{") + data.count(b"[") > MAX_BRACKETS:
        raise ParsingError(f"more than {MAX_BRACKETS} brackets in one event")
    try:
        return _event_in.decode(data)
    except msgspec.ValidationError as error:
        raise input_error_of(error) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ParsingError(reason_of(error)) from None


def event_of(wire: EventIn, recorded_at: int = 0) -> Event:
    """Return the core event; `recorded_at` is our clock, in µs. Raises InputError naming the first offending field."""
    _check_common(wire)
    if wire.kind in _PRODUCTION_KINDS:
        return _production_event(wire, _PRODUCTION_KINDS[wire.kind], recorded_at)
    if wire.kind in _CARRIER_KINDS:
        return _carrier_event(wire, _CARRIER_KINDS[wire.kind], recorded_at)
    if wire.kind == RETRACTED:
        return _retraction(wire, recorded_at)
    raise InputError("kind", "not a kind of event we know", "FIELD_INVALID_VALUE")


def _check_common(wire: EventIn) -> None:
    if wire.operation_id is not None and wire.issuer_id is None:
        raise InputError("issuerId", "needed with operationId", "FIELD_INVALID_VALUE")
    if wire.card_id is not None and wire.issuer_id is None:
        raise InputError("issuerId", "needed with cardId", "FIELD_INVALID_VALUE")


def instant(moment: datetime, field: str = "occurredAt") -> int:
    """Return µs since 1970 UTC. Raises InputError where the zone is missing or the year is absurd."""
    if moment.tzinfo is None:
        raise InputError(field, "needs a time zone, best 'Z'")
    if not EARLIEST <= moment < LATEST:
        raise InputError(field, "between the years 2000 and 2100", "FIELD_INVALID_VALUE")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def date_of(text: str | None, field: str) -> str | None:
    """Return a date as `YYYY-MM-DD`; a date-time's date is taken as written, never shifted between zones."""
    if text is None:
        return None
    try:
        return (datetime.fromisoformat(text).date() if len(text) > _DATE else date.fromisoformat(text)).isoformat()
    except ValueError:
        raise InputError(field, "a date, YYYY-MM-DD") from None


def _reference(wire: EventIn, *, parcel: bool) -> dict[str, str | None]:
    """Return what the event is about; carriers may name a parcel instead of a card."""
    named = wire.card_id is not None or wire.operation_id is not None
    if not named and not (parcel and wire.carrier and wire.tracking_number):
        wanted = "issuerId with cardId or operationId"
        raise InputError(
            "cardId", f"{wanted}{', or carrier with trackingNumber' if parcel else ''}", "FIELD_INVALID_VALUE"
        )
    return {
        "issuer_id": wire.issuer_id, "card_id": wire.card_id, "operation_id": wire.operation_id,
        "carrier": wire.carrier, "tracking_number": wire.tracking_number,
    }  # fmt: skip


def _production_event(wire: EventIn, kind: ProductionKind, recorded_at: int) -> ProductionEvent:
    if wire.source.startswith("carrier:"):
        raise InputError("source", f"'{kind}' is reported by sites", "FIELD_INVALID_VALUE")
    if kind is ProductionKind.REQUESTED and wire.card_id is None:
        raise InputError("cardId", "needed to begin an order", "FIELD_INVALID_VALUE")
    if wire.tracking_number is not None and wire.carrier is None:
        raise InputError("carrier", "needed with trackingNumber", "FIELD_INVALID_VALUE")
    return ProductionEvent(
        source=wire.source, event_id=wire.event_id, kind=kind,
        occurred_at=instant(wire.occurred_at), recorded_at=recorded_at, **_reference(wire, parcel=False),
        reason=wire.reason, final=wire.final, error_code=wire.error_code, error=wire.error,
        due_date=date_of(wire.due_date, "dueDate"), production_site=wire.production_site,
        input_file_name=wire.input_file_name, issuer_request_id=wire.issuer_request_id,
        tracking_url=wire.tracking_url, distribution_channel=wire.distribution_channel,
    )  # fmt: skip


def _carrier_event(wire: EventIn, kind: CarrierKind, recorded_at: int) -> CarrierEvent:
    if wire.source.startswith("site:"):
        raise InputError("source", f"'{kind}' is reported by carriers", "FIELD_INVALID_VALUE")
    return CarrierEvent(
        source=wire.source, event_id=wire.event_id, kind=kind,
        occurred_at=instant(wire.occurred_at), recorded_at=recorded_at, **_reference(wire, parcel=True),
        code=wire.code, status=wire.status, message=wire.message, location=wire.location,
        estimated_delivery=date_of(wire.estimated_delivery, "estimatedDelivery"), tracking_url=wire.tracking_url,
    )  # fmt: skip


def _retraction(wire: EventIn, recorded_at: int) -> Retraction:
    if wire.retracts is None:
        raise InputError("retracts", "names the eventId that is taken back", "FIELD_INVALID_VALUE")
    if wire.retracted_source not in (None, wire.source) and not wire.source.startswith("operator:"):
        raise InputError("retractedSource", "only an operator may take back another source's event", "FORBIDDEN")
    return Retraction(
        source=wire.source, event_id=wire.event_id,
        occurred_at=instant(wire.occurred_at), recorded_at=recorded_at, **_reference(wire, parcel=True),
        retracts=wire.retracts, retracted_source=wire.retracted_source,
    )  # fmt: skip


# ── events in the store ──────────────────────────────────────────────────────────────────────────────────────


def encode_event(event: Event) -> bytes:
    """Return the bytes an event is stored as; the same content gives the same bytes."""
    return _encoder.encode(event)


def decode_events(bodies: list[bytes]) -> list[Event]:
    """Return stored events; one call for many, since most of the price is the call."""
    return _stored.decode(b"[" + b",".join(bodies) + b"]")


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=16_384)
def timestamp(at: int) -> str:
    """Return µs as ISO 8601 in UTC with milliseconds and `Z`, as published."""
    days, micros = divmod(at, 86_400_000_000)
    millis = micros // 1000
    minutes, millis = divmod(millis, 60_000)
    return f"{_day(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{millis // 1000:02d}.{millis % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).date().isoformat()


class _Published(msgspec.Struct, omit_defaults=True, rename="camel", kw_only=True):
    """The operation's members in the order we write them."""

    operation_id: str
    operation: str
    status: str
    start_time: str
    end_time: str | None = None
    card_id: str
    details: Any
    error_code: str | None = None
    error: str | None = None
    input_file_name: str | None = None
    issuer_request_id: str | None = None


class _CheckpointOut(msgspec.Struct, omit_defaults=True):
    time: str
    status: str
    code: str | None = None
    message: str | None = None
    location: str | None = None


class _Extension(msgspec.Struct, omit_defaults=True, rename="camel"):
    """Members of `cardtrail` after `sequence`."""

    estimated_delivery: str | None = None
    checkpoints: tuple[_CheckpointOut, ...] = ()


class Picture(msgspec.Struct, frozen=True):
    """An operation in published bytes, still without its `sequence`."""

    published: bytes
    extension: bytes

    def sealed(self, sequence: int) -> bytes:
        """Return the full form: the published members, then `cardtrail` as the last one."""
        return b'%b,"cardtrail":{"sequence":%d%b}}' % (self.published[:-1], sequence, self.extension)

    @property
    def strict_length(self) -> int:
        """How many bytes of the full form, closed by one `}`, are the published form."""
        return len(self.published) - 1


def picture_of(operation: Operation) -> Picture:
    """Return the bytes of an operation."""
    published = _encoder.encode(_Published(
        operation_id=operation.operation_id, operation=operation.operation, status=operation.status,
        start_time=timestamp(operation.start_time),
        end_time=None if operation.end_time is None else timestamp(operation.end_time),
        card_id=operation.card_id, details=operation.details,
        error_code=operation.error_code, error=operation.error,
        input_file_name=operation.input_file_name, issuer_request_id=operation.issuer_request_id,
    ))  # fmt: skip
    if operation.estimated_delivery is None and not operation.checkpoints:
        return Picture(published, b"")
    shown = tuple(map(_checkpoint, operation.checkpoints))
    extension = _encoder.encode(_Extension(operation.estimated_delivery, shown))
    return Picture(published, b"," + extension[1:-1])


def _checkpoint(seen: Checkpoint) -> _CheckpointOut:
    return _CheckpointOut(timestamp(seen.at), seen.status or "Unknown", seen.code, seen.message, seen.location)


def strict_form(picture: bytes, strict_length: int) -> bytes:
    """Return the published form of a stored picture."""
    return picture[:strict_length] + b"}"


def answer_of(pictures: Iterable[bytes]) -> bytes:
    """Return `{"operations":[…]}` around stored pictures."""
    return b'{"operations":[%b]}' % b",".join(pictures)


def etag_of(body: bytes) -> str:
    """Return the strong validator of exactly these bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


# ── errors of reading ────────────────────────────────────────────────────────────────────────────────────────


def input_error_of(error: msgspec.ValidationError) -> InputError:
    """Return what msgspec found, naming the field by its path without the leading `$.`."""
    text, _, path = str(error).rpartition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if not text:
        text, field = str(error), ""
    pattern = re.fullmatch(r"Expected `str` matching regex '(.*)'", text)
    if pattern:
        text = "does not match " + pattern[1].replace("\\\\", "\\").replace(r"\Z", "$")
    missing = re.search(r"missing required field `([^`]+)`", text)
    if missing:
        field = f"{field}.{missing[1]}" if field else missing[1]
        text = "is required"
    return InputError(field, text[:200])


def reason_of(error: Exception) -> str:
    """Return why something could not be read as JSON, in one short line."""
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
