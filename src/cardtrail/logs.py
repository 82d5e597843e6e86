"""Logs: JSON lines, one wide line a request; nothing that could be a card number or a token gets through."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_DIGITS = re.compile(r"(?<!\d)\d{13,19}(?!\d)")
_SECRET = frozenset({"authorization", "assertion", "access_token", "encrypted_data", "encryptedData"})


class Seen:
    """What was seen in this process's log."""

    pan_like = 0
    """Lines in which something was masked that looks like a card number."""


seen = Seen()


def is_pan_like(digits: str) -> bool:
    """Tell whether 13 to 19 digits pass the Luhn check that card numbers pass."""
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0  # noqa: PLR2004 -- Luhn


def masked(text: str) -> str:
    """Return the text with everything that looks like a card number masked but for its last four digits."""
    return _DIGITS.sub(lambda found: _masked_digits(found[0]), text)


def _masked_digits(digits: str) -> str:
    return "*" * (len(digits) - 4) + digits[-4:] if is_pan_like(digits) else digits


def _mask(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask every value of a line; a line in which something was masked says so, and is counted, for an alert."""
    for name, value in list(event.items()):
        if name in _SECRET:
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = masked(value)
            if event[name] != value:
                event["pan_like"] = True
    seen.pan_like += "pan_like" in event
    return event


def configure(level: str = "info") -> None:
    """Send structlog and the standard library's log lines to standard error as JSON."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[Any] = [
        structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), _mask,
    ]  # fmt: skip
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info, structlog.processors.JSONRenderer(),
        ],
    ))  # fmt: skip
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    logging.getLogger("cardtrail").setLevel(number)  # the kit's own lines; of others only what is amiss
