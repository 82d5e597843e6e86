"""What is left of a round: everything that the laws are judged by, read from the stores past all of the product."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.desk import execute
from tests.prove.house import Place

OrderKey = tuple[str, str]
"""Issuer and operation."""


class Stored(NamedTuple):
    """A row of the platform's `operation`: the picture of an order."""

    card_id: str
    sequence: int
    change_no: int
    picture: bytes


class Logged(NamedTuple):
    """A change as the platform's database itself has noted it, in the order of their numbers."""

    issuer_id: str
    change_no: int
    operation_id: str
    sequence: int
    picture: bytes


class Entry(NamedTuple):
    """A row of the ledger."""

    issuer_id: str
    endpoint_id: str
    operation_id: str
    sequence: int
    state: str
    picture: bytes


class Copy(NamedTuple):
    """A row of a mirror."""

    issuer_id: str
    operation_id: str
    doubtful: bool
    picture: bytes


class Reading(NamedTuple):
    """What the reader of the feed has: the newest pictures, all it has seen in its order, and lost cursors."""

    pictures: Mapping[str, bytes]
    seen: Sequence[bytes]
    expired: int


class Evidence(NamedTuple):
    """All that is known of a round once everything has settled."""

    seed: int
    events: Mapping[tuple[str, str], Sequence[bytes]]
    """The stored events of each card, by issuer and card."""
    inbox: Counter[tuple[str, str]]
    """How often each event's key is stored."""
    orders: Mapping[OrderKey, Stored]
    counters: Mapping[str, int]
    log: Sequence[Logged]
    endpoints: Mapping[str, str]
    """The mode of each issuer's one endpoint."""
    ledger: Sequence[Entry]
    confirmed: Counter[tuple[str, str]]
    """How often each request, by issuer and its id, is a confirmed order."""
    accepted: Mapping[tuple[str, str], int]
    """How often an event was answered `accepted`."""
    known: Mapping[tuple[str, str], int]
    """How often an event was answered `duplicate`."""
    ordered: Mapping[tuple[str, str, str], set[str]]
    """The operations that an order was answered with, by issuer, card and request."""
    mirrors: Mapping[str, Sequence[Copy]]
    notified: Mapping[str, Sequence[bytes]]
    """All bodies that were sent to each issuer's endpoint."""
    carried: Mapping[str, Sequence[bytes]]
    """Those that went on to its receiver."""
    readings: Mapping[str, Reading]


class Heard(NamedTuple):
    """What only the runner knows: answers, and what went through its hands."""

    accepted: Mapping[tuple[str, str], int]
    known: Mapping[tuple[str, str], int]
    ordered: Mapping[tuple[str, str, str], set[str]]
    notified: Mapping[str, Sequence[bytes]]
    carried: Mapping[str, Sequence[bytes]]


def evidence_of(place: Place, seed: int, heard: Heard) -> Evidence:
    """Read everything."""
    url = place.platform
    events: dict[tuple[str, str], list[bytes]] = {}
    for issuer_id, card_id, body in execute(url, "SELECT issuer_id, card_id, body FROM event ORDER BY recorded_at"):
        events.setdefault((issuer_id, card_id), []).append(bytes(body))
    orders = execute(url, "SELECT issuer_id, operation_id, card_id, sequence, change_no, picture FROM operation")
    log = "SELECT issuer_id, change_no, operation_id, sequence, picture FROM change_log ORDER BY issuer_id, change_no"
    ledger = "SELECT issuer_id, endpoint_id, operation_id, sequence, state, picture FROM notification"
    requests = "SELECT issuer_id, issuer_request_id FROM order_request WHERE state = 'CONFIRMED'"
    return Evidence(
        seed=seed, events=events, **heard._asdict(),
        inbox=Counter((row[0], row[1]) for row in execute(url, "SELECT source, event_id FROM inbox")),
        orders={(row[0], row[1]): Stored(row[2], row[3], row[4], bytes(row[5])) for row in orders},
        counters=dict(execute(url, "SELECT issuer_id, change_no FROM issuer_counter")),
        log=[Logged(row[0], row[1], row[2], row[3], bytes(row[4])) for row in execute(url, log)],
        endpoints={row[0]: json.loads(row[1]).get("mode", "newest") for row in execute(
            url, "SELECT issuer_id, config FROM endpoint"
        )},
        ledger=[Entry(row[0], row[1], row[2], row[3], row[4], bytes(row[5])) for row in execute(url, ledger)],
        confirmed=Counter((row[0], row[1]) for row in execute(url, requests)),
        mirrors={issuer_id: copies_in(mirror) for issuer_id, mirror in place.mirrors.items()},
        readings={issuer_id: reading_of(place, issuer_id) for issuer_id in place.mirrors},
    )  # fmt: skip


def copies_in(mirror: str) -> list[Copy]:
    """Return the orders of a mirror."""
    rows = execute(mirror, "SELECT issuer_id, operation_id, doubtful, picture FROM operation")
    return [Copy(row[0], row[1], bool(row[2]), bytes(row[3])) for row in rows]


def reading_of(place: Place, issuer_id: str) -> Reading:
    """Return what the reader has written down; a kill may have cut its last line."""
    path = place.folder / f"read-{issuer_id}.json"
    state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"pictures": {}, "expired": 0}
    log = place.folder / f"seen-{issuer_id}.log"
    lines = log.read_bytes().split(b"\n") if log.exists() else []
    pictures = {name: text.encode() for name, text in state["pictures"].items()}
    return Reading(pictures, [line for line in lines if line.endswith(b"}")], state["expired"])
