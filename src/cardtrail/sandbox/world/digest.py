"""What a simulation has come to, in one line: the same seed gives the same digest, whatever machine and speed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from cardtrail.db import Transaction, open_database
from cardtrail.db.database import Row
from cardtrail.protocol.codec import decode_events
from cardtrail.sandbox.world.begin import queries

PAGE = 5_000
"""Rows that are read at once."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What there is in a store: how many events and orders, how many orders at each stage, and the digest of it all."""

    events: int
    orders: int
    stages: dict[str, int]
    digest: str


class _Picture(msgspec.Struct):
    details: dict[str, object]


def tally_of(database: str) -> Tally:
    """Read a platform's store to its end.

    The digest is over the events sorted by (time, source, id), without when they were recorded, and the pictures
    sorted by card. Raises StoreUnavailable.
    """
    db = open_database(database, queries(), light=True)
    try:
        events = sorted(_events(db.read_blocking))
        digest, stages, orders = hashlib.sha256(), Counter[str](), 0
        for at, source, event_id, content in events:
            digest.update(f"{at}|{source}|{event_id}|".encode() + content)
        for issuer_id, card_id, _, operation_id, sequence, picture in _pictures(db.read_blocking):
            digest.update(f"{issuer_id}|{card_id}|{operation_id}|{sequence}|".encode() + picture)
            stages[_stage_of(picture)] += 1
            orders += 1
    finally:
        db.close()
    return Tally(events=len(events), orders=orders, stages=dict(stages.most_common()), digest=digest.hexdigest())


Read = Callable[[Callable[[Transaction], list[Row]]], list[Row]]


def _events(read: Read) -> set[tuple[int, str, str, bytes]]:
    """Return each event once: when it says it happened, its key, and a hash of its content."""
    found = set[tuple[int, str, str, bytes]]()
    for rows in _pages(read, "events_after", ("issuer_id", "card_id", "source", "event_id"), ("", "", "", "")):
        bodies = [bytes(row[4]) for row in rows]
        for event, body in zip(decode_events(bodies), bodies, strict=True):
            content = body.replace(b'"recorded_at":%d,' % event.recorded_at, b"", 1)
            found.add((event.occurred_at, *event.key, hashlib.blake2b(content, digest_size=16).digest()))
    return found


def _pictures(read: Read) -> Iterator[Row]:
    names = ("issuer_id", "card_id", "requested_at", "operation_id")
    for rows in _pages(read, "pictures_after", names, ("", "", 0, "")):
        yield from ((*row[:5], bytes(row[5])) for row in rows)


def _pages(read: Read, query: str, names: tuple[str, ...], after: tuple[object, ...]) -> Iterator[list[Row]]:
    while True:
        rows = read(partial(_page, query, dict(zip(names, after, strict=True))))
        if not rows:
            return
        yield rows
        after = rows[-1][: len(names)]


def _page(query: str, after: dict[str, object], tx: Transaction) -> list[Row]:
    return tx.all(query, most=PAGE, **after)


def _stage_of(picture: bytes) -> str:
    details = msgspec.json.decode(picture, type=_Picture).details
    shipment = details.get("shipment")
    status = shipment.get("status") if isinstance(shipment, dict) else None
    return f"{details['status']}, {status}" if status else str(details["status"])
