"""The pages of the platform: each reads what it shows by one transaction, and shows it by one template."""

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from cardtrail.db import Transaction
from cardtrail.pages.door.visitor import issuer_of, visitor_of
from cardtrail.pages.flow import flow_shown
from cardtrail.pages.frame import Frame, PageRouter
from cardtrail.pages.live import Streams
from cardtrail.pages.query import one_of, searched, single
from cardtrail.pages.trail import TrailPage
from cardtrail.pages.words import when
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.ui.calendar import calendar_of
from cardtrail.platform.ui.card import card_of, found_by
from cardtrail.platform.ui.deliveries import Deliveries
from cardtrail.platform.ui.limits import Limits
from cardtrail.platform.ui.overview import HOUR, RANGES, overview_of
from cardtrail.platform.ui.promise import promises_of
from cardtrail.platform.ui.shown import MOODS, order_shown
from cardtrail.platform.ui.stuck import Stuck, stuck_of
from cardtrail.protocol.codec import CARD_ID

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

PAGES = (("", "Overview"), ("stuck", "Stuck"), ("deliveries", "Deliveries"), ("promise", "Promise"))
"""The pages of an issuer, by path and name."""
OTHERS = (("/ui/contract", "Contract drift"), ("/ui/audit", "Audit trail"))
"""The pages of all issuers."""
MAX_ISSUERS = 1_000
"""Most issuers that are listed."""
MAX_SIGHTINGS = 500
"""Most unpublished names that are listed, the newest."""
T = TypeVar("T")


