"""The pages of one issuer's mirror: each reads what it shows by one transaction, and shows it by one template."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from cardtrail.db import Transaction
from cardtrail.errors import CardtrailError, StoreUnavailable
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.round import Heard
from cardtrail.issuer.sight import Kind
from cardtrail.issuer.ui.card import found_by, seen_of
from cardtrail.issuer.ui.drift import RANGES as DRIFT_RANGES
from cardtrail.issuer.ui.drift import drift_shown, report_of
from cardtrail.issuer.ui.overview import RANGES, UNCOUNTED, overview_of
from cardtrail.issuer.ui.shown import asking_shown, order_shown
from cardtrail.pages.door import trail
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.visitor import Visitor, issuer_of, operating, visitor_of
from cardtrail.pages.flow import flow_shown
from cardtrail.pages.frame import Frame, PageRouter
from cardtrail.pages.live import Streams
from cardtrail.pages.query import one_of, searched, single
from cardtrail.pages.trail import TrailPage
from cardtrail.pages.words import when
from cardtrail.protocol.codec import CARD_ID

PAGES: Final = (("", "Overview"), ("drift", "Drift"), ("contract", "Contract drift"))
"""The pages of an issuer, by path and name."""
OTHERS: Final = (("/ui/audit", "Audit trail"),)
"""The pages of whoever may see every issuer."""
SIDE = "cardtrail mirror"
"""What the service is called on its pages, so that nobody takes them for a platform's."""
MAX_SIGHTINGS = 500
"""Most unpublished names that are listed, the newest."""
MAX_SHOWN = 2_000
"""So much of a sample is shown, bytes; the mirror keeps more."""
FREE: Final = frozenset({Kind.EVENT, Kind.SHIPMENT_STATUS, Kind.STATUS, Kind.ELEMENT, "answer"})
"""Kinds of sightings whose names may be texts about somebody."""
DAY = 86_400_000_000
Ask = Callable[[str], Awaitable[Heard]]
"""Asks the platform for a card and keeps the answer. Raises RemoteError, LeaseTaken or StoreUnavailable."""
TOLD: Final = {
    "same": "The platform was asked: the mirror is right.",
    "repaired": "The platform was asked: the mirror was wrong, and now says what is below.",
    "unknown": "The platform was asked: it does not know this card.",
    "failed": "The platform has not answered, and the mirror is as it was. Try again; the log tells why.",
}  # fmt: skip
"""What came of asking, in words."""
MOODS: Final = {"same": "good", "repaired": "warn", "unknown": "warn", "failed": "bad"}
"""How that is marked."""
T = TypeVar("T")
_log = structlog.get_logger()


