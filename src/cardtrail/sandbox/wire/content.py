"""What a body says, read as liberally as its receiver would: which cards it carries; and how it says new things."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from cardtrail.sandbox.wire.faults import Fault
from cardtrail.sandbox.wire.kinds import Kind

STATUS = "CARD_PROD_TELEPORTED"
"""A stage that nobody has published."""
SCAN_STATUS = "Teleported"
"""A shipment status that nobody has published."""
CARRIER = "pigeon-post"
"""A carrier that nobody has published."""
CODE = "PGN-7"
"""A carrier's raw code that nobody has mapped."""
MEMBER = "sandboxNews"
"""A member that nobody has published."""
NEWS = {"since": "2031-01-01", "values": [1, "two", None]}
NEW = frozenset({Kind.UNKNOWN_STATUS, Kind.UNKNOWN_MEMBER, Kind.UNKNOWN_CARRIER})
"""The kinds that make a body say new things."""

Document = dict[str, Any]


def document_of(body: bytes) -> Document | None:
    """Return the object that a body is; None where it is none, or cannot be read."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def cards_of(document: Document | None) -> set[str]:
    """Return the cards that a body names: itself, its elements, or the ids that it asks for."""
    if document is None:
        return set()
    found = {each["cardId"] for each in (document, *_elements(document)) if isinstance(each.get("cardId"), str)}
    wanted = document.get("cardIds")
    return found | {each for each in wanted if isinstance(each, str)} if isinstance(wanted, list) else found


def count_of(document: Document | None) -> int:
    """Return how many operations a body holds."""
    return 0 if document is None else len(list(_under(document, "operations")))


def _elements(document: Document) -> Iterator[Document]:
    for name in ("operations", "cards", "events"):
        yield from _under(document, name)


def _under(document: Document, name: str) -> Iterator[Document]:
    elements = document.get(name)
    if isinstance(elements, list):
        yield from (each for each in elements if isinstance(each, dict))


# ── new things ──


def can_say(fault: Fault, document: Document | None) -> bool:
    """Tell whether a body has what a fault makes say new things."""
    return document is not None and next(_places(fault, document), None) is not None


def say(faults: Mapping[Kind, Fault], document: Document) -> bytes:
    """Return the body with all that these faults make it say; the document is changed, too."""
    for kind, fault in faults.items():
        for place in list(_places(fault, document)) if kind in NEW else ():
            _SAY[kind](place)
    return msgspec.json.encode(document)


def _places(fault: Fault, document: Document) -> Iterator[Document]:
    """Yield the objects that a fault changes: of its cards alone, where it has any."""
    for operation in _under(document, "operations"):
        if not fault.cards or operation.get("cardId") in fault.cards:
            yield from _WHERE[fault.kind](operation)
    if fault.kind is Kind.UNKNOWN_MEMBER and not fault.cards:
        yield document


def _details(operation: Document) -> Iterator[Document]:
    details = operation.get("details")
    if isinstance(details, dict):
        yield details


def _shipment(operation: Document) -> Iterator[Document]:
    for details in _details(operation):
        if isinstance(details.get("shipment"), dict):
            yield details["shipment"]


def _everywhere(operation: Document) -> Iterator[Document]:
    yield operation
    yield from _details(operation)
    yield from _shipment(operation)


_WHERE: dict[Kind, Callable[[Document], Iterator[Document]]] = {
    Kind.UNKNOWN_STATUS: _details, Kind.UNKNOWN_MEMBER: _everywhere, Kind.UNKNOWN_CARRIER: _shipment,
}  # fmt: skip
_SAY: dict[Kind, Callable[[Document], None]] = {
    Kind.UNKNOWN_STATUS: lambda place: place.update(status=STATUS),
    Kind.UNKNOWN_MEMBER: lambda place: place.update({MEMBER: NEWS}),
    Kind.UNKNOWN_CARRIER: lambda place: place.update(carrier=CARRIER),
}
