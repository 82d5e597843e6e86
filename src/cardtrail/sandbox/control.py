"""The sandbox's switches over HTTP on loopback, for other processes of whoever may read `sandbox.env`."""

import hmac

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cardtrail.errors import CardtrailError, Unauthorized
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


def control_app(bank: Bank, token: str) -> Starlette:
    """Return the application; every call bears the token and is answered by how the bank is then."""
    expected = f"Bearer {token}".encode()

    def check(request: Request) -> None:
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, expected):
            raise Unauthorized("the token is CONTROL_TOKEN of sandbox.env")

    async def put_receiver(request: Request) -> Response:
        check(request)
        wanted = await told(request, ReceiverIn)
        await bank.switch_receiver(up=wanted.up)
        return encoded(await bank.look())

    async def put_drop(request: Request) -> Response:
        check(request)
        bank.drop((await told(request, DropIn)).share)
        return encoded(await bank.look())

    return Starlette(
        routes=[
            Route(RECEIVER_PATH, put_receiver, methods=["PUT"]),
            Route(DROP_PATH, put_drop, methods=["PUT"]),
        ],
        exception_handlers={CardtrailError: _on_error},
    )


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CardtrailError)  # noqa: S101 -- Starlette's handlers are not typed by exception
    found = problem_of(error)
    return ready(found.body, found.status)
