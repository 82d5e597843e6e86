"""Time and cards of a running sandbox over HTTP: routes of its control, for other processes."""

import uuid

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cardtrail.errors import Conflict, InputError, Refused
from cardtrail.platform.request import encoded, told
from cardtrail.protocol.codec import CardId, Name
from cardtrail.sandbox.world.clock import told_instant, wire_instant
from cardtrail.sandbox.world.owed import Wish
from cardtrail.sandbox.world.play import Player
from cardtrail.sandbox.world.span import span_of, speed_of
from cardtrail.sandbox.world.verbs import Scan, Verb

CLOCK_PATH = "/clock"
ADVANCE_PATH = "/clock:advance"
CARDS_PATH = "/cards"
ORDERS_PATH = "/orders"
SCENARIOS_PATH = "/scenarios"


class ClockIn(msgspec.Struct, forbid_unknown_fields=True):
    """How the clock should run: a speed such as `1000x` or `max`, and whether it stands."""

    speed: str | None = None
    paused: bool | None = None


class OrderIn(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Which card the bank should order."""

    card_id: CardId
    issuer_request_id: Name | None = None


class AdvanceIn(msgspec.Struct, forbid_unknown_fields=True):
    """How much time should pass at once, such as `3d`."""

    span: str


def world_routes(player: Player, issuer_id: str) -> list[Route]:
    """Return the routes; `issuer_id` is whose cards they are."""
    desk = _Desk(player, issuer_id)
    return [
        Route(CLOCK_PATH, desk.get_clock, methods=["GET"]),
        Route(CLOCK_PATH, desk.put_clock, methods=["PUT"]),
        Route(ADVANCE_PATH, desk.advance, methods=["POST"]),
        Route(CARDS_PATH + "/{card_and_verb}", desk.act, methods=["POST"]),
        Route(ORDERS_PATH, desk.order, methods=["POST"]),
        Route(SCENARIOS_PATH, desk.scenarios, methods=["GET"]),
    ]


class _Desk:
    """The handlers; each answer says what time it is then."""

    def __init__(self, player: Player, issuer_id: str) -> None:
        self._player = player
        self._issuer_id = issuer_id

    def _seen(self, **more: object) -> Response:
        now = self._player.clock()
        told_time = {"now": wire_instant(now), "text": told_instant(now), "runs": self._player.clock.word}
        return encoded(told_time | more)

    async def get_clock(self, _: Request) -> Response:
        return self._seen()

    async def put_clock(self, request: Request) -> Response:
        wanted, clock = await told(request, ClockIn), self._player.clock
        if wanted.speed is not None:
            clock.run(speed_of(wanted.speed))
        if wanted.paused is not None:
            (clock.pause if wanted.paused else clock.resume)()
        return self._seen()

    async def advance(self, request: Request) -> Response:
        span = span_of((await told(request, AdvanceIn)).span)
        return self._seen(happened=await self._player.advance(span))

    async def act(self, request: Request) -> Response:
        name, _, verb = request.path_params["card_and_verb"].rpartition(":")
        if not name or verb not in {*Verb}:
            raise InputError("verb", f"one of {', '.join(Verb)} expected after a colon", "FIELD_INVALID_VALUE")
        scan = await told(request, Scan) if verb == Verb.SCAN and await request.body() else None
        return self._seen(events=await self._player.act(self._issuer_id, name, Verb(verb), scan))

    async def order(self, request: Request) -> Response:
        wanted = await told(request, OrderIn)
        wish = Wish(wanted.card_id, wanted.issuer_request_id or f"control-{uuid.uuid4().hex}")
        try:
            await self._player.order(wish)
        except Refused as error:
            raise Conflict(f"the platform does not take the order: {error}") from None
        course = self._player.world.course(self._issuer_id, wanted.card_id)
        return self._seen(cardId=wanted.card_id, scenario=course.name)

    async def scenarios(self, _: Request) -> Response:
        known = self._player.world.book.scenarios
        return self._seen(scenarios={name: each.about for name, each in known.items()})
