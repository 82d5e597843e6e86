"""What must not be in a record: access tokens, assertions, secrets of clients and card credentials."""

import re
from typing import Any
from urllib.parse import unquote_plus

import msgspec

MASK = "***"
HIDDEN = frozenset({
    "access_token", "refresh_token", "id_token", "assertion", "client_assertion", "client_secret", "encrypteddata",
})  # fmt: skip
"""Members whose values are hidden, in lower case."""

_COMPACT = re.compile(r"eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){1,4}")
"""What has the shape of a JWT or a compact JWE, wherever it stands."""
_NAMES = "|".join(sorted(HIDDEN))
_IN_JSON = re.compile(rf'("(?:{_NAMES})"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^,}}\s]+)', re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,20}) +.*", re.DOTALL)


def masked_header(name: str, value: str) -> str:
    """Return a header's value without credentials; of `authorization` the scheme is left."""
    if name == "authorization":
        return _SCHEME.sub(rf"\1 {MASK}", value) if _SCHEME.fullmatch(value) else MASK
    return masked_text(value)


def masked_body(kind: str, text: str) -> str:
    """Return a body without credentials; `kind` is its content type."""
    if kind.startswith("application/x-www-form-urlencoded"):
        return "&".join(map(_masked_pair, text.split("&")))
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return masked_text(_IN_JSON.sub(rf'\1"{MASK}"', text))
    try:
        return masked_text(msgspec.json.encode(found).decode() if _hide(found) else text)
    except RecursionError:
        return MASK


def masked_text(text: str) -> str:
    """Return a text without what has the shape of a token."""
    return _COMPACT.sub(MASK, text)


def _masked_pair(pair: str) -> str:
    name, _, _ = pair.partition("=")
    return f"{name}={MASK}" if unquote_plus(name).strip().lower() in HIDDEN else masked_text(pair)


def _hide(value: Any) -> bool:
    """Put the mask in place of what is hidden, everywhere; return whether there was anything."""
    if isinstance(value, list):
        return sum(map(_hide, value)) > 0
    if not isinstance(value, dict):
        return False
    names = [name for name in value if name.lower() in HIDDEN]
    value.update(dict.fromkeys(names, MASK))
    return len(names) + sum(map(_hide, value.values())) > 0
