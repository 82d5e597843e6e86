"""Spans of time as people write them: `90s`, `20m`, `3h`, `2d`, `6w`, `1d12h`, `-3h`; and speeds: `1000x`, `max`."""

import math
import re

from cardtrail.core.order import SECOND
from cardtrail.errors import InputError

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([+-]?)((?:[0-9]{1,6}(?:\.[0-9]{1,3})?[smhdw])+)")
_PART = re.compile(r"([0-9.]+)([smhdw])")
_SPEED = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)x?")
MAX_SPAN = 3_650 * 86_400 * SECOND
"""Longest span: ten years."""
MAX_SPEED = 1_000_000.0
"""Fastest a clock runs beside a real one; beyond it there is only `max`."""
AS_FAST_AS_IT_GOES = math.inf
"""The speed `max`: the clock jumps to the next thing that happens."""


def span_of(text: str, field: str = "span") -> int:
    """Return a span in µs. Raises InputError naming `field`."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise InputError(field, f"a span such as 20m, 3h, 2d or 1d12h expected, not {text[:40]!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(match[2]))
    span = round(seconds * SECOND)
    if span > MAX_SPAN:
        raise InputError(
            field, f"at most {MAX_SPAN // SECOND // 86_400} days, not {text[:40]!r}", "FIELD_INVALID_VALUE"
        )
    return -span if match[1] == "-" else span


def speed_of(text: str, field: str = "speed") -> float:
    """Return how many seconds pass in one, from `1000x` or `1000`; infinity for `max`. Raises InputError."""
    if text.strip() == "max":
        return AS_FAST_AS_IT_GOES
    match = _SPEED.fullmatch(text.strip())
    if match is None:
        raise InputError(field, f"a speed such as 1x, 1000x or max expected, not {text[:40]!r}")
    speed = float(match[1])
    if not 0 < speed <= MAX_SPEED:
        raise InputError(field, f"more than 0 and at most {MAX_SPEED:.0f}x, or max", "FIELD_INVALID_VALUE")
    return speed


def told_span(span: int) -> str:
    """Return a span for people, in at most two units: `2d 3h`."""
    left, parts = abs(span) // SECOND, list[str]()
    for unit, seconds in sorted(_UNITS.items(), key=lambda each: -each[1]):
        if unit != "w" and left >= seconds and len(parts) < 2:  # noqa: PLR2004 -- two units say enough
            parts.append(f"{left // seconds}{unit}")
            left %= seconds
    return ("-" if span < 0 else "") + (" ".join(parts) or "0s")


def told_speed(speed: float) -> str:
    """Return a speed as it is written."""
    return "max" if math.isinf(speed) else f"{speed:.10g}x"
