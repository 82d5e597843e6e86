"""Errors as the contract writes them: `{"errorCode", "error"}`, both optional; texts are for people."""

import msgspec

from cardtrail import errors


class Problem(msgspec.Struct, frozen=True):
    """An error answer: HTTP status, extra headers, JSON body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class _Body(msgspec.Struct, omit_defaults=True, rename="camel"):
    error_code: str
    error: str = ""


_STATUS: tuple[tuple[type[errors.CardtrailError], int], ...] = (
    (errors.InputError, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.CursorExpired, 410),
    (errors.TooMany, 429),
    (errors.StoreUnavailable, 503),
)


def problem_of(error: errors.CardtrailError) -> Problem:
    """Return how an error is answered; what is not on the list is our fault and says no more than that."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:  # noqa: PLR2004 -- an HTTP status
        return problem(500, "INTERNAL", "something went wrong here; it is logged")
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, errors.Unauthorized):
        headers = ((b"www-authenticate", b'Bearer error="invalid_token"'),)
    elif isinstance(error, errors.TooMany | errors.StoreUnavailable):
        headers = ((b"retry-after", b"%d" % error.retry_after),)
    text = "try again in a moment" if isinstance(error, errors.StoreUnavailable) else str(error)
    return problem(status, error.code, text, headers)


def problem(status: int, code: str, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Problem:
    """Return an error answer."""
    return Problem(status, headers, msgspec.json.encode(_Body(code, text)))
