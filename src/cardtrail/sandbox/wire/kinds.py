"""The table of faults: what each does, where on the wire it makes sense, and what it can be told.

The order of the table is the order in which faults are applied that strike the same message: first what keeps it from
its goal, then what changes it, then when and how often it arrives, in the end what becomes of the connection.
"""

from enum import StrEnum

import msgspec

from cardtrail.errors import InputError

MAX_SECONDS = 3_600
"""Longest time that a fault can be told, seconds."""
MAX_EVENT_SECONDS = 60 * 86_400
"""The same for events, whose time may be virtual."""
MAX_HOLD = 60
"""Longest time that a caller is kept waiting, or the store is held, seconds."""


class Hop(StrEnum):
    """A part of the wire."""

    NOTIFICATIONS = "notifications"
    ANSWERS = "answers"
    EVENTS = "events"


HOPS = {
    Hop.NOTIFICATIONS: "from the platform to the issuer's receiver",
    Hop.ANSWERS: "from the issuer to the platform: on-demand answers, batchGet, the feed, tokens, orders",
    Hop.EVENTS: "from sites and carriers to the platform",
}
"""What each hop is, for people."""


class Kind(StrEnum):
    """A fault, by the word that it is asked for with."""

    KEY_ROTATION = "key-rotation"
    DATABASE_STALL = "database-stall"
    TOKEN_EXPIRY = "token-expiry"  # noqa: S105 -- the name of a fault
    DROP = "drop"
    SERVER_ERROR = "500"
    TOO_MANY = "429"
    UNKNOWN_STATUS = "unknown-status"
    UNKNOWN_MEMBER = "unknown-member"
    UNKNOWN_CARRIER = "unknown-carrier"
    CLOCK_SKEW = "clock-skew"
    OLD_SIGNATURE = "old-signature"
    CORRUPT_SIGNATURE = "corrupt-signature"
    DELAY = "delay"
    REORDER = "reorder"
    DUPLICATE = "duplicate"
    SLOW = "slow"
    TRUNCATED = "truncated"
    RESET = "reset"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to know of a kind. `hops` are where it makes sense; the first is meant where none is named.

    `seconds` is what it is told where nothing is said, None where it has no use for a time, and `meaning` tells what
    the time is. `most` is the longest. `count` is after how many strikes it ends by itself where nothing is said; 0 is
    never.
    """

    kind: Kind
    hops: tuple[Hop, ...]
    text: str
    seconds: float | None = None
    meaning: str = ""
    most: float = MAX_SECONDS
    signed: bool = False
    count: int = 0


_N, _A, _E = Hop.NOTIFICATIONS, Hop.ANSWERS, Hop.EVENTS
_ALL = (_N, _A, _E)

TABLE = (
    About(
        kind=Kind.KEY_ROTATION, hops=(_A, _N), count=1, seconds=86_400, most=86_400, meaning="the old secret signs on",
        text="The platform's key for tokens gets a successor, or the secret of notifications does; the old one stays "
        "good for a while.",
    ),
    About(
        kind=Kind.DATABASE_STALL, hops=(_A, _E), count=1, seconds=5, most=MAX_HOLD, meaning="the lock is held",
        text="Somebody holds the store's write lock from this call on: writes wait or are answered 503, reads go on.",
    ),
    About(
        kind=Kind.TOKEN_EXPIRY, hops=(_A, _E),
        text="A token that is still good is answered 401 as expired; one that was fetched since works.",
    ),
    About(
        kind=Kind.DROP, hops=_ALL, seconds=30, most=MAX_HOLD, meaning="answers: no answer comes",
        text="The message is lost: a notification is answered 204 all the same, a call never, an event is not sent.",
    ),
    About(
        kind=Kind.SERVER_ERROR, hops=_ALL,
        text="The call is answered 500 and does not reach the other side.",
    ),
    About(
        kind=Kind.TOO_MANY, hops=_ALL, seconds=2, meaning="Retry-After",
        text="The call is answered 429 with Retry-After and does not reach the other side.",
    ),
    About(
        kind=Kind.UNKNOWN_STATUS, hops=_ALL,
        text="`details.status`, or the `status` of a scan, is a word that nobody has published.",
    ),
    About(
        kind=Kind.UNKNOWN_MEMBER, hops=_ALL,
        text="Objects have a member more that nobody has published.",
    ),
    About(
        kind=Kind.UNKNOWN_CARRIER, hops=_ALL,
        text="The carrier of a shipment, or the raw code of a scan, is one that nobody has published.",
    ),
    About(
        kind=Kind.CLOCK_SKEW, hops=_ALL, seconds=600, signed=True,
        meaning="how far the clock is ahead; less than 0: behind",
        text="A clock is wrong: the time of a signature, the platform's when it looks at assertions and writes `Date`, "
        "or `occurredAt`.",
    ),
    About(
        kind=Kind.OLD_SIGNATURE, hops=(_N,), seconds=3_600, meaning="how old it is",
        text="The notification is signed with a time long ago, as a recorded call that is sent again would be.",
    ),
    About(
        kind=Kind.CORRUPT_SIGNATURE, hops=(_N,),
        text="The notification bears a signature that is not of its body.",
    ),
    About(
        kind=Kind.DELAY, hops=(_N, _E), seconds=5, meaning="how much later",
        text="The message arrives later; the platform hears 204 for a notification at once.",
    ),
    About(
        kind=Kind.REORDER, hops=(_N, _E), seconds=10, meaning="the longest wait",
        text="The message is held until the next one of the same card has passed, or for so long.",
    ),
    About(
        kind=Kind.DUPLICATE, hops=_ALL,
        text="The message arrives twice; only the first answer is seen.",
    ),
    About(
        kind=Kind.SLOW, hops=_ALL, seconds=2, most=MAX_HOLD, meaning="how long the answer waits",
        text="The message arrives at once, and its answer waits.",
    ),
    About(
        kind=Kind.TRUNCATED, hops=_ALL,
        text="The connection ends in the middle of the notification, of the answer, or of the events.",
    ),
    About(
        kind=Kind.RESET, hops=_ALL,
        text="The message arrives, and the connection is reset in place of an answer.",
    ),
)  # fmt: skip
"""Every kind, in the order of application."""

KINDS = {about.kind: about for about in TABLE}


def about(kind: str) -> About:
    """Return what there is to know of a kind. Raises InputError naming `kind`."""
    found = KINDS.get(kind)  # type: ignore[call-overload]  # a StrEnum's member equals its word
    if found is None:
        raise InputError("kind", f"one of {', '.join(KINDS)}", "FIELD_INVALID_VALUE")
    known: About = found
    return known


def hop_of(found: About, hop: str | None) -> Hop:
    """Return the hop that is meant. Raises InputError naming `hop` where the kind makes no sense there."""
    if hop is None:
        return found.hops[0]
    if hop not in found.hops:
        raise InputError("hop", f"{found.kind} is for {' or '.join(found.hops)}", "FIELD_INVALID_VALUE")
    return Hop(hop)


def seconds_of(found: About, hop: Hop, seconds: float | None) -> float:
    """Return the time that a fault is told. Raises InputError naming `seconds`."""
    if found.seconds is None:
        if seconds is not None:
            raise InputError("seconds", f"{found.kind} has no use for a time", "FIELD_INVALID_VALUE")
        return 0.0
    most = MAX_EVENT_SECONDS if hop is Hop.EVENTS and found.most == MAX_SECONDS else found.most
    least = -most if found.signed else 0
    wanted = found.seconds if seconds is None else seconds
    if not least <= wanted <= most:
        raise InputError("seconds", f"{least:g} to {most:g}", "FIELD_INVALID_VALUE")
    return float(wanted)


def part_of(rate: float) -> str:
    """Return which messages a rate means, for people; "no" for none."""
    if rate in {0, 1}:
        return "all" if rate else "no"
    return f"{100 * rate:.3g}% of the"
