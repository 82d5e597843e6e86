"""Notifications as JSON: what the issuers' ledger API takes and answers, and the command line prints."""

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cardtrail.errors import InputError
from cardtrail.platform.endpoint import ENDPOINT_ID
from cardtrail.platform.ledger import MAX_IDS, Attempt, Entry, Selection
from cardtrail.platform.outbox import NOTIFICATION_ID, NotificationState
from cardtrail.platform.resend import Wish, checked_wish
from cardtrail.protocol.codec import CARD_ID, CORRELATION_ID, EARLIEST, LATEST, instant, timestamp

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FORMS = {
    "cardId": (CARD_ID, "1 to 48 of A-Z a-z 0-9 _ -"),
    "correlationId": (CORRELATION_ID, "1 to 64 of A-Z a-z 0-9 _ -"),
    "endpointId": (ENDPOINT_ID, "1 to 40 of A-Z a-z 0-9 _ -"),
    "notificationIds": (NOTIFICATION_ID, "27 of 0-9 a-f each"),
    "notificationId": (NOTIFICATION_ID, "27 of 0-9 a-f"),
    "after": (NOTIFICATION_ID, "`next` of an earlier answer, 27 of 0-9 a-f"),
}


class WishIn(msgspec.Struct, rename="camel", kw_only=True):
    """The body of `notifications:replay`."""

    notification_ids: list[str] | None = None
    state: str | None = None
    since: str | None = None
    until: str | None = None
    card_id: str | None = None
    endpoint_id: str | None = None
    never_attempted: bool | None = None
    exact: bool | None = None
    dry_run: bool | None = None

    def wish(self) -> Wish:
        """Return what is wanted. Raises InputError."""
        if self.notification_ids is not None and not 1 <= len(self.notification_ids) <= MAX_IDS:
            raise InputError("notificationIds", f"1 to {MAX_IDS} ids", "FIELD_INVALID_VALUE")
        selection = selection_of(self.state, self.since, self.until, self.card_id, self.endpoint_id)
        ids = tuple(checked_id("notificationIds", each) for each in self.notification_ids or ())
        wish = Wish(
            selection=msgspec.structs.replace(selection, ids=ids), never_attempted=bool(self.never_attempted),
            exact=bool(self.exact), dry_run=bool(self.dry_run),
        )  # fmt: skip
        return checked_wish(wish)


def selection_of(
    state: str | None, since: str | None, until: str | None, card_id: str | None, endpoint_id: str | None
) -> Selection:
    """Return which notifications are meant; what is None is not asked. Raises InputError naming the member."""
    return Selection(
        state=None if state is None else _state(state),
        since=None if since is None else instant_of("since", since),
        until=None if until is None else instant_of("until", until),
        card_id="" if card_id is None else checked_id("cardId", card_id),
        endpoint_id="" if endpoint_id is None else checked_id("endpointId", endpoint_id),
    )


def of_call(selection: Selection, correlation_id: str | None) -> Selection:
    """Return what of it tells of changes that this call made; None asks for no call. Raises InputError."""
    if correlation_id is None:
        return selection
    return msgspec.structs.replace(selection, correlation_id=checked_id("correlationId", correlation_id))


def checked_id(member: str, text: str) -> str:
    """Return an id. Raises InputError naming the member."""
    form, expected = _FORMS[member]
    if not form.fullmatch(text):
        raise InputError(member, expected)
    return text


def instant_of(member: str, text: str) -> int:
    """Return an ISO 8601 date-time in µs; what is before 2000 or after 2100 counts as these. Raises InputError."""
    try:
        moment = datetime.fromisoformat(text.upper()) if _TIME.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InputError(member, "a date-time with its zone, 2026-11-23T08:00:00Z (in a URL, + is %2B)")
    return instant(min(max(moment, EARLIEST), LATEST - timedelta(microseconds=1)))


def _state(text: str) -> NotificationState:
    try:
        return NotificationState(text)
    except ValueError:
        raise InputError("state", f"one of {', '.join(NotificationState)}", "FIELD_INVALID_VALUE") from None


def members_of_entry(entry: Entry) -> dict[str, Any]:
    """Return a notification as lists show it: `dueAt` while it waits to be sent, `settledAt` once it has ended.

    `correlationId` is that of the call that made the change it tells of, where it is known.
    """
    told: dict[str, Any] = {
        "notificationId": entry.notification_id, "endpointId": entry.endpoint_id, "cardId": entry.card_id,
        "operationId": entry.operation_id, "operation": entry.operation, "sequence": entry.sequence,
        "state": entry.state, "round": entry.round, "attempts": entry.attempts,
        "createdAt": timestamp(entry.created_at),
    }  # fmt: skip
    if entry.state is NotificationState.PENDING:
        told["dueAt"] = timestamp(entry.due_at)
    if entry.settled_at is not None:
        told["settledAt"] = timestamp(entry.settled_at)
    if entry.correlation_id:
        told["correlationId"] = entry.correlation_id
    return told


def members_of_notification(entry: Entry, attempts: list[Attempt], picture: bytes) -> dict[str, Any]:
    """Return a notification with every attempt that is kept, oldest first, and the operation it carries."""
    told = members_of_entry(entry) | {"attemptLog": list(map(_members_of_attempt, attempts))}
    return told | {"operationCarried": msgspec.Raw(picture)}


def _members_of_attempt(attempt: Attempt) -> dict[str, Any]:
    told: dict[str, Any] = {
        "at": timestamp(attempt.at), "httpStatus": attempt.http_status, "failure": attempt.failure, "ms": attempt.ms,
        "carried": attempt.carried, "answer": attempt.answer,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}
