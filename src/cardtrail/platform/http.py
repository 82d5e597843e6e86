"""Every route but the hot one: thin handlers from bytes to the module that does the work, and back."""

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
from cardtrail.errors import CardtrailError, InputError, StoreUnavailable
from cardtrail.meters.board import CONTENT_TYPE
from cardtrail.pages.door.asgi import is_ui
from cardtrail.platform import notification_http, operator_http
from cardtrail.platform.cause import HEADER, cause_of, new_correlation_id
from cardtrail.platform.feed_http import changes_of
from cardtrail.platform.ingest import Sender
from cardtrail.platform.orders import Wanted, members_of, wanted_of
from cardtrail.platform.parties import INGEST, READ, WRITE
from cardtrail.platform.readiness import OK, readiness
from cardtrail.platform.request import (
    CORRELATION,
    STRICT,
    body_of,
    caller_of,
    cause_in,
    checked_issuer,
    encoded,
    platform_of,
    ready,
)
from cardtrail.platform.status import Asgi, Receive, Scope, Send, is_status
from cardtrail.platform.token_http import jwks, token_endpoint
from cardtrail.protocol.codec import (
    CARD_ID,
    CORRELATION_ID,
    MAX_BATCH,
    answer_of,
    decode_batch,
)
from cardtrail.protocol.problem import Problem, problem, problem_of
from cardtrail.traces import Attributes

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

Handler = Callable[[Request], Awaitable[Response]]
_HEADER = HEADER.encode()
_log = structlog.get_logger()


class AnyCaseRoute(Route):
    """A route whose words match in any letter case; what stands for `{parameters}` is taken as it is."""

    def __init__(self, path: str, handler: Handler, method: str) -> None:
        super().__init__(path, handler, methods=[method])
        # The id of an endpoint may have a verb behind it, `:test`, so it ends at a colon.
        pattern = self.path_regex.pattern.replace("<endpoint_id>[^/]+", "<endpoint_id>[^/:]+")
        self.path_regex = re.compile(pattern, re.IGNORECASE | re.ASCII)
        self._allowed = ", ".join(sorted(other for other, its_path, _ in _TABLE if its_path == path))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path fits; of a path that several methods have, 405 names all of them."""
        if self.methods and scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": self._allowed})
        await super().handle(scope, receive, send)


def _checked(request: Request, *, card: bool = False) -> tuple[str, str]:
    """Return the ids in the path. Raises InputError naming the one that is wrong."""
    issuer_id = checked_issuer(request.path_params["issuer_id"])
    card_id = request.path_params.get("card_id", "")
    if card and not CARD_ID.fullmatch(card_id):
        raise InputError("cardId", "1 to 48 of A-Z a-z 0-9 _ -")
    return issuer_id, card_id


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────


async def status_of_odd_ids(request: Request) -> Response:
    """Answer what the hot route did not recognise: a caller first, then the id that is wrong."""
    caller_of(request, READ, issuer_id=request.path_params["issuer_id"])
    _checked(request, card=True)
    raise HTTPException(404)


async def batch_get(request: Request) -> Response:
    """Answer the latest picture of each card asked for, and the ids that are unknown."""
    issuer_id = request.path_params["issuer_id"]
    caller = caller_of(request, READ, issuer_id=issuer_id)
    if caller.strict:
        raise HTTPException(404)
    members = members_of(await body_of(request))
    card_ids = _card_ids(members)
    keys = [(issuer_id, card_id) for card_id in card_ids]

    def work(tx: Transaction) -> list[tuple[Any, ...]]:
        return tx.each("latest_picture", keys)

    found = {row[1]: bytes(row[2]) for row in await platform_of(request).db.read(work)}
    pictures = [found[card_id] for card_id in card_ids if card_id in found]
    unknown = msgspec.json.encode([card_id for card_id in card_ids if card_id not in found])
    return ready(b'%b,"unknown":%b}' % (answer_of(pictures)[:-1], unknown))


async def changes(request: Request) -> Response:
    """Answer every operation of an issuer that changed after a cursor."""
    issuer_id = request.path_params["issuer_id"]
    caller = caller_of(request, READ, issuer_id=issuer_id)
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
    caller_of(request, WRITE, issuer_id=issuer_id)
    _, card_id = _checked(request, card=True)
    wanted = wanted_of(members_of(await body_of(request)), card_id)
    [outcome] = await platform_of(request).orders.order(issuer_id, [wanted], cause_in(request))
    if isinstance(outcome, CardtrailError):
        raise outcome
    return encoded({"operationId": outcome}, 202)


async def order_cards(request: Request) -> Response:
    """Take up to 1,000 orders, each accepted or refused by itself."""
    issuer_id = request.path_params["issuer_id"]
    caller = caller_of(request, WRITE, issuer_id=issuer_id)
    if caller.strict:
        raise HTTPException(404)
    _checked(request)
    members = members_of(await body_of(request))
    cards = members.get("cards") if isinstance(members, dict) else None
    if not isinstance(cards, list) or not 1 <= len(cards) <= MAX_BATCH:
        raise InputError("cards", f"a list of 1 to {MAX_BATCH} orders")
    wanted = [_wanted(card) for card in cards]
    outcomes = await platform_of(request).orders.order(issuer_id, wanted, cause_in(request))
    return encoded({"results": [_order_result(*pair) for pair in zip(cards, outcomes, strict=True)]}, 202)


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
    platform = platform_of(request)
    sender = Sender(caller.party_id, caller.sources, caller.kinds, caller.issuers)
    results = await platform.ingest.take(sender, decode_batch(await body_of(request)), cause_in(request))
    for result in results:
        platform.metrics.recorded(result.result, result.error_code)
    return encoded({"results": results})


# ── the house ────────────────────────────────────────────────────────────────────────────────────────────────


async def healthz(_: Request) -> Response:
    """Say that the process runs."""
    return encoded({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Say whether requests can be served: the store answers and the registry is fresh; and how long messages wait."""
    found = await readiness(platform_of(request))
    return encoded(found, 200 if found.status == OK else 503)


