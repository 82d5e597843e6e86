"""What every handler needs of a request: who calls, the ids in the path, parameters, the body; and answers in JSON."""

import asyncio
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cardtrail.errors import Forbidden, InputError
from cardtrail.pages.query import single
from cardtrail.platform.auth import Principal
from cardtrail.platform.cause import HEADER, cause_of
from cardtrail.platform.orders import members_of
from cardtrail.platform.tls import CERTIFICATE
from cardtrail.protocol.codec import CORRELATION_ID, ISSUER_ID, MAX_BODY, input_error_of
from cardtrail.traces.serve import TRACE

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

BODY_SECONDS = 30.0
"""Longest time a client may take to send its body."""
MAX_THROWN_AWAY = 8 * MAX_BODY
"""How much of a body that is too large is read and thrown away: who still sends cannot read the answer."""


CORRELATION = "cardtrail.correlation"
"""Where a request's scope has its correlation id: the caller's, or one that was made for it."""
STRICT = "cardtrail.strict"
"""Where it says that the caller is strict."""

T = TypeVar("T")


def platform_of(request: Request) -> "Platform":
    """Return the parts of the service."""
    platform: Platform = request.app.state.platform
    return platform


def caller_of(request: Request, *scopes: str, issuer_id: str | None = None) -> Principal:
    """Return who calls with one of these scopes. Raises Unauthorized, TooMany or Forbidden; tells not what exists."""
    authorization = request.headers.get("authorization")
    peer = request.client.host if request.client else ""
    caller = platform_of(request).check(
        None if authorization is None else authorization.encode("latin-1"), request.scope.get(CERTIFICATE), peer
    )
    if caller.scopes.isdisjoint(scopes) or (issuer_id is not None and not caller.may_act_for(issuer_id)):
        raise Forbidden("the token does not allow this")
    request.scope[STRICT] = caller.strict
    correlation = request.headers.get(HEADER)
    if correlation is not None and not CORRELATION_ID.fullmatch(correlation):
        raise InputError(HEADER, "1 to 64 of A-Z a-z 0-9 _ -")
    return caller


def cause_in(request: Request) -> str:
    """Return the cause that this call is of what it changes."""
    return cause_of(request.scope[CORRELATION], request.scope.get(TRACE, ""))


def checked_issuer(issuer_id: str) -> str:
    """Return an issuer's id. Raises InputError."""
    if not ISSUER_ID.fullmatch(issuer_id):
        raise InputError("issuerId", "exactly 10 of A-Z a-z 0-9 _ -")
    return issuer_id


async def body_of(request: Request) -> bytes:
    """Return the body, kept no further than the limit. Raises HTTPException 408, 413 or 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "application/json is expected")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size <= MAX_BODY:
                    parts.append(part)
                elif size > MAX_THROWN_AWAY:
                    break
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_SECONDS:.0f} seconds") from None
    if size > MAX_BODY:
        raise HTTPException(413, f"at most {MAX_BODY} bytes")
    return b"".join(parts)


async def told(request: Request, kind: type[T], *, optional: bool = False) -> T:
    """Return the body as `kind`; where it is `optional`, no body says as much as `{}`.

    Raises InputError, which names the member and never repeats its text, or as body_of.
    """
    body = b"{}" if optional and _is_empty(request) else await body_of(request)
    members = members_of(body)
    if not isinstance(members, dict):
        raise InputError("", "an object is expected")
    # In JSON 5.0 is a whole number too.
    whole = {name: int(each) for name, each in members.items() if isinstance(each, float) and each.is_integer()}
    try:
        return msgspec.convert(members | whole, kind)
    except msgspec.ValidationError as error:
        raise input_error_of(error) from None


def _is_empty(request: Request) -> bool:
    return request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────


def number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Return a whole number of the query. Raises InputError."""
    text = single(request, name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise InputError(name, f"a whole number from {least} to {most}", "FIELD_INVALID_VALUE")
    return int(text)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────


def ready(body: bytes, status: int = 200) -> Response:
    """Answer JSON that is written already."""
    return Response(body, status, media_type="application/json")


def encoded(value: object, status: int = 200) -> Response:
    """Answer a value as JSON."""
    return ready(msgspec.json.encode(value), status)
