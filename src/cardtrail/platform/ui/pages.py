"""The pages of the platform: each reads what it shows by one transaction, and shows it by one template."""

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from cardtrail.db import Transaction
from cardtrail.errors import InputError
from cardtrail.pages.chart import Node, Series
from cardtrail.pages.door.asgi import Receive, Scope, Send
from cardtrail.pages.door.visitor import Visitor, csrf_of, seeing, visitor_of
from cardtrail.pages.render import Renderer
from cardtrail.pages.words import ASIDE, FLOW, kind_of, when, word_of
from cardtrail.platform.audit import AUDIT_ID, LATEST, Wanted, search_audit
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.request import single
from cardtrail.platform.ui.calendar import calendar_of
from cardtrail.platform.ui.card import card_of, found_by
from cardtrail.platform.ui.deliveries import Deliveries
from cardtrail.platform.ui.limits import Limits
from cardtrail.platform.ui.live import Streams
from cardtrail.platform.ui.overview import RANGES, Overview, overview_of
from cardtrail.platform.ui.promise import promises_of
from cardtrail.platform.ui.shown import MOODS, order_shown
from cardtrail.platform.ui.stuck import Stuck, stuck_of
from cardtrail.protocol.codec import CARD_ID

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

PAGES = (("", "Overview"), ("stuck", "Stuck"), ("deliveries", "Deliveries"), ("promise", "Promise"))
"""The pages of an issuer, by path and name."""
MAX_QUERY = 128
"""Longest text that is searched for."""
MAX_ISSUERS = 1_000
"""Most issuers that are listed."""
MAX_SIGHTINGS = 500
"""Most unpublished names that are listed, the newest."""
AUDITED = 100
"""Lines of the audit trail on a page."""
_MAIN = ("CARD_PROD_REQUESTED", "CARD_SHIPPED", "Delivered", "CARD_RETURNED")
_STOPS = tuple(place for place in ASIDE if kind_of(place) == "stop")
T = TypeVar("T")