async def metrics(request: Request) -> Response:
    """Show the metrics of this process."""
    return Response(platform_of(request).metrics.text(), media_type=CONTENT_TYPE)


async def openapi(request: Request) -> Response:
    """Serve the contract."""
    return Response(platform_of(request).openapi, media_type="application/yaml")


async def docs(request: Request) -> Response:
    """Serve the contract for people."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return Response(platform_of(request).docs, media_type="text/html", headers={"content-security-policy": policy})


_ISSUER = "/banking/v1/issuers/{issuer_id}/physicalCards"
_STATUS = _ISSUER + "/{card_id}/productionStatus"
_LEDGER = "/banking/v1/issuers/{issuer_id}/notifications"
_OPERATED = "/operator/v1/issuers/{issuer_id}/endpoints"
_TABLE: tuple[tuple[str, str, Handler], ...] = (
    ("GET", _STATUS, status_of_odd_ids),
    ("POST", _ISSUER + "/productionStatus:batchGet", batch_get),
    ("GET", _ISSUER + "/operations", changes),
    ("POST", _ISSUER + "/{card_id}/operations:production", order_card),
    ("POST", _ISSUER + "/operations:production", order_cards),
    ("GET", _LEDGER, notification_http.list_notifications),
    ("GET", _LEDGER + "/{notification_id}", notification_http.find_notification),
    ("POST", _LEDGER + ":replay", notification_http.replay_notifications),
    ("GET", "/banking/v1/issuers/{issuer_id}/endpoints", notification_http.endpoints_of_issuer),
    ("GET", "/operator/v1/endpoints", operator_http.list_endpoints),
    ("POST", _OPERATED, operator_http.add_endpoint),
    ("GET", _OPERATED + "/{endpoint_id}", operator_http.find_endpoint),
    ("PUT", _OPERATED + "/{endpoint_id}", operator_http.put_endpoint),
    ("POST", _OPERATED + "/{endpoint_id}:disable", operator_http.disable_endpoint),
    ("POST", _OPERATED + "/{endpoint_id}:enable", operator_http.enable_endpoint),
    ("POST", _OPERATED + "/{endpoint_id}:test", operator_http.test_endpoint),
    ("POST", _OPERATED + "/{endpoint_id}:rotate-secret", operator_http.rotate_secret),
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
        routes=[AnyCaseRoute(path, handler, method) for method, path, handler in _TABLE],
        exception_handlers={CardtrailError: _on_error, HTTPException: _on_http, ClientDisconnect: _on_gone},
    )
    app.state.platform = platform
    door = platform.entrance.door(platform.pages.router())

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        behind = door if scope["type"] == "http" and is_ui(scope["path"]) else app
        await behind(scope, receive, send)

    return _Wide(served, platform)


def _sent(found: Problem) -> Response:
    response = ready(found.body, found.status)
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
    """Gives each request a correlation id, logs one line, and answers what nobody expected with a plain 500.

    The caller's own id is given back; one that was made here, too, but not to strict callers, to whom it is news.
    """

    def __init__(self, app: Asgi, platform: "Platform") -> None:
        self._app = app
        self._platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, started = time.perf_counter(), 500, False
        given = _given(scope)
        scope[CORRELATION] = correlation = given or new_correlation_id()

        async def sending(message: Any) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                if given is not None or not scope.get(STRICT):
                    message["headers"].append((_HEADER, correlation.encode()))
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
        self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        self._platform.metrics.answered(route.path if route else "", status, seconds)
        _log.info(
            "request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 2),
            peer=scope["client"][0] if scope["client"] else None, correlation_id=scope[CORRELATION],
        )  # fmt: skip


def told_of(scope: Scope) -> tuple[str, Attributes]:
    """Return a request's route, which names no card, and what else its span tells."""
    route = scope.get("route")
    path = route.path if route else _STATUS if is_status(scope["path"]) else ""
    correlation_id = cause_of(scope.get(CORRELATION, ""))
    return path, {"cardtrail.correlation_id": correlation_id} if correlation_id else {}


def _given(scope: Scope) -> str | None:
    """Return the caller's correlation id, None where there is none of the right form."""
    value = next((value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER), None)
    return value if value is not None and CORRELATION_ID.fullmatch(value) else None


async def _send(send: Callable[[Any], Awaitable[None]], found: Problem) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(found.body)), *found.headers]
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": found.body})
