"""Cursors: a place in one issuer's changes feed, as text that a reader keeps and hands back. Contract section 11.

The text is opaque: base64url over a version, the database's epoch, the issuer and the change number, all of fixed
length, so that one place has one text. It is not secret and not signed: it grants nothing, since a reader names its
issuer in the path and proves its right to it by its token.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from struct import Struct

import msgspec

from cardtrail.errors import InputError
from cardtrail.protocol.codec import ISSUER_ID

MAX_CURSOR = 36
"""Longest (and only) length of a cursor's text, characters."""
MAX_NUMBER = 2**63 - 1
"""Largest change number: what both engines keep in a BIGINT."""
EPOCH = re.compile(r"[0-9a-f]{16}")
FIELD = "since"
"""The parameter by which a reader hands a cursor back."""

_VERSION = 1
_layout = Struct(">B8s10sQ")
_CURSOR = re.compile(r"[A-Za-z0-9_-]{36}")


class Cursor(msgspec.Struct, frozen=True):
    """A place in a feed: all changes up to `number` (0: none) of this issuer, in this epoch of the database."""

    epoch: str
    issuer_id: str
    number: int


def encode_cursor(cursor: Cursor) -> str:
    """Return the cursor's text, safe in a URL, a header and a JSON string. Raises ValueError for what is no cursor."""
    if not EPOCH.fullmatch(cursor.epoch) or not ISSUER_ID.fullmatch(cursor.issuer_id):
        raise ValueError(f"no cursor can be made of {cursor}")
    if not 0 <= cursor.number <= MAX_NUMBER:
        raise ValueError(f"a change number of 63 bits expected, not {cursor.number}")
    place = _layout.pack(_VERSION, bytes.fromhex(cursor.epoch), cursor.issuer_id.encode(), cursor.number)
    return urlsafe_b64encode(place).decode()


def decode_cursor(text: str) -> Cursor:
    """Return the place a text stands for. Raises InputError naming `since`.

    Whether the epoch is still ours, and whether the number is not ahead, is for the caller to compare: 410, not 400.
    """
    if not _CURSOR.fullmatch(text):
        raise _no_cursor()
    version, epoch, issuer, number = _layout.unpack(urlsafe_b64decode(text))
    issuer_id = issuer.decode("ascii", "replace")
    if version != _VERSION or not ISSUER_ID.fullmatch(issuer_id) or number > MAX_NUMBER:
        raise _no_cursor()
    return Cursor(epoch.hex(), issuer_id, number)


def cursor_for(text: str, issuer_id: str) -> Cursor:
    """Return the place a text stands for in this issuer's feed. Raises InputError, also for another issuer's cursor."""
    cursor = decode_cursor(text)
    if cursor.issuer_id != issuer_id:
        raise InputError(FIELD, "this cursor belongs to the feed of another issuer", "FIELD_INVALID_VALUE")
    return cursor


def _no_cursor() -> InputError:
    return InputError(FIELD, "a cursor as the feed or a notification gave it expected")