class _Raising(Router):
    """A router that raises 404 and 405, as in an application, so that the door answers them as it does all others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await super().__call__({**scope, "app": self}, receive, send)


class Pages:
    """The handlers; every one of an issuer's pages first asks whether the visitor may see it."""

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._renderer = Renderer()
        self.streams = Streams(platform.db)
        self._holidays = calendar_of(platform.settings.holidays)
        self._deliveries = Deliveries(platform, self.shown)
        self._limits = Limits(platform)

    def router(self) -> Router:
        """Return the application that answers everything below /ui behind the door."""
        of = "/ui/issuers/{issuer_id}"
        return _Raising([
            Route("/ui/static/{name}", self._renderer.static),
            Route("/ui/", self.issuers),
            Route("/ui/audit", self.audit),
            Route("/ui/contract", self.contract),
            Route(of + "/", self.overview),
            Route(of + "/live", self.live),
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

    def shown(self, request: Request, template: str, here: str | None = None, **values: Any) -> Response:
        """Answer a page; `here` is its place among the PAGES."""
        issuer_id = request.path_params.get("issuer_id", "")
        visitor = visitor_of(request)
        query = request.url.query
        return self._renderer.page(template, {
            "visitor": visitor, "csrf": csrf_of(request), "issuer_id": issuer_id, "pages": PAGES, "here": here,
            "now": self.now, "wall": wall_clock(), "moods": MOODS, "told": "",
            "operates": bool(issuer_id) and visitor.may_operate(issuer_id),
            "address": request.url.path + (f"?{query}" if query else ""),
        } | values)  # fmt: skip

    # ── the pages ──

    async def issuers(self, request: Request) -> Response:
        """Show whose cards the visitor may see; go on where it is one issuer's only."""
        visitor = visitor_of(request)
        rows = await self._read(lambda tx: tx.all("issuers", after="", most=MAX_ISSUERS))
        known = [row[0] for row in rows if visitor.may_see(row[0])]
        if len(known) == 1:
            return RedirectResponse(f"/ui/issuers/{known[0]}/", 303)
        return self.shown(request, "issuers.html", issuers=known)

    async def overview(self, request: Request) -> Response:
        """Show where the cards are."""
        issuer_id, _ = issuer_of(request)
        name = single(request, "range") or "7d"
        if name not in RANGES:
            raise InputError("range", f"one of {', '.join(RANGES)}", "FIELD_INVALID_VALUE")
        now = self.now
        seen = await self._read(lambda tx: overview_of(tx, issuer_id, now, name))
        return self.shown(request, "overview.html", "", **_overview(seen, name))

    async def live(self, request: Request) -> Response:
        """Say when the issuer's cards have moved, for as long as the page is open."""
        issuer_id, _ = issuer_of(request)
        if self.streams.is_full:
            raise HTTPException(503, "too many pages are live; this one is drawn anew by hand")
        return StreamingResponse(self.streams.of_issuer(issuer_id), media_type="text/event-stream")

    async def search(self, request: Request) -> Response:
        """Show what cards a text names; go on to the card where it is one."""
        issuer_id, visitor = issuer_of(request)
        query = _text_of(request, "q")
        found: list[str] = []
        if query:
            found = await self._read(lambda tx: found_by(tx, issuer_id, query, personal=visitor.personal))
        if len(found) == 1 or query in found:
            return RedirectResponse(f"/ui/issuers/{issuer_id}/cards/{query if query in found else found[0]}", 303)
        return self.shown(request, "search.html", query=query, cards=found)

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
        return self.shown(request, "card.html", card=found, orders=orders)

    async def stuck(self, request: Request) -> Response:
        """Show which cards are stuck."""
        issuer_id, _ = issuer_of(request)
        now = self.now
        found = await self._read(lambda tx: stuck_of(tx, issuer_id, now, self._holidays))
        return self.shown(request, "stuck.html", "stuck", list=found, told=_TOLD.get(single(request, "told") or "", ""))

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
        return self.shown(request, "promise.html", "promise", sites=sites)

    async def contract(self, request: Request) -> Response:
        """Show what was said that nobody has published; for those who may see every issuer."""
        if visitor_of(request).issuers != "all":
            raise HTTPException(404)
        rows = await self._read(lambda tx: tx.all("sightings", most=MAX_SIGHTINGS))
        seen = [
            {"kind": row[0], "name": row[1], "source": row[2], "at": row[3],
             "sample": bytes(row[4]).decode(errors="replace")} for row in rows
        ]  # fmt: skip
        return self.shown(request, "contract.html", seen=seen)

    async def audit(self, request: Request) -> Response:
        """Show who changed what; for those who may see every issuer."""
        if visitor_of(request).issuers != "all":
            raise HTTPException(404)
        before = single(request, "before") or LATEST
        if before != LATEST and not AUDIT_ID.fullmatch(before):
            raise InputError("before", "the id of a line", "FIELD_INVALID_VALUE")
        wanted = Wanted(*(_text_of(request, name) for name in Wanted._fields))
        found = await search_audit(self._platform.db, wanted, before=before, most=AUDITED)
        shown = [{"before": _text(each.before), "after": _text(each.after), "at": each.at, "actor": each.actor,
                  "action": each.action, "subject": each.subject} for each in found.lines]  # fmt: skip
        given = {name: value for name, value in wanted._asdict().items() if value}
        older = urlencode(given | {"before": found.further}) if found.further else ""
        return self.shown(request, "audit.html", lines=shown, wanted=wanted, given=given, older=older)


_TOLD = {"set": "The limit is set.", "learned": "The limit is learned again."}


def issuer_of(request: Request) -> tuple[str, Visitor]:
    """Return the issuer of a page and its visitor. Raises HTTPException 404 where the visitor may not see it."""
    issuer_id = request.path_params["issuer_id"]
    return issuer_id, seeing(request, issuer_id)


def _overview(seen: Overview, name: str) -> dict[str, Any]:
    way = [Node(word_of(place), seen.here.get(place, 0), seen.came.get(place, 0)) for place in FLOW]
    aside = [Node(word_of(place), seen.here.get(place, 0), seen.came.get(place, 0)) for place in ASIDE]
    zeros = (0,) * len(seen.hours)
    return {
        "seen": seen, "range": name, "ranges": list(RANGES), "way": way,
        "aside": [node for node in aside if node.here or node.came],
        "told": ", ".join(f"{node.word} {node.here}" for node in way),
        "open": sum(count for place, count in seen.here.items() if kind_of(place) == "way" and place != FLOW[-1]),
        "stopped": sum(seen.here.get(place, 0) for place in _STOPS),
        "series": [Series(word_of(place), seen.columns.get(place, zeros)) for place in _MAIN],
        "labels": [when(hour * 3_600_000_000)[5 : 16 if name == "24h" else 10] for hour in seen.hours],
    }  # fmt: skip


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


def _text_of(request: Request, name: str) -> str:
    """Return what is searched for, "" where it is not given. Raises InputError."""
    text = (single(request, name) or "").strip()
    if len(text) > MAX_QUERY or not text.isprintable():
        raise InputError(name, f"at most {MAX_QUERY} characters that can be read", "FIELD_INVALID_VALUE")
    return text


def _text(value: Any) -> str:
    return "" if value is None else bytes(value).decode()