class Pages:
    """The handlers of one issuer's pages; `limit` is that of the silence alarm, µs. Without `ask` nobody is asked."""

    def __init__(self, mirror: AsyncMirror, issuer_id: str, limit: int, ask: Ask | None) -> None:
        self._mirror = mirror
        self._issuer_id = issuer_id
        self._limit = limit
        self._ask = ask
        self._frame = Frame(PAGES, OTHERS, mirror.clock, mirror.clock, SIDE)
        self.streams = Streams(self._newest)

    def router(self) -> PageRouter:
        """Return the application that answers everything below /ui behind the door."""
        of = "/ui/issuers/{issuer_id}"
        return PageRouter([
            Route("/ui/static/{name}", self._frame.renderer.static),
            Route("/ui/", self.home),
            Route("/ui/audit", TrailPage(self._mirror.db, self._frame).show),
            Route(of + "/", self.overview),
            Route(of + "/live", self.live),
            Route(of + "/cards", self.search),
            Route(of + "/cards/{card_id}", self.card, methods=["GET"]),
            Route(of + "/cards/{card_id}", self.ask, methods=["POST"]),
            Route(of + "/drift", self.drift),
            Route(of + "/contract", self.contract),
        ])  # fmt: skip

    async def _read(self, work: Callable[[Transaction], T]) -> T:
        return await self._mirror.db.read(work)

    async def _newest(self, issuer_id: str) -> int:
        row = await self._read(lambda tx: tx.one("newest_change", issuer_id=issuer_id))
        return 0 if row is None or row[0] is None else int(row[0])

    def _issuer_of(self, request: Request) -> tuple[str, Visitor]:
        """Return the issuer and the visitor of a page. Raises HTTPException 404: this service has one issuer."""
        issuer_id, visitor = issuer_of(request)
        if issuer_id != self._issuer_id:
            raise HTTPException(404)
        return issuer_id, visitor

    # ── the pages ──

    async def home(self, request: Request) -> Response:
        """Go to the issuer's overview."""
        if not visitor_of(request).may_see(self._issuer_id):
            return self._frame.shown(request, "issuers.html", issuers=())
        return RedirectResponse(f"/ui/issuers/{self._issuer_id}/", 303)

    async def overview(self, request: Request) -> Response:
        """Show where the cards are, and how far that can be believed."""
        issuer_id, _ = self._issuer_of(request)
        name, now = one_of(request, "range", "7d", tuple(RANGES)), self._mirror.clock()
        seen = await self._read(lambda tx: overview_of(tx, issuer_id, now, name, self._limit))
        labels = [when(day * DAY)[5:10] for day in seen.days]
        shown = flow_shown(seen.here, seen.columns, labels, uncounted=UNCOUNTED)
        values = {"seen": seen, "troubles": seen.health.troubles(now), "range": name, "ranges": list(RANGES)}
        return self._frame.shown(request, "mirror_overview.html", "", **values, **shown)

    async def live(self, request: Request) -> Response:
        """Say when the issuer's cards have moved, for as long as the page is open."""
        self._issuer_of(request)
        return await self.streams.answer(request)

    async def search(self, request: Request) -> Response:
        """Show what cards a text names; go on to the card where it is one."""
        issuer_id, visitor = self._issuer_of(request)
        query, found = searched(request), list[str]()
        if query:
            found = list(await self._read(lambda tx: found_by(tx, issuer_id, query, personal=visitor.personal)))
        if len(found) == 1 or query in found:
            return RedirectResponse(f"/ui/issuers/{issuer_id}/cards/{query if query in found else found[0]}", 303)
        told = single(request, "told") or ""
        asks = self._ask is not None and CARD_ID.fullmatch(query) is not None
        return self._frame.shown(
            request, "mirror_search.html", query=query, cards=found, asks=asks, told=TOLD.get(told, ""),
            mood=MOODS.get(told, ""),
        )  # fmt: skip

    async def card(self, request: Request) -> Response:
        """Show one card, and why the mirror believes it to be where it is."""
        issuer_id, visitor = self._issuer_of(request)
        card_id = checked_card(request)
        seen = await self._read(lambda tx: seen_of(tx, issuer_id, card_id))
        if seen is None:
            raise HTTPException(404, "The mirror neither keeps nor expects this card.")
        orders = [order_shown(each, personal=visitor.personal) for each in seen.held]
        word = single(request, "told") or ""
        told, mood = TOLD.get(word, ""), MOODS.get(word, "")
        asks = self._ask is not None
        values: dict[str, Any] = {
            "card": seen,
            "orders": orders,
            "asking": asking_shown(seen, asks=asks),
            "asks": asks,
            "told": told,
            "mood": mood,
        }
        return self._frame.shown(request, "mirror_card.html", **values)

    async def ask(self, request: Request) -> Response:
        """Ask the platform where a card is really, now; keep the answer, and say what it came to."""
        issuer_id, _ = self._issuer_of(request)
        visitor, card_id = operating(request, issuer_id), checked_card(request)
        if self._ask is None:
            raise HTTPException(404, "This service has no server to ask.")
        now = self._mirror.clock()
        line = Changed("card.ask", f"{issuer_id}/{card_id}", None, None, None)
        await trail.record(self._mirror.db, visitor.actor, now, lambda _: line)  # before: no question without a line
        told = await self._asked(self._ask, card_id)
        known = await self._read(lambda tx: tx.one("card", issuer_id=issuer_id, card_id=card_id))
        way = f"cards/{card_id}?" if known is not None else f"cards?q={quote(card_id)}&"
        return RedirectResponse(f"/ui/issuers/{issuer_id}/{way}told={told}", 303)

    async def _asked(self, ask: Ask, card_id: str) -> str:
        """Return what came of it, one of TOLD. Raises StoreUnavailable."""
        try:
            heard = await ask(card_id)
        except StoreUnavailable:
            raise
        except CardtrailError as error:
            _log.warning("card_not_asked", card_id=card_id, error=str(error))
            return "failed"
        if heard.failed:
            return "failed"
        return "unknown" if heard.unknown else "repaired" if heard.changed else "same"

    async def drift(self, request: Request) -> Response:
        """Show what was missed and repaired, by day, and whether the bound held."""
        issuer_id, visitor = self._issuer_of(request)
        name, now = one_of(request, "range", "30d", tuple(DRIFT_RANGES)), self._mirror.clock()
        report = await self._read(lambda tx: report_of(tx, issuer_id, now, name))
        return self._frame.shown(request, "drift.html", "drift", **drift_shown(report, name, personal=visitor.personal))

    async def contract(self, request: Request) -> Response:
        """Show what the platform said that nobody has published."""
        issuer_id, visitor = self._issuer_of(request)
        length = MAX_SHOWN if visitor.personal else 0
        rows = await self._read(
            lambda tx: tx.all("list_sightings", issuer_id=issuer_id, most=MAX_SIGHTINGS, length=length)
        )
        seen = [
            {"kind": kind, "name": name if visitor.personal or kind not in FREE else "hidden", "at": at,
             "sample": bytes(sample).decode(errors="replace"), "source": "the platform"}
            for kind, name, at, sample in rows
        ]  # fmt: skip
        return self._frame.shown(request, "mirror_contract.html", "contract", seen=seen)


def checked_card(request: Request) -> str:
    """Return the card that the path names. Raises HTTPException 404."""
    card_id: str = request.path_params["card_id"]
    if not CARD_ID.fullmatch(card_id):
        raise HTTPException(404, "The mirror neither keeps nor expects this card.")
    return card_id
