"""The page of the audit trail, for whoever may see every issuer."""

from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cardtrail.db import Database
from cardtrail.errors import InputError
from cardtrail.pages.door.trail import AUDIT_ID, LATEST, Wanted, search_audit
from cardtrail.pages.door.visitor import visitor_of
from cardtrail.pages.frame import Frame
from cardtrail.pages.query import searched, single

AUDITED = 100
"""Lines of the audit trail on a page."""


class TrailPage:
    """The handler."""

    def __init__(self, db: Database, frame: Frame) -> None:
        self._db = db
        self._frame = frame

    async def show(self, request: Request) -> Response:
        """Show who changed what."""
        if visitor_of(request).issuers != "all":
            raise HTTPException(404)
        before = single(request, "before") or LATEST
        if before != LATEST and not AUDIT_ID.fullmatch(before):
            raise InputError("before", "the id of a line", "FIELD_INVALID_VALUE")
        wanted = Wanted(*(searched(request, name) for name in Wanted._fields))
        found = await search_audit(self._db, wanted, before=before, most=AUDITED)
        shown = [{"before": _text(each.before), "after": _text(each.after), "at": each.at, "actor": each.actor,
                  "action": each.action, "subject": each.subject} for each in found.lines]  # fmt: skip
        given = {name: value for name, value in wanted._asdict().items() if value}
        older = urlencode(given | {"before": found.further}) if found.further else ""
        return self._frame.shown(request, "audit.html", lines=shown, wanted=wanted, given=given, older=older)


def _text(value: Any) -> str:
    return "" if value is None else bytes(value).decode()
