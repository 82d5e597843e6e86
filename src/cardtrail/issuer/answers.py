"""What the other side's answers say, typed and frozen; members that are not known are kept under their names."""

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from cardtrail.errors import InputError
from cardtrail.protocol.failure import plain
from cardtrail.protocol.reading import Envelope, Operation, operations_of

S = TypeVar("S", bound=Struct)
UNKNOWN = "unknown"
"""The member that holds what is not known."""


class Features(Struct, frozen=True):
    """Which extensions of the published contract the other side has; found out by asking."""

    feed: bool
    """The feed of changes: `changes`."""
    batch: bool
    """The state of up to 1,000 cards in one call."""


class Page(Struct, frozen=True):
    """A page of the feed of changes. `elements` are the operations as they came, each to be decoded by itself."""

    elements: list[Raw]
    cursor: str
    """Where to read on: the next `since`."""
    more: bool
    """Whether there was more when this was answered."""

    @classmethod
    def of(cls, envelope: Envelope) -> "Page":
        """Return a page as a flow gives it."""
        return cls(envelope.elements, envelope.cursor or "", envelope.more)

    @property
    def operations(self) -> list[Operation]:
        """The operations, decoded anew each time. Raises InputError for the first that cannot be read."""
        return operations_of(self.elements)


class Ordered(Struct, frozen=True, rename="camel"):
    """An order that was taken; `operation_id` names it in every answer and notification from then on."""

    card_id: str
    operation_id: str
    unknown: dict[str, Any] = field(default_factory=dict)


class NotOrdered(Struct, frozen=True, rename="camel"):
    """One order of several that was refused by itself, and why."""

    card_id: str | None = None
    error_code: str = ""
    error: str = ""
    unknown: dict[str, Any] = field(default_factory=dict)


class Notification(Struct, frozen=True, rename="camel", kw_only=True):
    """One notification of the other side's ledger. Times are texts as they came: ISO 8601, UTC."""

    notification_id: str
    endpoint_id: str
    card_id: str
    operation_id: str
    operation: str
    state: str
    sequence: int | None = None
    round: int = 0
    attempts: int = 0
    created_at: str = ""
    due_at: str | None = None
    settled_at: str | None = None
    unknown: dict[str, Any] = field(default_factory=dict)


class Notifications(Struct, frozen=True):
    """Notifications, oldest first. `next` is where to read on, as `after`; None at the end."""

    notifications: tuple[Notification, ...]
    next: str | None = None


class Replayed(Struct, frozen=True, kw_only=True):
    """How many notifications were meant by a replay, go out again, were on their way already, or stay withheld."""

    matched: int = 0
    replayed: int = 0
    pending: int = 0
    withheld: int = 0
    more: bool = False
    """Whether there are others: call again when these are delivered."""
    unknown: dict[str, Any] = field(default_factory=dict)


def read(body: bytes, kind: type[S]) -> S:
    """Return a body as a struct of ours, with what it does not know kept. Raises InputError."""
    try:
        return kept(msgspec.json.decode(body), kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError("", plain(str(error))) from None


def kept(members: object, kind: type[S]) -> S:
    """Return decoded JSON as a struct of ours, with what it does not know kept. Raises InputError."""
    if not isinstance(members, dict):
        raise InputError("", "a JSON object expected")
    fields = {each.encode_name for each in msgspec.structs.fields(kind)} - {UNKNOWN}
    known = {name: value for name, value in members.items() if name in fields}
    if UNKNOWN in kind.__struct_fields__:
        known[UNKNOWN] = {name: value for name, value in members.items() if name not in fields}
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise InputError("", plain(str(error))) from None
