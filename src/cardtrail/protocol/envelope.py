"""Envelopes: what one call to an endpoint carries: its body and its id. Contract section 7."""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from cardtrail.protocol.codec import answer_of
from cardtrail.protocol.cursor import MAX_CURSOR

T = TypeVar("T")

GROUP = "set_"
"""What the id of a call begins with that is not the id of a notification."""
MAX_WEBHOOK_ID = 64
"""Longest id of a call, characters."""

_DIGEST = 24
"""Bytes of a group's hash: 192 bits, so that no two groups ever share an id."""
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_WEBHOOK_ID}}}")
"""An id that is safe in a header and, since the signed content is split at dots, has none."""


def body_of(pictures: Sequence[bytes], cursor: str | None) -> bytes:
    """Return `{"operations":[…]}` around ready pictures, then the high-water mark, if there is one, in `cardtrail`.

    The strict form has none. Without pictures this is the body of a heartbeat.
    """
    body = answer_of(pictures)
    if cursor is None:
        return body
    return b'%b,"cardtrail":{"cursor":%b}}' % (body[:-1], msgspec.json.encode(cursor))


FRAME = len(body_of([], "-" * MAX_CURSOR))
"""What a body holds besides pictures and their commas at most, bytes."""


def webhook_id_of(endpoint_id: str, names: Sequence[str], *, strict: bool) -> str:
    """Return the `webhook-id` of a call, `[A-Za-z0-9_-]{1,64}`: the same set in the same order and form has the same.

    `names` are the ids of its notifications, each with `#` and its round after a replay, which changes what it says.
    One alone gives its own id; what cannot be an id as it is (a round, a dot, too long) is hashed like a group. A
    heartbeat has no notification and needs a name of its own, such as `heartbeat#` and the second it is sent.
    Raises ValueError where nothing is named.
    """
    if not names:
        raise ValueError("a call without a name would have the id of every other")
    if len(names) == 1 and _PLAIN.fullmatch(names[0]) and not names[0].startswith(GROUP):
        return names[0]
    content = msgspec.json.encode((endpoint_id, names, strict))
    digest = hashlib.blake2b(content, digest_size=_DIGEST).digest()
    return GROUP + urlsafe_b64encode(digest).decode()


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Return a refused batch in two, none of them empty, to find out what it was refused for. Raises ValueError."""
    if len(items) < 2:  # noqa: PLR2004 -- what has two halves
        raise ValueError("what is alone cannot be split")
    middle = len(items) // 2
    return items[:middle], items[middle:]
