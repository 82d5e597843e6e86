"""An answer that is no success, as an error: by the other side's words, without anything that is secret."""

import re

import msgspec

from cardtrail import errors
from cardtrail.issuer.steps import Failed, Request, Response
from cardtrail.protocol.failure import plain

MAX_READ = 16_384
"""How much of an error's body is looked at, bytes."""
MAX_CODE = 64
"""Longest `errorCode` that is taken over, characters."""

_SECRET = re.compile(r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){1,4}")
"""A token, an assertion or encrypted card data: whatever is signed or encrypted as JOSE has it."""
_HIDDEN = "(hidden)"
_CODE = re.compile(rf"[\x21-\x7e]{{1,{MAX_CODE}}}")
_KINDS: dict[int, type[errors.RemoteRefused]] = {
    401: errors.RemoteUnauthorized,
    403: errors.RemoteForbidden,
    404: errors.RemoteNotFound,
    409: errors.RemoteConflict,
    410: errors.RemoteCursorExpired,
    429: errors.RemoteTooMany,
}
_BAD_REQUEST = 400
_SERVER_ERROR = 500


class _Words(msgspec.Struct, rename="camel"):
    """What contract section 6 says of errors, and RFC 6749 of token endpoints; whatever is no text is not looked at."""

    error_code: object = None
    error: object = None
    error_description: object = msgspec.field(default=None, name="error_description")


def refusal_of(
    request: Request, response: Response, hidden: str = "", kind: type[errors.RemoteError] | None = None
) -> errors.RemoteError:
    """Return the error an answer stands for: `kind`, or what its status says. `hidden` must not be shown."""
    code, words = _said(response.body, hidden)
    status = response.status
    correlation = response.correlation_id or request.correlation_id
    text = f"{_called(request)}: HTTP {status}{' ' + code if code else ''}{': ' + words if words else ''}"
    return (kind or kind_of(status))(
        f"{text} (correlation id {correlation})",
        status=status, error_code=code, correlation_id=correlation, retry_after=response.retry_after,
    )  # fmt: skip


def kind_of(status: int) -> type[errors.RemoteError]:
    """Return what kind of error a status is: refused, broken, or neither the one nor a success."""
    if status in _KINDS:
        return _KINDS[status]
    if _BAD_REQUEST <= status < _SERVER_ERROR:
        return errors.RemoteRefused
    return errors.RemoteError if status >= _SERVER_ERROR else errors.BadAnswer


def unreachable(request: Request, failed: Failed) -> errors.Unreachable:
    """Return the error for a call without an answer."""
    text = f"{_called(request)}: {failed.text} (correlation id {request.correlation_id})"
    return errors.Unreachable(text, correlation_id=request.correlation_id)


def bad_answer(request: Request, response: Response, why: str) -> errors.BadAnswer:
    """Return the error for an answer that cannot be understood."""
    correlation = response.correlation_id or request.correlation_id
    text = f"{_called(request)}: HTTP {response.status}, but {plain(_SECRET.sub(_HIDDEN, why))}"
    return errors.BadAnswer(
        f"{text} (correlation id {correlation})", status=response.status, correlation_id=correlation
    )


def _called(request: Request) -> str:
    return f"{request.method} {request.url.partition('?')[0]}"


def _said(body: bytes, hidden: str) -> tuple[str, str]:
    """Return the errorCode and the text of an error's body, as far as they can be shown."""
    try:
        found = msgspec.json.decode(body[:MAX_READ], type=_Words)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return "", ""
    code, words = found.error_code, found.error
    if isinstance(found.error_description, str):  # then `error` is the code
        code, words = words, found.error_description
    elif isinstance(words, str) and not isinstance(code, str) and " " not in words:
        code, words = words, None
    shown = words if isinstance(words, str) else ""
    if hidden:
        shown = shown.replace(hidden, _HIDDEN)
    shown = plain(_SECRET.sub(_HIDDEN, shown))
    is_code = isinstance(code, str) and _CODE.fullmatch(code) and not _SECRET.search(code) and code != hidden
    return str(code) if is_code else "", shown
