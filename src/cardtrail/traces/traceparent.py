"""`traceparent`, as W3C's Trace Context publishes it: version, trace, span and flags, in lower-case hexadecimal digits.

It comes from outside, so only the strict form of version 00 counts; what is not that is nothing.
"""

import re
from collections.abc import Iterable

HEADER = "traceparent"
_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1


def traceparent_in(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the header of a request, empty where there is none of the right form, or more than one."""
    found = [value for name, value in headers if name == b"traceparent"]
    value = found[0].decode("latin-1") if len(found) == 1 else ""
    return value if _FORM.fullmatch(value) else ""


def ids_of(traceparent: str) -> tuple[int, int, bool] | None:
    """Return trace, span and whether it is sampled; None for what has not the form."""
    found = _FORM.fullmatch(traceparent)
    return (int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _SAMPLED)) if found else None


def traceparent_of(trace_id: int, span_id: int) -> str:
    """Return the text for a span that is sampled."""
    return f"00-{trace_id:032x}-{span_id:016x}-01"
