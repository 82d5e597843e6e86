"""First sightings: what sites and carriers say that nobody has published.

Reading is liberal: it is kept, and is no error. It is noted once, with a sample, so that a person learns that the
contract has moved, or that a feed is mapped wrongly. A process notes a name at its first sight and writes it down soon
after; one that ends before has lost nothing, since the name comes again.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from cardtrail.core.event import CarrierEvent
from cardtrail.core.status import CARRIERS
from cardtrail.db import Database, Row
from cardtrail.platform.held import Item, Outcome
from cardtrail.protocol.codec import EventIn

MAX_SEEN: Final = 10_000
"""Most names that a process remembers; then it begins anew, and writes some down once more, which changes nothing."""
MAX_WAITING: Final = 500
"""Most sightings that wait to be written down; further ones are noted when they come again."""
MAX_NAME: Final = 128
MAX_SAMPLE: Final = 2_000
"""Longest name and sample that are kept, characters and bytes."""
_MEMBERS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(EventIn))
_names = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PERSONAL: Final = frozenset({"trackingNumber", "trackingUrl", "message", "location", "reason", "error"})
"""Members whose values no sample keeps."""
_HIDDEN: Final = msgspec.Raw(b'"\xe2\x80\xa6"')


class Kind(StrEnum):
    """What was not as published."""

    SHIPMENT_STATUS = "shipment status"
    CARRIER = "carrier"
    CODE = "carrier code"
    MEMBER = "member"


class Sightings:
    """Notes what comes in by one process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._seen = set[tuple[str, str]]()
        self._waiting: list[Row] = []

    def note(self, raw: bytes | msgspec.Raw, found: Item | Outcome, now: int) -> None:
        """Note what an event says that nobody has published; `now` in µs of domain time."""
        for kind, name, source in _unpublished(raw, found):
            key = kind.value, name[:MAX_NAME]
            if key in self._seen or len(self._waiting) >= MAX_WAITING:
                continue
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(key)
            self._waiting.append((*key, source, now, _sample_of(raw)))

    async def run_once(self) -> int:
        """Write down what was noted; return how much it was. Raises StoreUnavailable, and keeps it then."""
        rows = sorted(self._waiting, key=lambda row: row[:2])
        if rows:
            await self._db.transact(lambda tx: tx.each("add_sightings", rows))
            del self._waiting[: len(rows)]
        return 0


def _sample_of(raw: bytes | msgspec.Raw) -> bytes:
    """Return an event as it came, without personal data that is published as such."""
    members = {name: _HIDDEN if name in _PERSONAL else value for name, value in _names.decode(raw).items()}
    return msgspec.json.encode(members)[:MAX_SAMPLE]


def _unpublished(raw: bytes | msgspec.Raw, found: Item | Outcome) -> Iterator[tuple[Kind, str, str]]:
    """Yield the names that nobody has published, with the source that said them."""
    if isinstance(found, Outcome):
        return
    event = found.event
    if isinstance(event, CarrierEvent) and event.shipment_status is None:
        if event.status:
            yield Kind.SHIPMENT_STATUS, event.status, event.source
        if event.code:
            yield Kind.CODE, f"{event.source}:{event.code}", event.source
    if event.carrier is not None and event.carrier not in CARRIERS:
        yield Kind.CARRIER, event.carrier, event.source
    for name in _names.decode(raw).keys() - _MEMBERS:
        yield Kind.MEMBER, name, event.source
