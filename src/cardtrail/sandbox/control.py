"""The sandbox's switches over HTTP on loopback, for other processes of whoever may read `sandbox.env`."""

import hmac
from collections.abc import Sequence

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cardtrail.errors import CardtrailError, Unauthorized
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.platform.request import encoded, ready, told
from cardtrail.protocol.problem import problem_of
from cardtrail.sandbox.bank import ALL, Bank
from cardtrail.sandbox.switch import DROP_PATH, RECEIVER_PATH


class ReceiverIn(msgspec.Struct, forbid_unknown_fields=True):
    """How the bank's receiver should be."""

    up: bool


class DropIn(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of the notifications is to be thrown away, 0 to 1."""

    share: float = ALL


def control_app(bank: Bank, token: str, routes: Sequence[Route] = ()) -> Asgi:
    """Return the application, with further `routes`; every call bears the token.

    A switch of the bank is answered by how the bank is then.
    """

    async def put_receiver(request: Request) -> Response:
        wanted = await told(request, ReceiverIn)
        await bank.switch_receiver(up=wanted.up)
        return encoded(await bank.look())

    async def put_drop(request: Request) -> Response:
        bank.drop((await told(request, DropIn)).share)
        return encoded(await bank.look())

    app = Starlette(
        routes=[
            Route(RECEIVER_PATH, put_receiver, methods=["PUT"]), Route(DROP_PATH, put_drop, methods=["PUT"]), *routes,
        ],
        exception_handlers={CardtrailError: _on_error},
    )  # fmt: skip
    return _guarded(app, f"Bearer {token}".encode())


def _guarded(app: Asgi, expected: bytes) -> Asgi:
    """Return the application as only those see it who bear the token."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if hmac.compare_digest(given, expected):
            await app(scope, receive, send)
        else:
            found = problem_of(Unauthorized("the token is CONTROL_TOKEN of sandbox.env"))
            await ready(found.body, found.status)(scope, receive, send)

    return guard


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CardtrailError)  # noqa: S101 -- Starlette's handlers are not typed by exception
    found = problem_of(error)
    return ready(found.body, found.status)
