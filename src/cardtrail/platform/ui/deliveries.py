"""The page of deliveries: how endpoints fare, what was not delivered, and sending again after a look at it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cardtrail.db import Transaction
from cardtrail.errors import InputError
from cardtrail.pages.door import trail
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.visitor import form_of, operating, seeing
from cardtrail.pages.query import single
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.ledger import OPEN, Entry, Selection, entries_of
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.replay import Replayed
from cardtrail.platform.resend import Wish, resend
from cardtrail.platform.ui.overview import EndpointGlance, endpoints_of
from cardtrail.platform.ui.shown import MOODS

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

SHOWN = 100
"""Most notifications that are listed."""
NEVER = "NEVER"
CHOICES = (
    ("DEAD", "given up"), ("REFUSED", "refused"), ("WITHHELD", "withheld"), ("PENDING", "pending"),
    (NEVER, "never attempted"),
)  # fmt: skip
"""What can be sent again."""
_NOTHING = {"endpoint": "", "state": "DEAD"}


class _Seen(msgspec.Struct, frozen=True):
    endpoints: tuple[EndpointGlance, ...]


class Deliveries:
    """The handlers."""

    def __init__(self, platform: "Platform", shown: Callable[..., Response]) -> None:
        self._platform = platform
        self._shown = shown

    async def show(self, request: Request) -> Response:
        """Show what was not delivered."""
        issuer_id = request.path_params["issuer_id"]
        seeing(request, issuer_id)
        wish = _NOTHING | {"endpoint": single(request, "endpoint") or ""}
        return await self._page(request, issuer_id, wish)

    async def act(self, request: Request) -> Response:
        """Preview what would be sent again, or send it."""
        issuer_id = request.path_params["issuer_id"]
        visitor = operating(request, issuer_id)
        form = form_of(request)
        wish = {"endpoint": form.get("endpoint", ""), "state": form.get("state", "")}
        preview = await self._resend(issuer_id, wish, dry_run=True)
        if form.get("do") != "send":
            return await self._page(request, issuer_id, wish, preview=preview)
        await self._note(visitor.actor, issuer_id, wish, preview)  # before: what was sent is never without a line
        replayed = await self._resend(issuer_id, wish, dry_run=False)
        self._platform.deliverer.wake()
        return await self._page(request, issuer_id, wish, told=f"{replayed.replayed:,} are on their way again.")

    async def _resend(self, issuer_id: str, wish: dict[str, str], *, dry_run: bool) -> Replayed:
        platform = self._platform
        return await resend(platform.replay, platform.endpoints, issuer_id, _wish_of(wish, dry_run=dry_run))

    async def _page(self, request: Request, issuer_id: str, wish: dict[str, str], **more: Any) -> Response:
        def work(tx: Transaction) -> tuple[list[EndpointGlance], list[Entry]]:
            glances = list(endpoints_of(tx, issuer_id))
            if wish["endpoint"] and wish["endpoint"] not in {each.endpoint_id for each in glances}:
                raise HTTPException(404, "This issuer has no such endpoint.")
            found: list[Entry] = []
            for state in OPEN:
                selection = Selection(state=state, endpoint_id=wish["endpoint"])
                found += entries_of(tx, issuer_id, selection, "", SHOWN)
            return glances, sorted(found, key=lambda each: each.notification_id)[:SHOWN]

        glances, entries = await self._platform.db.read(work)
        values = {"preview": None} | more
        return self._shown(
            request, "deliveries.html", "deliveries", seen=_Seen(tuple(glances)), entries=entries, wish=wish,
            choices=CHOICES, moods=MOODS, **values,
        )  # fmt: skip

    async def _note(self, actor: str, issuer_id: str, wish: dict[str, str], preview: Replayed) -> None:
        """Write down who sends what again, as the preview said."""
        now = wall_clock()
        line = Changed("notifications.replay", issuer_id, None, wish | {"meant": preview.replayed}, None)
        audit_id = trail.new_id(now)
        await self._platform.db.transact(lambda tx: trail.write(tx, audit_id, actor, now, line))


def _wish_of(form: dict[str, str], *, dry_run: bool) -> Wish:
    if form["state"] == NEVER:
        return Wish(selection=Selection(endpoint_id=form["endpoint"]), never_attempted=True, dry_run=dry_run)
    if form["state"] not in {name for name, _ in CHOICES}:
        raise InputError("state", f"one of {', '.join(name for name, _ in CHOICES)}", "FIELD_INVALID_VALUE")
    selection = Selection(state=NotificationState(form["state"]), endpoint_id=form["endpoint"])
    return Wish(selection=selection, dry_run=dry_run)
