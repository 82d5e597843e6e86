"""Reading a form, within limits; whoever stands behind the door reads the same body once more."""

import asyncio
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from cardtrail.errors import InputError
from cardtrail.pages.door.asgi import Message, Receive

MAX_FORM = 65_536
"""Longest form, bytes."""
MAX_FIELDS = 200
"""Most fields of a form."""
FORM_SECONDS = 30.0
"""Longest time a browser may take to send it."""
KIND = "application/x-www-form-urlencoded"


def is_form(request: Request) -> bool:
    """Tell whether the body is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == KIND


async def body_of(request: Request) -> bytes:
    """Return the body of a form. Raises HTTPException 408 or 413."""
    body = b""
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_FORM:
                    raise HTTPException(413, f"a form has at most {MAX_FORM} bytes")
    except TimeoutError:
        raise HTTPException(408, f"the form did not come within {FORM_SECONDS:.0f} seconds") from None
    return body


def fields_of(body: bytes) -> dict[str, str]:
    """Return the fields of a form. Raises InputError; a field that is there twice would be read in two ways."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise InputError("", f"a form of at most {MAX_FIELDS} fields in UTF-8 is expected") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(twice[:60], "given more than once", "FIELD_INVALID_VALUE")
    return fields


def again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that brings a body that was read already, then what else comes."""
    left = [body]

    async def received() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return received
