"""Setting from when on a card is stuck at a place, instead of what was learned."""

import re
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cardtrail.core.business import QUARTERS
from cardtrail.core.place import PLACES
from cardtrail.db import Transaction
from cardtrail.errors import InputError
from cardtrail.pages.door import trail
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.visitor import form_of, operating
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.ui.usual import Group

if TYPE_CHECKING:
    from cardtrail.platform.app import Platform

MAX_DAYS = 365
"""Longest limit that can be set, business days."""
MAX_NAME = 256
"""Longest name of a site, channel or carrier."""
_DAYS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,2})?")


class Limits:
    """Sets and drops limits, with a line of the audit each."""

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform

    async def set(self, request: Request) -> Response:
        """Set the limit of a group, or let it be learned again where no days are given."""
        issuer_id = request.path_params["issuer_id"]
        visitor = operating(request, issuer_id)
        form = form_of(request)
        group, quarters = _group_of(form), _quarters_of(form.get("days", "").strip())
        now = wall_clock()
        audit_id = trail.new_id(now)

        def work(tx: Transaction) -> None:
            members = {"issuer_id": issuer_id} | msgspec.structs.asdict(group)
            before = {Group(*row[:4]): row[4] for row in tx.all("thresholds", issuer_id=issuer_id)}.get(group)
            if quarters is None:
                tx.run("drop_threshold", **members)
            else:
                tx.run("set_threshold", **members, quarters=quarters)
            told = msgspec.structs.asdict(group)
            line = Changed("stuck.limit", issuer_id, told | {"quarters": before}, told | {"quarters": quarters}, None)
            trail.write(tx, audit_id, visitor.actor, now, line)

        await self._platform.db.transact(work)
        told = "learned" if quarters is None else "set"
        return RedirectResponse(f"/ui/issuers/{issuer_id}/stuck?told={told}", 303)


def _group_of(form: dict[str, str]) -> Group:
    group = Group(*(form.get(name, "") for name in Group.__struct_fields__))
    if group.place not in PLACES:
        raise InputError("place", "one of the places that orders can be at", "FIELD_INVALID_VALUE")
    for name in ("site", "channel", "carrier"):
        if len(getattr(group, name)) > MAX_NAME:
            raise InputError(name, f"at most {MAX_NAME} characters", "FIELD_INVALID_VALUE")
    return group


def _quarters_of(days: str) -> int | None:
    if not days:
        return None
    quarters = round(float(days) * QUARTERS) if _DAYS.fullmatch(days) else 0
    if not 1 <= quarters <= MAX_DAYS * QUARTERS:
        raise InputError("days", f"0.25 to {MAX_DAYS} business days, or nothing", "FIELD_INVALID_VALUE")
    return quarters
