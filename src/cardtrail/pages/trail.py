"""The page of the audit trail, for whoever may see every issuer."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cardtrail.db import Database
from cardtrail.pages.door.trail import LATEST, list_audit
from cardtrail.pages.door.visitor import visitor_of
from cardtrail.pages.frame import Frame
from cardtrail.pages.query import single

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
        lines = await list_audit(self._db, before=before, most=AUDITED)
        shown = [{"before": _text(each.before), "after": _text(each.after), "at": each.at, "actor": each.actor,
                  "action": each.action, "subject": each.subject} for each in lines]  # fmt: skip
        further = lines[-1].audit_id if len(lines) == AUDITED else ""
        return self._frame.shown(request, "audit.html", lines=shown, next=further)


def _text(value: Any) -> str:
    return "" if value is None else bytes(value).decode()
