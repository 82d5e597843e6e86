"""The ledger over HTTP: what was sent to an issuer's endpoints, what was not, and send it again. Contract section 11.

An issuer sees its own only, and so does whoever acts for it; an operator sees those that are its business.
"""

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cardtrail.pages.query import single
from cardtrail.platform.endpoint_form import members_for_issuer
from cardtrail.platform.ledger import MAX_LISTED
from cardtrail.platform.ledger_form import (
    WishIn,
    checked_id,
    members_of_entry,
    members_of_notification,
    of_call,
    selection_of,
)
from cardtrail.platform.parties import OPERATE, READ, WRITE
from cardtrail.platform.request import caller_of, checked_issuer, encoded, number, platform_of, told
from cardtrail.platform.resend import resend
from cardtrail.platform.standing import standings

DEFAULT_LISTED = 100
"""Notifications in a list where nothing else is asked for."""


async def list_notifications(request: Request) -> Response:
    """Answer an issuer's notifications, oldest first, and where to read on."""
    issuer_id = _asked(request, READ)
    names = ("state", "since", "until", "cardId", "endpointId")
    selection = selection_of(*(single(request, name) for name in names))
    selection = of_call(selection, single(request, "correlationId"))
    after = single(request, "after")
    limit = number(request, "limit", DEFAULT_LISTED, 1, MAX_LISTED)
    place = "" if after is None else checked_id("after", after)
    entries = await platform_of(request).ledger.entries(issuer_id, selection, place, limit)
    following = {"next": entries[-1].notification_id} if len(entries) == limit else {}
    return encoded({"notifications": [members_of_entry(each) for each in entries], **following})


async def find_notification(request: Request) -> Response:
    """Answer one notification with every attempt, and the operation it carries."""
    issuer_id = _asked(request, READ)
    notification_id = checked_id("notificationId", request.path_params["notification_id"])
    return encoded(members_of_notification(*await platform_of(request).ledger.find(issuer_id, notification_id)))


async def replay_notifications(request: Request) -> Response:
    """Send again what is meant; answer how much that is."""
    issuer_id = _asked(request, WRITE)
    platform = platform_of(request)
    wish = (await told(request, WishIn)).wish()
    replayed = await resend(platform.replay, platform.endpoints, issuer_id, wish)
    if not wish.dry_run:
        platform.deliverer.wake()
    return encoded(msgspec.to_builtins(replayed))


async def endpoints_of_issuer(request: Request) -> Response:
    """Answer an issuer's endpoints: where they are, whether they are sent to, how it goes there."""
    issuer_id = _asked(request, READ)
    platform = platform_of(request)
    found = await platform.endpoints.list_all(issuer_id)
    how = await standings(platform.db, issuer_id)
    return encoded({"endpoints": [members_for_issuer(each, how.get(each.endpoint_id)) for each in found]})


def _asked(request: Request, scope: str) -> str:
    """Return the issuer in the path, if it is the caller's business. Raises as caller_of, or 404 for strict parties."""
    issuer_id = request.path_params["issuer_id"]
    if caller_of(request, scope, OPERATE, issuer_id=issuer_id).strict:
        raise HTTPException(404)
    return checked_issuer(issuer_id)
