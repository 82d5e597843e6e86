"""What stands in a text and must not: every secret that is known, and everything that has the shape of one."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

SHAPES = {
    "a token": re.compile(r"eyJ[\w-]{8,}\.[\w-]+"),
    "a signing secret": re.compile(r"wh(?:sec|sk)_[\w+/=-]{8,}"),
    "a private key": re.compile(r"PRIVATE KEY"),
    "credentials": re.compile(r"(?:Bearer|Basic) [\w+/=.-]{4,}"),
}
"""What nobody named and yet can be told."""
LEAST = 8
"""Fewer characters than that are found by chance."""


def leaks(text: str, hidden: Mapping[str, str]) -> list[str]:
    """Return what of the `hidden`, by its name, and of the SHAPES stands in a text, also when it is written otherwise.

    Of a text with several lines each line counts. Raises ValueError for what is too short to be looked for.
    """
    found = [
        name for name, secret in hidden.items()
        for line in secret.splitlines() if not line.startswith("-----")
        if any(written in text for written in _forms(name, line))
    ]  # fmt: skip
    return sorted({*found, *(name for name, shape in SHAPES.items() if shape.search(text))})


def _forms(name: str, line: str) -> Iterator[str]:
    """Give a secret as it is, and as forms, paths, JSON and Basic credentials have it."""
    if len(line) < LEAST:
        raise ValueError(f"{name} is too short to be looked for")
    yield from (line, quote(line), quote(line, safe=""), quote_plus(line), json.dumps(line)[1:-1])
    yield b64encode(line.encode()).decode().rstrip("=")
    yield line.partition("_")[2] if line.startswith("wh") else line
