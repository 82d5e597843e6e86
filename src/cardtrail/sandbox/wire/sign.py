"""Signatures of notifications as the wire changes them: afresh, with another time, or wrong."""

import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cardtrail.protocol.signature import ID, SIGNATURE, TIMESTAMP, sign
from cardtrail.sandbox.wire.call import Call
from cardtrail.sandbox.wire.faults import Fault
from cardtrail.sandbox.wire.kinds import Kind

TIMED = frozenset({Kind.CLOCK_SKEW, Kind.OLD_SIGNATURE})
"""The kinds that sign with another time."""

Secrets = Callable[[], Awaitable[Sequence[str]]]
"""Gives the secrets that notifications are signed with now, the newest first; none where they are not signed."""


def is_signed(call: Call) -> bool:
    """Tell whether a call bears a signature."""
    return bool(call.header(ID.encode()) and call.header(SIGNATURE.encode()))


async def signed(call: Call, body: bytes, faults: Mapping[Kind, Fault], secrets: Secrets) -> Call:
    """Return a call with this body, signed as the platform would at the time that the faults make it believe.

    A call that bore no signature gets none.
    """
    keys = await secrets() if is_signed(call) else ()
    if not keys:
        return call.changed(body, ())
    webhook_id, at = call.header(ID.encode()), _time_of(faults)
    told = {TIMESTAMP: str(at), SIGNATURE: sign(keys, webhook_id, at, body)}
    return call.changed(body, [(name.encode(), value.encode()) for name, value in told.items()])


def _time_of(faults: Mapping[Kind, Fault]) -> int:
    skew = faults[Kind.CLOCK_SKEW].seconds if Kind.CLOCK_SKEW in faults else 0
    age = faults[Kind.OLD_SIGNATURE].seconds if Kind.OLD_SIGNATURE in faults else 0
    return max(0, int(time.time() + skew - age))


def corrupted(call: Call) -> Call:
    """Return a call with signatures that look right and are wrong; its body stays."""
    wrong = " ".join(map(_wrong, call.header(SIGNATURE.encode()).split(" ")))
    return call.changed(call.body, [(SIGNATURE.encode(), wrong.encode())])


def _wrong(signature: str) -> str:
    scheme, _, text = signature.partition(",")
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return signature[::-1]
    return f"{scheme},{b64encode(bytes(byte ^ 0xFF for byte in data)).decode()}"
