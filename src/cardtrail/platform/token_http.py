"""The token endpoint and the public keys over HTTP. `platform` is in the application's state."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cardtrail.platform.tls import CERTIFICATE
from cardtrail.platform.tokens import MAX_BODY, GrantRefused, Tokens
from cardtrail.protocol.codec import CORRELATION_ID

BODY_SECONDS = 30.0
"""Longest time a client may take to send its request."""
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_SHORTLY = {"Cache-Control": "public, max-age=30"}
"""Shorter than a new key is published before it signs."""


async def token_endpoint(request: Request) -> Response:
    """`POST /authz/v1/oauth2/token`. Raises TooMany and StoreUnavailable for the application's handlers."""
    platform = request.app.state.platform
    tokens: Tokens = platform.tokens
    content_type = request.headers.get("content-type", "")
    certificate = request.scope.get(CERTIFICATE)
    peer = request.client.host if request.client else ""
    try:
        _check_correlation(request.headers.get("x-correlation-id"))
        answer = await tokens.exchange(content_type, await _body(request), certificate, peer)
    except GrantRefused as refused:
        platform.metrics.asked_for_token(refused.error)
        return Response(refused.body, 400, _NO_STORE, "application/json")
    platform.metrics.asked_for_token("issued")
    return Response(answer, 200, _NO_STORE, "application/json")


def _check_correlation(value: str | None) -> None:
    if value is not None and not CORRELATION_ID.fullmatch(value):
        raise GrantRefused("invalid_request", "x-correlation-id: 1 to 64 of A-Z a-z 0-9 _ -")


async def jwks(request: Request) -> Response:
    """`GET /.well-known/jwks.json`: the keys that access tokens are signed with."""
    registry = request.app.state.platform.registry
    return Response(registry.jwks(), 200, _SHORTLY, "application/json")


async def _body(request: Request) -> bytes:
    """Return the body, or as much of it as shows that it is too long. Raises HTTPException 408."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    break
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_SECONDS:.0f} seconds") from None
    return body
