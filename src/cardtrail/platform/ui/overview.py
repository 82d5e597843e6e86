"""The overview: where an issuer's cards are, how they moved in a range of time, and how its notifications fare."""

from collections.abc import Sequence

import msgspec

from cardtrail.core.order import SECOND
from cardtrail.db import Transaction
from cardtrail.platform.endpoint import EndpointState
from cardtrail.platform.ledger import OPEN
from cardtrail.platform.outbox import made_at

HOUR = 3_600 * SECOND
RANGES = {"24h": (24, 1), "7d": (7 * 24, 6), "30d": (30 * 24, 24), "365d": (365 * 24, 24 * 14)}
"""Ranges of time that can be looked at: their hours, and the hours that are counted together."""
MAX_COUNTED = 10_000
"""Most notifications of one endpoint and state that are counted; so many may be more."""
MAX_ENDPOINTS = 200
"""Most endpoints of an issuer that are shown."""


class EndpointGlance(msgspec.Struct, frozen=True):
    """How an endpoint fares: its counts by state, the oldest that waits (µs), and since when it fails (µs)."""

    endpoint_id: str
    state: EndpointState
    counts: dict[str, int]
    failing_since: int | None
    pending_since: int | None


class Overview(msgspec.Struct, frozen=True):
    """What the overview shows; `columns` are counts by place, of the `hours` since 1970."""

    here: dict[str, int]
    hours: tuple[int, ...]
    columns: dict[str, tuple[int, ...]]
    endpoints: tuple[EndpointGlance, ...]

    @property
    def pending(self) -> int:
        """How many notifications wait."""
        return sum(each.counts.get("PENDING", 0) for each in self.endpoints)

    @property
    def undelivered(self) -> int:
        """How many were given up, refused or withheld."""
        return sum(sum(each.counts.values()) for each in self.endpoints) - self.pending


def overview_of(tx: Transaction, issuer_id: str, now: int, name: str) -> Overview:
    """Read the overview of one issuer at `now` (µs of domain time) over one of the RANGES."""
    span, each = RANGES[name]
    last = now // HOUR // each
    first = last - span // each + 1
    rows = tx.all("passages", issuer_id=issuer_id, each=each, since=first * each, until=(last + 1) * each)
    columns: dict[str, list[int]] = {}
    for column, place, count in rows:
        columns.setdefault(place, [0] * (last - first + 1))[column - first] += int(count)
    return Overview(
        here={place: count for place, count in tx.all("standing", issuer_id=issuer_id) if count},
        hours=tuple(range(first * each, (last + 1) * each, each)),
        columns={place: tuple(counts) for place, counts in columns.items()},
        endpoints=tuple(endpoints_of(tx, issuer_id)),
    )  # fmt: skip


def endpoints_of(tx: Transaction, issuer_id: str) -> Sequence[EndpointGlance]:
    """Read how an issuer's endpoints fare."""
    failing = {row[0]: row[2] for row in tx.all("lanes_of_issuer", issuer_id=issuer_id)}
    found = []
    for _, endpoint_id, state, _ in tx.each("endpoints_of_issuers", [(issuer_id,)])[:MAX_ENDPOINTS]:
        counts, oldest = {}, None
        for each in OPEN:
            count, first = _counted(tx, issuer_id, endpoint_id, each.value)
            counts[each.value] = count
            oldest = first if each is OPEN[0] else oldest
        since = made_at(oldest) if oldest is not None else None
        found.append(EndpointGlance(endpoint_id, EndpointState(state), counts, failing.get(endpoint_id), since))
    return found


def _counted(tx: Transaction, issuer_id: str, endpoint_id: str, state: str) -> tuple[int, str | None]:
    row = tx.one("count_open", issuer_id=issuer_id, endpoint_id=endpoint_id, state=state, most=MAX_COUNTED)
    return (int(row[0]), row[1]) if row else (0, None)
