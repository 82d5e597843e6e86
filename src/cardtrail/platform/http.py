"""Every route but the hot one: thin handlers from bytes to the module that does the work, and back."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from cardtrail.db import Transaction
from cardtrail.errors import CardtrailError, Forbidden, InputError, StoreUnavailable
from cardtrail.platform.auth import Principal
from cardtrail.platform.feed_http import changes_of
from cardtrail.platform.ingest import Sender
from cardtrail.platform.orders import Wanted, members_of, wanted_of
from cardtrail.platform.parties import INGEST, READ, WRITE
from cardtrail.platform.status import Asgi, Receive, Scope, Send
from cardtrail.platform.tls import CERTIFICATE
from cardtrail.platform.token_http import jwks, token_endpoint
from cardtrail.protocol.codec import (
    CARD_ID,
    CORRELATION_ID,
    ISSUER_ID,
    MAX_BATCH,
    MAX_BODY,
    answer_of,
    decode_batch,
)
from cardtrail.protocol.problem import Problem, problem, problem_of

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

BODY_SECONDS = 30.0
"""Longest time a client may take to send its body."""

MAX_THROWN_AWAY = 8 * MAX_BODY
"""How much of a body that is too large is read and thrown away: who still sends cannot read the answer."""

Handler = Callable[[Request], Awaitable[Response]]
_log = structlog.get_logger()


class AnyCaseRoute(Route):
    """A route whose words match in any letter case; what stands for `{parameters}` is taken as it is."""

    def __init__(self, path: str, endpoint: Handler, methods: list[str]) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.path_regex = re.compile(self.path_regex.pattern, re.IGNORECASE | re.ASCII)


# ── what every handler needs ─────────────────────────────────────────────────────────────────────────────────


def _platform(request: Request) -> "Platform":
    platform: Platform = request.app.state.platform
    return platform


def caller_of(request: Request, scope: str, issuer_id: str | None = None) -> Principal:
    """Return who calls. Raises Unauthorized, TooMany, or Forbidden without telling what exists."""
    authorization = request.headers.get("authorization")
    peer = request.client.host if request.client else ""
    caller = _platform(request).check(
        None if authorization is None else authorization.encode("latin-1"), request.scope.get(CERTIFICATE), peer
    )
    if scope not in caller.scopes or (issuer_id is not None and not caller.may_act_for(issuer_id)):
        raise Forbidden("the token does not allow this")
    correlation = request.headers.get("x-correlation-id")
    if correlation is not None and not CORRELATION_ID.fullmatch(correlation):
        raise InputError("x-correlation-id", "1 to 64 of A-Z a-z 0-9 _ -")
    return caller


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


def _checked(request: Request, *, card: bool = False) -> tuple[str, str]:
    """Return the ids in the path. Raises InputError naming the one that is wrong."""
    issuer_id = request.path_params["issuer_id"]
    card_id = request.path_params.get("card_id", "")
    if not ISSUER_ID.fullmatch(issuer_id):
        raise InputError("issuerId", "exactly 10 of A-Z a-z 0-9 _ -")
    if card and not CARD_ID.fullmatch(card_id):
        raise InputError("cardId", "1 to 48 of A-Z a-z 0-9 _ -")
    return issuer_id, card_id


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _encoded(value: object, status: int = 200) -> Response:
    return _json(msgspec.json.encode(value), status)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────


async def status_of_odd_ids(request: Request) -> Response:
    """Answer what the hot route did not recognise: a caller first, then the id that is wrong."""
    caller_of(request, READ, request.path_params["issuer_id"])
    _checked(request, card=True)
    raise HTTPException(404)


async def batch_get(request: Request) -> Response:
    """Answer the latest picture of each card asked for, and the ids that are unknown."""
    issuer_id = request.path_params["issuer_id"]
    caller = caller_of(request, READ, issuer_id)
    if caller.strict:
        raise HTTPException(404)
    members = members_of(await body_of(request))
    card_ids = _card_ids(members)
    keys = [(issuer_id, card_id) for card_id in card_ids]

    def work(tx: Transaction) -> list[tuple[Any, ...]]:
        return tx.each("latest_picture", keys)

    found = {row[1]: bytes(row[2]) for row in await _platform(request).db.read(work)}
    pictures = [found[card_id] for card_id in card_ids if card_id in found]
    unknown = msgspec.json.encode([card_id for card_id in card_ids if card_id not in found])
    return _json(b'%b,"unknown":%b}' % (answer_of(pictures)[:-1], unknown))


async def changes(request: Request) -> Response:
    """Answer every operation of an issuer that changed after a cursor."""
    issuer_id = request.path_params["issuer_id"]
    caller = caller_of(request, READ, issuer_id)
    if caller.strict:
        raise HTTPException(404)
    _checked(request)
    return await changes_of(request, issuer_id)


def _card_ids(members: Any) -> list[str]:
    card_ids = members.get("cardIds") if isinstance(members, dict) else None
    if not isinstance(card_ids, list) or not 1 <= len(card_ids) <= MAX_BATCH:
        raise InputError("cardIds", f"a list of 1 to {MAX_BATCH} card ids")
    for place, card_id in enumerate(card_ids):
        if not isinstance(card_id, str) or not CARD_ID.fullmatch(card_id):
            raise InputError(f"cardIds[{place}]", "1 to 48 of A-Z a-z 0-9 _ -")
    return list(dict.fromkeys(card_ids))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────


async def order_card(request: Request) -> Response:
    """Take one order."""
    issuer_id = request.path_params["issuer_id"]
    caller_of(request, WRITE, issuer_id)
    _, card_id = _checked(request, card=True)
    wanted = wanted_of(members_of(await body_of(request)), card_id)
    [outcome] = await _platform(request).orders.order(issuer_id, [wanted])
    if isinstance(outcome, CardtrailError):
        raise outcome
    return _encoded({"operationId": outcome}, 202)


async def order_cards(request: Request) -> Response:
    """Take up to 1,000 orders, each accepted or refused by itself."""
    issuer_id = request.path_params["issuer_id"]
    caller = caller_of(request, WRITE, issuer_id)
    if caller.strict:
        raise HTTPException(404)
    _checked(request)
    members = members_of(await body_of(request))
    cards = members.get("cards") if isinstance(members, dict) else None
    if not isinstance(cards, list) or not 1 <= len(cards) <= MAX_BATCH:
        raise InputError("cards", f"a list of 1 to {MAX_BATCH} orders")
    wanted = [_wanted(card) for card in cards]
    outcomes = await _platform(request).orders.order(issuer_id, wanted)
    return _encoded({"results": [_order_result(*pair) for pair in zip(cards, outcomes, strict=True)]}, 202)


def _wanted(card: object) -> Wanted | InputError:
    try:
        return wanted_of(card, None)
    except InputError as error:
        return error


def _order_result(card: object, outcome: str | CardtrailError) -> dict[str, str]:
    card_id = card.get("cardId") if isinstance(card, dict) else None
    named = {"cardId": card_id} if isinstance(card_id, str) and CARD_ID.fullmatch(card_id) else {}
    if isinstance(outcome, str):
        return {**named, "operationId": outcome}
    told = msgspec.json.decode(problem_of(outcome).body, type=dict[str, str])
    return {**named, **told}


async def ingest_events(request: Request) -> Response:
    """Take up to 1,000 events; answer each after the commit."""
    caller = caller_of(request, INGEST)
    platform = _platform(request)
    sender = Sender(caller.party_id, caller.sources, caller.kinds, caller.issuers)
    results = await platform.ingest.take(sender, decode_batch(await body_of(request)))
    for result in results:
        platform.metrics.events.labels(result.result, result.error_code or "").inc()
    return _encoded({"results": results})


# ── the house ────────────────────────────────────────────────────────────────────────────────────────────────


async def healthz(_: Request) -> Response:
    """Say that the process runs."""
    return _encoded({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Say whether requests can be served: the store answers and the registry is fresh."""
    platform = _platform(request)
    platform.registry.require_fresh()
    async with asyncio.timeout(5):
        await platform.db.read(lambda tx: tx.one("find_meta", name="schema_version"))
    return _encoded({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Show the metrics of this process."""
    return Response(_platform(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def openapi(request: Request) -> Response:
    """Serve the contract."""
    return Response(_platform(request).openapi, media_type="application/yaml")


async def docs(request: Request) -> Response:
    """Serve the contract for people."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return Response(_platform(request).docs, media_type="text/html", headers={"content-security-policy": policy})


_ISSUER = "/banking/v1/issuers/{issuer_id}/physicalCards"
_TABLE: tuple[tuple[str, str, Handler], ...] = (
    ("GET", _ISSUER + "/{card_id}/productionStatus", status_of_odd_ids),
    ("POST", _ISSUER + "/productionStatus:batchGet", batch_get),
    ("GET", _ISSUER + "/operations", changes),
    ("POST", _ISSUER + "/{card_id}/operations:production", order_card),
    ("POST", _ISSUER + "/operations:production", order_cards),
    ("POST", "/ingest/v1/events", ingest_events),
    ("POST", "/authz/v1/oauth2/token", token_endpoint),
    ("GET", "/.well-known/jwks.json", jwks),
    ("GET", "/healthz", healthz),
    ("GET", "/readyz", readyz),
    ("GET", "/metrics", metrics),
    ("GET", "/openapi.yaml", openapi),
    ("GET", "/docs", docs),
)
ROUTES = [(method, re.sub(r"\{(\w+?)_id\}", r"{\1Id}", path)) for method, path, _ in _TABLE]
"""(method, path template) of everything that is served; docs/openapi.yaml describes each."""


def router(platform: "Platform") -> Asgi:
    """Return the application behind the hot route."""
    app = Starlette(
        routes=[AnyCaseRoute(path, handler, [method]) for method, path, handler in _TABLE],
        exception_handlers={CardtrailError: _on_error, HTTPException: _on_http, ClientDisconnect: _on_gone},
    )
    app.state.platform = platform
    return _Wide(app, platform)


def _sent(found: Problem) -> Response:
    response = _json(found.body, found.status)
    response.raw_headers.extend(found.headers)
    return response


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CardtrailError)  # noqa: S101 -- Starlette's handlers are not typed by exception
    if isinstance(error, StoreUnavailable):
        _log.error("store_unavailable", error=str(error))
    return _sent(problem_of(error))


_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 408: "TIMEOUT", 413: "TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- as above
    response = _sent(problem(error.status_code, _CODES.get(error.status_code, "ERROR"), error.detail))
    response.headers.update(error.headers or {})
    return response


async def _on_gone(_: Request, __: Exception) -> Response:
    return _sent(problem(400, "PARSING_ERROR", "the body ended early"))


class _Wide:
    """Echoes the correlation id, logs one line a request, and answers what nobody expected with a plain 500."""

    def __init__(self, app: Asgi, platform: "Platform") -> None:
        self._app = app
        self._platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, started = time.perf_counter(), 500, False
        echo = _echo(scope)

        async def sending(message: Any) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                if echo is not None:
                    message["headers"].append((b"x-correlation-id", echo))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except TimeoutError:
            if not started:
                await _send(sending, problem_of(StoreUnavailable("timed out")))
        except Exception:  # noqa: BLE001 -- the last resort: the caller gets a plain 500, the log the rest
            _log.exception("unexpected", path=scope["path"])
            if not started:
                await _send(sending, problem(500, "INTERNAL", "something went wrong here; it is logged"))
        self._note(scope, status, time.perf_counter() - began, echo)

    def _note(self, scope: Scope, status: int, seconds: float, echo: bytes | None) -> None:
        route = scope.get("route")
        self._platform.metrics.requests.labels(route.path if route else "", str(status)).inc()
        _log.info(
            "request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 2),
            peer=scope["client"][0] if scope["client"] else None, correlation_id=echo.decode() if echo else None,
        )  # fmt: skip


def _echo(scope: Scope) -> bytes | None:
    value: bytes | None = next((value for name, value in scope["headers"] if name == b"x-correlation-id"), None)
    return value if value is not None and CORRELATION_ID.fullmatch(value.decode("latin-1")) else None


async def _send(send: Callable[[Any], Awaitable[None]], found: Problem) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(found.body)), *found.headers]
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": found.body})
