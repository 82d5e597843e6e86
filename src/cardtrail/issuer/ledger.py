"""What was sent to the issuer and what was not, and how to have it sent again, as flows. Contract section 11."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from cardtrail.issuer.answers import Notification, Notifications, Replayed, kept, read
from cardtrail.issuer.check import NO_SUCH_PATH, Moment, checked_card, encoded, extension, moment_of, understood, within
from cardtrail.issuer.session import Session
from cardtrail.issuer.steps import Flow

MAX_LIMIT = 1_000
"""Most notifications that a page is asked for."""


class _Ledger(Struct):
    notifications: list[dict[str, Any]]
    next: str | None = None


def notifications(session: Session, selection: Mapping[str, object], limit: int) -> Flow[Notifications]:
    """Return a page of what was sent and what was not, oldest first. Raises NotOffered and other RemoteErrors."""
    query = {"limit": within("limit", limit, 1, MAX_LIMIT), **selection}
    url = f"{session.root}/notifications?{urlencode(query)}"
    request, response = yield from extension(session.call("GET", url), NO_SUCH_PATH)
    return understood(request, response, _ledger)


def replay(session: Session, selection: Mapping[str, object]) -> Flow[Replayed]:
    """Have notifications sent again. Raises NotOffered and other RemoteErrors."""
    url = f"{session.root}/notifications:replay"
    call = session.call("POST", url, encoded("replay", selection), is_safe=selection.get("dryRun") is True)
    request, response = yield from extension(call, NO_SUCH_PATH)
    return understood(request, response, lambda body: read(body, Replayed))


def selection_of(
    *, state: str | None = None, since: Moment | None = None, until: Moment | None = None,
    card_id: str | None = None, endpoint_id: str | None = None, **more: object,
) -> dict[str, object]:  # fmt: skip
    """Return which notifications are meant, in the wire's words. Raises InputError."""
    selection = {
        "state": None if state is None else state.upper(),
        "since": None if since is None else moment_of("since", since),
        "until": None if until is None else moment_of("until", until),
        "cardId": None if card_id is None else checked_card(card_id),
        "endpointId": endpoint_id, **more,
    }  # fmt: skip
    return {name: value for name, value in selection.items() if value is not None}


def _ledger(body: bytes) -> Notifications:
    found = msgspec.json.decode(body, type=_Ledger)
    return Notifications(tuple([kept(each, Notification) for each in found.notifications]), found.next)
