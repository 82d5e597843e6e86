"""Operations as any server of the published contract sends them, read liberally. Contract sections 1, 2, 7 and 11.

An operation must name itself, its card, what it is and its state; everything else is taken where it is as published
and kept as *unknown* where it is not, so that a new member, a new status or a date in another shape never costs more
than itself. Members that D1 shows in two places are read from both.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from cardtrail.errors import InputError, ParsingError
from cardtrail.protocol.codec import (
    CardId,
    OperationId,
    date_of,
    input_error_of,
    instant,
    reason_of,
    without_half_letters,
)

MAX_ELEMENT = 65_536
"""Largest operation, bytes."""
MAX_ELEMENTS = 10_000
"""Most operations in one body."""
MAX_UNKNOWN = 50
"""Most unknown members of an operation that are kept by name; the bytes keep all."""

Word = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}\Z")]
"""A status, a kind, a code: open, but short and printable, since it is counted, compared and shown."""
Short = Annotated[str, Meta(pattern=r"^[^\x00]{0,2048}\Z")]


class Shipment(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", forbid_unknown_fields=True):
    """`details.shipment` as published; all members optional, `status` an open string."""

    carrier: Word | None = None
    tracking_number: Short | None = None
    status: Word | None = None
    message: Short | None = None
    tracking_url: Short | None = None


class Checkpoint(Struct, frozen=True, gc=False):
    """What a carrier saw: our extension. `at` is in µs."""

    at: int | None
    status: str
    code: str | None = None
    message: str | None = None
    location: str | None = None


class Operation(Struct, frozen=True, kw_only=True):
    """An operation as it was read. Instants are µs UTC, dates `YYYY-MM-DD`; words are open strings.

    `stage` is `details.status`, empty where there is none. `sequence`, `estimated_delivery` and `checkpoints` are our
    extension and missing on other servers. `unknown` holds members that are not published, or not as published, by
    their path; `raw` is the whole as it came.
    """

    operation_id: str
    operation: str
    status: str
    card_id: str
    start_time: int | None = None
    end_time: int | None = None
    stage: str = ""
    reason: str | None = None
    due_date: str | None = None
    production_site: str | None = None
    shipment: Shipment | None = None
    error_code: str | None = None
    error: str | None = None
    input_file_name: str | None = None
    issuer_request_id: str | None = None
    sequence: int | None = None
    estimated_delivery: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    unknown: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def shipment_status(self) -> str | None:
        """`details.shipment.status`, if there is one."""
        return None if self.shipment is None else self.shipment.status

    @property
    def content(self) -> bytes:
        """What it says, in one form whatever the order of its members; without our extension.

        Two observations of one state have the same content.
        """
        known = (
            self.operation, self.status, self.start_time, self.end_time, self.stage, self.reason, self.due_date,
            self.production_site, self.shipment, self.error_code, self.error, self.input_file_name,
            self.issuer_request_id,
        )  # fmt: skip
        return _encode((known, self.unknown) if self.unknown else known)


class Envelope(Struct, frozen=True):
    """A body around operations, each still raw, so that a bad one costs only itself.

    `mark` is the high-water mark of a notification; `cursor` and `more` are those of a page of the changes feed.
    """

    elements: list[msgspec.Raw]
    mark: str | None = None
    cursor: str | None = None
    more: bool = False


# ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Details(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    status: Word = ""
    reason: Short | None = None
    due_date: Short | None = None
    production_site: Short | None = None
    shipment: Shipment | None = None
    consumer_id: Any = None  # deprecated: read, and not looked at
    input_file_name: Short | None = None
    issuer_request_id: Short | None = None


class _Seen(Struct, gc=False):
    time: datetime
    status: Word
    code: Short | None = None
    message: Short | None = None
    location: Short | None = None


class _Extension(Struct, rename="camel", gc=False):
    sequence: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    estimated_delivery: Short | None = None
    checkpoints: list[_Seen] = []


class _Wire(Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, gc=False):
    operation_id: OperationId
    operation: Word
    status: Word
    card_id: CardId
    start_time: datetime | None = None
    end_time: datetime | None = None
    details: _Details | None = None
    error_code: Short | None = None
    error: Short | None = None
    input_file_name: Short | None = None
    issuer_request_id: Short | None = None
    cardtrail: _Extension | None = None


class _Body(Struct):
    operations: list[msgspec.Raw]
    cardtrail: Any = None
    cursor: Any = None
    more: Any = None


_NESTED: dict[str, type[Struct]] = {
    "": _Wire, "details": _Details, "details.shipment": Shipment, "cardtrail": _Extension,
}  # fmt: skip
"""The objects of an operation, by their path."""
_decode = msgspec.json.Decoder(_Wire).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder(order="deterministic").encode
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_NO_DETAILS = _Details()
_NO_EXTENSION = _Extension()


def envelope_of(body: bytes) -> Envelope:
    """Return what a body holds. Raises ParsingError, or InputError where it is not `{"operations": […]}`."""
    try:
        found = _decode_body(body)
    except msgspec.ValidationError as error:
        raise input_error_of(error) from None
    except _UNREADABLE as error:
        readable = without_half_letters(body)
        if readable != body:
            return envelope_of(readable)
        raise ParsingError(reason_of(error)) from None
    if len(found.operations) > MAX_ELEMENTS:
        raise InputError("operations", f"more than {MAX_ELEMENTS}", "FIELD_INVALID_VALUE")
    mark = found.cardtrail.get("cursor") if isinstance(found.cardtrail, dict) else None
    return Envelope(found.operations, _text(mark), _text(found.cursor), found.more is True)


def operation_of(raw: msgspec.Raw | bytes) -> Operation:
    """Return an operation. Raises InputError naming what it cannot do without, or ParsingError."""
    data = bytes(raw)
    if len(data) > MAX_ELEMENT:
        raise InputError("operations", f"an operation of more than {MAX_ELEMENT} bytes", "FIELD_INVALID_VALUE")
    unknown: dict[str, Any] = {}
    try:
        wire = _decode(data)
    except msgspec.ValidationError:
        wire, unknown = _liberally(data)
    except _UNREADABLE as error:
        raise ParsingError(reason_of(error)) from None
    return _operation(wire, unknown, data)


def operations_of(elements: list[msgspec.Raw]) -> list[Operation]:
    """Return the operations of an answer, which we asked for and which must be good. Raises InputError."""
    return [operation_of(element) for element in elements]


def _liberally(data: bytes) -> tuple[_Wire, dict[str, Any]]:
    """Read member by member; what is not as published goes to the unknown ones. Raises InputError or ParsingError."""
    unknown: dict[str, Any] = {}
    try:
        members = msgspec.json.decode(data)
    except _UNREADABLE as error:
        raise ParsingError(reason_of(error)) from None
    if not isinstance(members, dict):
        raise InputError("operations", "each one an object")
    try:
        return msgspec.convert(_known(members, "", unknown), _Wire), dict(list(unknown.items())[:MAX_UNKNOWN])
    except msgspec.ValidationError as error:
        raise input_error_of(error) from None


def _known(members: Mapping[str, Any], path: str, unknown: dict[str, Any]) -> dict[str, Any]:
    """Return the members of an object that are as published; the others are added to `unknown`."""
    kept = {}
    fields = {each.encode_name: each for each in msgspec.structs.fields(_NESTED[path])}
    for name, value in members.items():
        place = f"{path}.{name}" if path else name
        if place in _NESTED and isinstance(value, dict):
            kept[name] = _known(value, place, unknown)
        elif name in fields and (fields[name].required or _fits(value, fields[name].type)):
            kept[name] = value
        else:
            unknown[place] = value
    return kept


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


# ── as read ──────────────────────────────────────────────────────────────────────────────────────────────────


def _operation(wire: _Wire, unknown: dict[str, Any], data: bytes) -> Operation:
    details, extension = wire.details or _NO_DETAILS, wire.cardtrail or _NO_EXTENSION
    return Operation(
        operation_id=wire.operation_id, operation=wire.operation, status=wire.status, card_id=wire.card_id,
        start_time=_instant(wire.start_time, "startTime", unknown),
        end_time=_instant(wire.end_time, "endTime", unknown),
        stage=details.status, reason=details.reason,
        due_date=_date(details.due_date, "details.dueDate", unknown),
        production_site=details.production_site, shipment=details.shipment,
        error_code=wire.error_code, error=wire.error,
        input_file_name=wire.input_file_name or details.input_file_name,
        issuer_request_id=wire.issuer_request_id or details.issuer_request_id,
        sequence=extension.sequence,
        estimated_delivery=_date(extension.estimated_delivery, "cardtrail.estimatedDelivery", unknown),
        checkpoints=tuple([_checkpoint(seen) for seen in extension.checkpoints]) if extension.checkpoints else (),
        unknown=unknown, raw=data,
    )  # fmt: skip


def _instant(moment: datetime | None, name: str, unknown: dict[str, Any]) -> int | None:
    if moment is None:
        return None
    try:
        return instant(moment, name)
    except InputError:
        unknown[name] = moment.isoformat()
        return None


def _date(text: str | None, name: str, unknown: dict[str, Any]) -> str | None:
    if text is None:
        return None
    try:
        return date_of(text, name)
    except InputError:
        unknown[name] = text
        return None


def _checkpoint(seen: _Seen) -> Checkpoint:
    return Checkpoint(_instant(seen.time, "time", {}), seen.status, seen.code, seen.message, seen.location)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
