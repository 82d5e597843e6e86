"""First sightings: what the published contract does not name. Contract sections 2 to 4.

Whatever a platform sends is kept and never an error; what nobody published is also noted once, with a sample, so that
a person learns that the contract has moved.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from cardtrail.core.status import CARRIERS, OperationStatus, ProductionStatus, ShipmentStatus
from cardtrail.issuer.standing import FOLDED
from cardtrail.issuer.take import MAX_NAME, MAX_SAMPLE, Sighting
from cardtrail.protocol.reading import Operation

MAX_SEEN = 10_000
"""Most names that a process remembers having told of; then it begins anew, and tells some of them twice."""
MAX_SIGHTINGS = 100
"""Most first sightings of one call; the next call brings what is left."""

OPERATIONS = frozenset({
    "PRODUCE", "STANDALONE_TRACKING", "UPDATE_ORDER", "CREATE", "REGISTER", "ACTIVATE", "SUSPEND", "RESUME", "DELETE",
    "DIGITIZE", "RENEW", "REPLACE",
})  # fmt: skip
"""Published kinds of operation; those that begin with FAMILY are published, too."""
FAMILY = "CLICK_TO_PAY_"
NO_STAGE = "(none)"
"""The name under which a tracked operation without `details.status` is noted."""


class Kind(StrEnum):
    """What was not as published."""

    OPERATION = "operation"
    """A kind of operation."""
    OPERATION_STATUS = "operationStatus"
    """A state of an operation."""
    STATUS = "status"
    """A stage: `details.status`."""
    SHIPMENT_STATUS = "shipmentStatus"
    CARRIER = "carrier"
    MEMBER = "member"
    """A member, by its path: unknown, or of an unexpected shape."""
    EVENT = "event"
    """A carrier's code that means none of the nine shipment statuses, `carrier:code`."""
    ELEMENT = "element"
    """An element of a body that is no operation, or a body that is none; the name says why."""


_PLACE = re.compile(r" \(byte \d+\)")
_STATUSES = frozenset(OperationStatus)
_STAGES = frozenset(ProductionStatus)
_SHIPMENT_STATUSES = frozenset(ShipmentStatus)


def strange_in(operation: Operation) -> list[tuple[Kind, str]]:
    """Return what is not as published in an operation, by kind and name; nearly always nothing."""
    found: list[tuple[Kind, str]] = []
    if operation.operation not in OPERATIONS and not operation.operation.startswith(FAMILY):
        found.append((Kind.OPERATION, operation.operation))
    if operation.status not in _STATUSES:
        found.append((Kind.OPERATION_STATUS, operation.status))
    if operation.stage not in _STAGES and operation.operation in FOLDED:
        found.append((Kind.STATUS, operation.stage or NO_STAGE))
    if operation.shipment is not None:
        found += _strange_shipment(operation.shipment.carrier, operation.shipment.status)
    if operation.checkpoints:
        found += _strange_events(operation)
    if operation.unknown:
        found += [(Kind.MEMBER, name_of(path)) for path in operation.unknown]
    return found


def _strange_shipment(carrier: str | None, status: str | None) -> Iterator[tuple[Kind, str]]:
    if carrier is not None and carrier not in CARRIERS:
        yield Kind.CARRIER, carrier
    if status is not None and status not in _SHIPMENT_STATUSES:
        yield Kind.SHIPMENT_STATUS, status


def _strange_events(operation: Operation) -> Iterator[tuple[Kind, str]]:
    carrier = operation.shipment.carrier if operation.shipment is not None else None
    for seen in operation.checkpoints:
        if seen.status not in _SHIPMENT_STATUSES:
            yield Kind.EVENT, name_of(f"{carrier or '?'}:{seen.code or seen.status}")


def element_of(why: str, element: bytes) -> Sighting:
    """Return the sighting of something that cannot be read as an operation, and why; one reason has one name."""
    return Sighting(Kind.ELEMENT.value, name_of(_PLACE.sub("", why)), element[:MAX_SAMPLE])


def name_of(text: str) -> str:
    """Return a text that may come from anybody as a name: short, and nothing in it that a table or a page minds."""
    return "".join([letter if letter.isprintable() else "\ufffd" for letter in text[:MAX_NAME]])


class Seen:
    """What this process has told of already, so that what is known costs nothing to see again."""

    def __init__(self) -> None:
        self._names: set[tuple[str, str, str]] = set()

    def first(self, issuer_id: str, operations: Iterable[Operation]) -> list[Sighting]:
        """Return what was not told of yet, each once, MAX_SIGHTINGS at most."""
        found: dict[tuple[Kind, str], Sighting] = {}
        for operation in operations:
            for kind, name in strange_in(operation):
                if (issuer_id, kind, name) not in self._names and len(found) < MAX_SIGHTINGS:
                    found.setdefault((kind, name), Sighting(kind.value, name, operation.raw[:MAX_SAMPLE]))
        return list(found.values())

    def note(self, issuer_id: str, sightings: Iterable[Sighting]) -> None:
        """Remember sightings that are stored now."""
        names = {(issuer_id, sighting.kind, sighting.name) for sighting in sightings}
        if len(self._names) + len(names) > MAX_SEEN:
            self._names.clear()
        self._names |= names
