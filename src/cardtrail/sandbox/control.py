"""The sandbox's switches over HTTP on loopback, for other processes of whoever may read `sandbox.env`."""

import hmac
from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cardtrail.errors import CardtrailError, StoreUnavailable, Unauthorized
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.platform.request import encoded, ready, told
from cardtrail.protocol.problem import problem, problem_of
from cardtrail.sandbox.bank import ALL, Bank
from cardtrail.sandbox.switch import DROP_PATH, PAGE_PATH, RECEIVER_PATH
from cardtrail.sandbox.wire.board import fault_routes, record_routes


class ReceiverIn(msgspec.Struct, forbid_unknown_fields=True):
    """How the bank's receiver should be."""

    up: bool


class DropIn(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of the notifications is to be thrown away, 0 to 1."""

    share: float = ALL


def control_app(bank: Bank, token: str, more: Sequence[BaseRoute] = ()) -> Asgi:
    """Return the application with the switches of a bank and its wire, and `more`; every call bears the token."""
    record = [] if bank.recorder is None else record_routes(bank.recorder.path, bank.signing)

    async def put_receiver(request: Request) -> Response:
        wanted = await told(request, ReceiverIn)
        await bank.switch_receiver(up=wanted.up)
        return encoded(await bank.look())

    async def put_drop(request: Request) -> Response:
        bank.drop((await told(request, DropIn)).share)
        return encoded(await bank.look())

    app = Starlette(
        routes=[
            Route(RECEIVER_PATH, put_receiver, methods=["PUT"]),
            Route(DROP_PATH, put_drop, methods=["PUT"]),
            *fault_routes(bank.faults, bank.say),
            *record,
            *more,
        ],
        exception_handlers={CardtrailError: _on_error, HTTPException: _on_http},
    )
    return _Guard(app, token)


class _Guard:
    """Lets those in who know the token. A browser, which cannot send a header, may name it in the page's address."""

    def __init__(self, app: Asgi, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not hmac.compare_digest(_given(scope), self._token):
            refused = _refused(Unauthorized("the token is CONTROL_TOKEN of sandbox.env"))
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _given(scope: Scope) -> bytes:
    header = bytes(next((value for name, value in scope["headers"] if name == b"authorization"), b""))
    if header.startswith(b"Bearer "):
        return header[len(b"Bearer ") :]
    if scope["path"] != PAGE_PATH:
        return b""
    query: bytes = scope["query_string"]
    return dict(parse_qsl(query.decode("latin-1"))).get("token", "").encode()


def _refused(error: CardtrailError) -> Response:
    found = problem_of(error)
    return ready(found.body, found.status)


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CardtrailError)  # noqa: S101 -- Starlette's handlers are not typed by exception
    if isinstance(error, StoreUnavailable):  # the platform's own answers do not tell why, but this is for its operator
        found = problem(503, error.code, str(error))
        return ready(found.body, found.status)
    return _refused(error)


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- as above
    return encoded({"error": error.detail}, error.status_code)
