"""The ledger: what was sent, what was not and why, for one issuer at a time."""

from collections.abc import Sequence
from heapq import merge
from itertools import islice

import msgspec

from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import InputError, NotFound
from cardtrail.platform.cause import correlation_of
from cardtrail.platform.outbox import NotificationState, id_before, made_at

MAX_LISTED = 1_000
"""Most notifications in one list."""
MAX_IDS = 1_000
"""Most notifications that can be named at once."""
FIRST, LAST = "", "g"
"""Sort before and after every notification id, which are hexadecimal; in any collation."""
OPEN = (NotificationState.PENDING, NotificationState.REFUSED, NotificationState.DEAD, NotificationState.WITHHELD)
"""The states of what was not delivered, and that has no newer picture in its place."""


class Entry(msgspec.Struct, frozen=True, rename="camel", array_like=True):
    """One notification as the ledger shows it; times in µs. `attempts` counts those of this round that count."""

    notification_id: str
    endpoint_id: str
    card_id: str
    operation_id: str
    operation: str
    sequence: int
    state: NotificationState
    round: int
    attempts: int
    due_at: int
    settled_at: int | None
    cause: str
    attempt_ids: tuple[str, ...]

    @property
    def created_at(self) -> int:
        """When it was enqueued, µs."""
        return made_at(self.notification_id)

    @property
    def correlation_id(self) -> str:
        """The id of the call that made the change it tells of, empty where that is not known."""
        return correlation_of(self.cause)


class Attempt(msgspec.Struct, frozen=True, rename="camel"):
    """One call that carried a notification, with how many others; `at` in µs."""

    attempt_id: str
    at: int
    carried: int
    http_status: int | None
    failure: str | None
    ms: int
    answer: str


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which notifications are meant: by id, or by all of the rest that is given. Times are when enqueued, µs."""

    ids: tuple[str, ...] = ()
    state: NotificationState | None = None
    endpoint_id: str = ""
    card_id: str = ""
    correlation_id: str = ""
    since: int | None = None
    until: int | None = None

    @property
    def first(self) -> str:
        """An id below all that are meant."""
        return FIRST if self.since is None else id_before(self.since)

    @property
    def last(self) -> str:
        """An id above all that are meant."""
        return LAST if self.until is None else id_before(self.until)


class Ledger:
    """Reads the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def entries(self, issuer_id: str, selection: Selection, after: str = "", most: int = 100) -> list[Entry]:
        """Return what is meant, oldest first, after the notification `after`, at most MAX_LISTED. Raises InputError."""
        if len(selection.ids) > MAX_IDS:
            raise InputError("ids", f"at most {MAX_IDS}", "FIELD_INVALID_VALUE")
        wanted = max(1, min(most, MAX_LISTED))
        return await self._db.read(lambda tx: entries_of(tx, issuer_id, selection, after, wanted))

    async def find(self, issuer_id: str, notification_id: str) -> tuple[Entry, list[Attempt], bytes]:
        """Return a notification, its attempts, oldest first, and the picture it carries. Raises NotFound."""

        def work(tx: Transaction) -> tuple[Entry, list[Attempt], bytes]:
            rows = tx.each("list_by_id", [(issuer_id, notification_id)])
            picture = tx.one("picture_sent", issuer_id=issuer_id, notification_id=notification_id)
            if not rows or picture is None:
                raise NotFound("no such notification")
            entry = entry_of(rows[0])
            found = tx.each("attempts_by_id", [(issuer_id, each) for each in entry.attempt_ids])
            return entry, sorted((Attempt(*row) for row in found), key=lambda each: each.attempt_id), bytes(picture[0])

        return await self._db.read(work)


def entries_of(tx: Transaction, issuer_id: str, selection: Selection, after: str, most: int) -> list[Entry]:
    """Return what is meant, oldest first, after `after`; every row is the issuer's own."""
    if selection.ids:
        rows = tx.each("list_by_id", [(issuer_id, each) for each in sorted(set(selection.ids)) if each > after])
        return sorted(map(entry_of, rows), key=lambda entry: entry.notification_id)[:most]  # some may be unknown
    state = selection.state.value if selection.state is not None else ""
    window = {"after": max(after, selection.first), "before": selection.last, "most": most}
    where = {
        "issuer_id": issuer_id, "endpoint_id": selection.endpoint_id, "state": state,
        "correlation_id": selection.correlation_id,
    }  # fmt: skip
    if selection.card_id:
        return [entry_of(row) for row in tx.all("list_of_card", card_id=selection.card_id, **where, **window)]
    if selection.state not in OPEN:
        return [entry_of(row) for row in tx.all("list_notifications", **where, **window)]
    lists = [
        tx.all("list_open", **{**where, "endpoint_id": each}, **window) for each in _endpoints(tx, issuer_id, selection)
    ]
    return [entry_of(row) for row in islice(merge(*lists), most)]


def _endpoints(tx: Transaction, issuer_id: str, selection: Selection) -> Sequence[str]:
    if selection.endpoint_id:
        return [selection.endpoint_id]
    return [row[1] for row in tx.each("endpoints_of_issuers", [(issuer_id,)])]


def entry_of(row: Row) -> Entry:
    """Return a row of the ledger's lists."""
    *head, attempt_ids = row
    return msgspec.convert((*head, attempt_ids.split()), Entry)