class Pages:
    """The handlers; every one of an issuer's pages first asks whether the visitor may see it."""

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._frame = Frame(PAGES, OTHERS, lambda: self.now, wall_clock)
        self._shown = self._frame.shown
        self.streams = Streams(self._newest)
        self._holidays = calendar_of(platform.settings.holidays)
        self._deliveries = Deliveries(platform, self._shown)
        self._limits = Limits(platform)

    def router(self) -> PageRouter:
        """Return the application that answers everything below /ui behind the door."""
        of = "/ui/issuers/{issuer_id}"
        return PageRouter([
            Route("/ui/static/{name}", self._frame.renderer.static),
            Route("/ui/", self.issuers),
            Route("/ui/audit", TrailPage(self._platform.db, self._frame).show),
            Route("/ui/contract", self.contract),
            Route(of + "/", self.overview),
            Route(of + "/live", self.streams.answer),
            Route(of + "/cards", self.search),
            Route(of + "/cards/{card_id}", self.card),
            Route(of + "/stuck", self.stuck, methods=["GET"]),
            Route(of + "/stuck", self._limits.set, methods=["POST"]),
            Route(of + "/stuck.csv", self.stuck_csv),
            Route(of + "/deliveries", self._deliveries.show, methods=["GET"]),
            Route(of + "/deliveries", self._deliveries.act, methods=["POST"]),
            Route(of + "/promise", self.promise),
        ])  # fmt: skip

    # ── what pages have in common ──

    @property
    def now(self) -> int:
        """Now, in domain time, µs."""
        return self._platform.ingest.clock()

    async def _read(self, work: Callable[[Transaction], T]) -> T:
        return await self._platform.db.read(work)

    async def _newest(self, issuer_id: str) -> int:
        rows = await self._read(lambda tx: tx.each("counters_of_issuers", [(issuer_id,)]))
        return int(rows[0][1]) if rows else 0

    # ── the pages ──

    async def issuers(self, request: Request) -> Response:
        """Show whose cards the visitor may see; go on where it is one issuer's only."""
        visitor = visitor_of(request)
        rows = await self._read(lambda tx: tx.all("issuers", after="", most=MAX_ISSUERS))
        known = [row[0] for row in rows if visitor.may_see(row[0])]
        if len(known) == 1:
            return RedirectResponse(f"/ui/issuers/{known[0]}/", 303)
        return self._shown(request, "issuers.html", issuers=known)

    async def overview(self, request: Request) -> Response:
        """Show where the cards are."""
        issuer_id, _ = issuer_of(request)
        name, now = one_of(request, "range", "7d", tuple(RANGES)), self.now
        seen = await self._read(lambda tx: overview_of(tx, issuer_id, now, name))
        labels = [when(hour * HOUR)[5 : 16 if name == "24h" else 10] for hour in seen.hours]
        shown = flow_shown(seen.here, seen.columns, labels)
        return self._shown(request, "overview.html", "", seen=seen, range=name, ranges=list(RANGES), **shown)

    async def search(self, request: Request) -> Response:
        """Show what cards a text names; go on to the card where it is one."""
        issuer_id, visitor = issuer_of(request)
        query = searched(request)
        found: list[str] = []
        if query:
            found = await self._read(lambda tx: found_by(tx, issuer_id, query, personal=visitor.personal))
        if len(found) == 1 or query in found:
            return RedirectResponse(f"/ui/issuers/{issuer_id}/cards/{query if query in found else found[0]}", 303)
        return self._shown(request, "search.html", query=query, cards=found)

    async def card(self, request: Request) -> Response:
        """Show one card, and why it is where it is."""
        issuer_id, visitor = issuer_of(request)
        card_id = request.path_params["card_id"]
        found = None
        if CARD_ID.fullmatch(card_id):
            found = await self._read(lambda tx: card_of(tx, issuer_id, card_id))
        if found is None:
            raise HTTPException(404, "Nothing is known of this card.")
        orders = [order_shown(order, personal=visitor.personal) for order in found.orders]
        return self._shown(request, "card.html", card=found, orders=orders, moods=MOODS)

    async def stuck(self, request: Request) -> Response:
        """Show which cards are stuck."""
        issuer_id, _ = issuer_of(request)
        now = self.now
        found = await self._read(lambda tx: stuck_of(tx, issuer_id, now, self._holidays))
        return self._shown(
            request, "stuck.html", "stuck", list=found, told=_TOLD.get(single(request, "told") or "", "")
        )

    async def stuck_csv(self, request: Request) -> Response:
        """Answer the stuck cards as a table for other programs."""
        issuer_id, _ = issuer_of(request)
        now = self.now
        found = await self._read(lambda tx: stuck_of(tx, issuer_id, now, self._holidays))
        headers = {"content-disposition": f'attachment; filename="stuck-{issuer_id}.csv"'}
        return Response(_csv(found.stuck), media_type="text/csv; charset=utf-8", headers=headers)

    async def promise(self, request: Request) -> Response:
        """Show how due dates were kept."""
        issuer_id, _ = issuer_of(request)
        now = self.now
        sites = await self._read(lambda tx: promises_of(tx, issuer_id, now))
        return self._shown(request, "promise.html", "promise", sites=sites)

    async def contract(self, request: Request) -> Response:
        """Show what was said that nobody has published; for those who may see every issuer."""
        if visitor_of(request).issuers != "all":
            raise HTTPException(404)
        rows = await self._read(lambda tx: tx.all("sightings", most=MAX_SIGHTINGS))
        seen = [
            {"kind": row[0], "name": row[1], "source": row[2], "at": row[3],
             "sample": bytes(row[4]).decode(errors="replace")} for row in rows
        ]  # fmt: skip
        return self._shown(request, "contract.html", seen=seen)


_TOLD = {"set": "The limit is set.", "learned": "The limit is learned again."}


def _csv(stuck: tuple[Stuck, ...]) -> str:
    """Return a table; a text that a spreadsheet would take for a formula is quoted as one."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["card", "order", "place", "site", "channel", "carrier", "since", "days", "usual", "limit", "basis"]
    )
    for each in stuck:
        group = each.usual.group
        row = [
            each.card_id, each.operation_id, group.place, group.site, group.channel, group.carrier, when(each.since),
            f"{each.dwelt / 86_400_000_000:.2f}", "" if each.usual.middle is None else each.usual.middle / 4,
            each.usual.limit / 4, each.usual.basis,
        ]  # fmt: skip
        writer.writerow([_plain(str(cell)) for cell in row])
    return out.getvalue()


def _plain(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
