"""Trying an endpoint out: one call without an operation, now, that leaves no trace in ledger or circuit."""

import time

import msgspec

from cardtrail.db import Database
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.call import Caller
from cardtrail.platform.egress import Egress
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.feed import position_of
from cardtrail.protocol.cursor import encode_cursor


class Tried(msgspec.Struct, frozen=True, rename="camel"):
    """What came of it: HTTP status, or the class of the failure; the beginning of the answer, or what went wrong."""

    http_status: int | None
    failure: str | None
    text: str
    ms: int

    @property
    def is_good(self) -> bool:
        """Whether a notification would have counted as delivered."""
        return self.failure is None and self.http_status is not None and 200 <= self.http_status < 300  # noqa: PLR2004 -- every 2xx is a success


async def try_out(db: Database, endpoints: Endpoints, egress: Egress, issuer_id: str, endpoint_id: str) -> Tried:
    """Call an endpoint as a notification would, disabled or not, with `{"operations":[]}`. Raises NotFound.

    It carries the high-water mark and is signed; in strict mode it is the published form.
    """
    endpoint, secrets = await endpoints.find_with_secrets(issuer_id, endpoint_id)
    place = await db.read(lambda tx: position_of(tx, issuer_id))
    caller = Caller(egress, endpoint, secrets, wall_clock(), time.monotonic)
    answer = await caller.beat(encode_cursor(place), wall_clock() // 1_000_000)
    return Tried(answer.status, answer.failure, caller.shown(answer), round(answer.seconds * 1_000))
