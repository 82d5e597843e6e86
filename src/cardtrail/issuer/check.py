"""What is checked before a call, so that nothing wrong is sent, and after it, so that nothing wrong is believed."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from cardtrail.errors import InputError, NotOffered, RemoteError
from cardtrail.issuer.refusal import bad_answer
from cardtrail.issuer.steps import Flow, Request, Response
from cardtrail.protocol.codec import CARD_ID, instant, timestamp

T = TypeVar("T")
Moment = datetime | int
"""A time with its zone, or µs UTC."""
CARD = "card_id"
"""How a wrong id is named."""
NO_SUCH_PATH = frozenset({404, 405, 501})
"""How servers answer a path that they do not have."""
UNTRIED_PATH = NO_SUCH_PATH | {400, 403}
"""The same for a path that was never tried: a gateway says 403, a router that takes its word for an id 400."""


def extension(flow: Flow[T], missing: frozenset[int]) -> Flow[T]:
    """Run a call of an extension; these statuses mean that there is none. Raises NotOffered."""
    try:
        return (yield from flow)
    except RemoteError as error:
        if error.status not in missing:
            raise
        raise NotOffered(
            str(error), status=error.status, error_code=error.error_code, correlation_id=error.correlation_id
        ) from None


def encoded(field: str, content: object) -> bytes:
    """Return it as JSON. Raises InputError naming it, and not quoting it: it may hold a card's data."""
    try:
        return msgspec.json.encode(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(field, f"it cannot be written as JSON: {type(error).__name__}") from None


def understood(request: Request, response: Response, read_body: Callable[[bytes], T]) -> T:
    """Return what a success says. Raises BadAnswer."""
    try:
        return read_body(response.body)
    except (InputError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_answer(request, response, f"it is not as the contract says: {error}") from None


def checked_card(card_id: object, field: str = CARD) -> str:
    """Return a card's id, which is safe in a URL. Raises InputError."""
    if not isinstance(card_id, str) or not CARD_ID.fullmatch(card_id):
        raise no_card(field)
    return card_id


def is_card(card_id: object) -> bool:
    """Tell whether it can be a card's id."""
    return isinstance(card_id, str) and CARD_ID.fullmatch(card_id) is not None


def no_card(field: str) -> InputError:
    """Return the error for what cannot be a card's id."""
    return InputError(field, "1 to 48 of A-Z a-z 0-9 _ -")


def within(field: str, number: int, least: int, most: int) -> int:
    """Return a number within its limits. Raises InputError."""
    if not least <= number <= most:
        raise InputError(field, f"{least} to {most}", "FIELD_INVALID_VALUE")
    return number


def short_text(field: str, text: str, most: int) -> str:
    """Return a text that is neither empty nor too long. Raises InputError."""
    if not 0 < len(text) <= most or not text.isprintable():
        raise InputError(field, f"1 to {most} printable characters")
    return text


def moment_of(field: str, moment: Moment) -> str:
    """Return a time as the wire has it. Raises InputError for one without a zone."""
    return timestamp(moment if isinstance(moment, int) else instant(moment, field))
