"""What a verified notification says: bytes to observations, each element by itself. Contract section 7.

An element that is no operation is kept as drift and never costs its neighbours anything.
"""

import re

from msgspec import Raw, Struct

from cardtrail.errors import InputError
from cardtrail.issuer.sight import Seen, element_of
from cardtrail.issuer.standing import Observed
from cardtrail.issuer.take import Sighting
from cardtrail.protocol.reading import Operation, envelope_of, operation_of

MAX_ELEMENTS = 1_000
"""Most elements of one body."""
MAX_MARK = 256
"""Longest high-water mark that is taken for one, characters."""
MAX_BAD = 100
"""Most bad elements of one body that are kept; nearly always they are bad for one reason, and one sample tells it."""

_MARK = re.compile(rf"[\x21-\x7e]{{1,{MAX_MARK}}}")


class TooManyElements(InputError):
    """The body has more elements than are taken at once; in halves it may be taken."""


class Message(Struct, frozen=True, kw_only=True):
    """What a body says. Without an operation it is a heartbeat.

    `mark` is its high-water mark, `sightings` what of it is new to us, `bad` why elements could not be read.
    `refusal` is set where nothing of it could: it is kept all the same, and then refused.
    """

    observed: list[Observed]
    mark: str | None = None
    sightings: list[Sighting]
    bad: tuple[str, ...] = ()
    refusal: InputError | None = None


def message_of(issuer_id: str, body: bytes, learned_at: int, seen: Seen) -> Message:
    """Return what a body says; `learned_at` in µs. Raises TooManyElements."""
    try:
        envelope = envelope_of(body)
    except InputError as error:
        return Message(observed=[], sightings=[element_of(f"body: {error}", body)], refusal=error)
    if len(envelope.elements) > MAX_ELEMENTS:
        raise TooManyElements("operations", f"at most {MAX_ELEMENTS}", "FIELD_INVALID_VALUE")
    operations, bad = _read(envelope.elements)
    return Message(
        observed=[Observed(operation, "notification", learned_at) for operation in operations],
        mark=envelope.mark if envelope.mark is not None and _MARK.fullmatch(envelope.mark) else None,
        sightings=[*seen.first(issuer_id, operations), *(element_of(*each) for each in bad[:MAX_BAD])],
        bad=tuple([why for why, _ in bad]),
        refusal=InputError("operations", f"none can be read: {bad[0][0]}") if bad and not operations else None,
    )


def _read(elements: list[Raw]) -> tuple[list[Operation], list[tuple[str, bytes]]]:
    """Return the operations, and the elements that are none, each with the reason."""
    operations: list[Operation] = []
    bad: list[tuple[str, bytes]] = []
    for element in elements:
        try:
            operations.append(operation_of(element))
        except InputError as error:
            bad.append((str(error), bytes(element)))
    return operations, bad
