"""`cardtrail notifications`: what was sent to an issuer's endpoints, what was not and why, and send it again."""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from cardtrail.cli.given import named
from cardtrail.cli.show import grid_of, plain, print_all, print_json, table_of, when
from cardtrail.cli.where import HERE, KEYED, Keyed, Where, with_store
from cardtrail.db import Database
from cardtrail.errors import InputError
from cardtrail.files.box import box_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.ledger import MAX_LISTED, Attempt, Entry, Ledger, Selection
from cardtrail.platform.ledger_form import (
    WishIn,
    checked_id,
    members_of_entry,
    members_of_notification,
    of_call,
    selection_of,
)
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.replay import Replay, Replayed
from cardtrail.platform.request import checked_issuer
from cardtrail.platform.resend import resend
from cardtrail.platform.settings import settings_of

notifications_app = App(name="notifications", help="See what was sent, what was not and why, and send it again.")

_OPTIONS = {
    "issuerId": "ISSUER_ID", "notificationId": "NOTIFICATION_ID", "notificationIds": "--id",
    "state": "--state", "since": "--since", "until": "--until", "cardId": "--card", "endpointId": "--endpoint",
    "after": "--after", "limit": "--limit", "neverAttempted": "--never-attempted", "exact": "--exact",
    "correlationId": "--correlation-id",
}  # fmt: skip


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which notifications are meant; all that is given must be so."""

    state: NotificationState | None = None
    """Only those in this state."""
    since: str | None = None
    """Only those made at or after this time, like 2026-11-23T08:00:00Z."""
    until: str | None = None
    """Only those made before this time."""
    card: str | None = None
    """Only those of this card."""
    endpoint: str | None = None
    """Only those to this endpoint."""

    def selection(self) -> Selection:
        """Return what was given. Raises InputError."""
        return selection_of(self.state, self.since, self.until, self.card, self.endpoint)


@Parameter(name="*")
@dataclass(frozen=True)
class OfCall(Which):
    """Which notifications are listed."""

    correlation_id: str | None = None
    """Only those of changes that the call with this x-correlation-id made."""

    def selection(self) -> Selection:
        """Return what was given. Raises InputError."""
        return of_call(super().selection(), self.correlation_id)


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """What is sent again, and how."""

    notification: Annotated[list[str], Parameter(name="--id", negative=())] = field(default_factory=list)
    """This one; by repeating the option, and without state, times, card and endpoint."""
    never_attempted: Annotated[bool, Parameter(negative=())] = False
    """Orders of which nothing was ever sent, to one endpoint or to all that are enabled."""
    exact: Annotated[bool, Parameter(negative=())] = False
    """Send what is stored, not the newest picture; not to strict endpoints, where it would look new."""
    dry_run: Annotated[bool, Parameter(negative=())] = False
    """Only count."""


ANY = Which()
OF_ANY = OfCall()
AS_USUAL = How()


@notifications_app.command(name="list")
def list_notifications(
    issuer_id: str, *, which: OfCall = OF_ANY, after: str = "", limit: int = 100, where: Where = HERE
) -> None:
    """List an issuer's notifications, oldest first.

    Parameters
    ----------
    issuer_id
        Whose.
    after
        Only those after this one, to read on.
    limit
        Most to show, at most 1,000.

    """
    with named(_OPTIONS):
        checked_issuer(issuer_id)
        if not 1 <= limit <= MAX_LISTED:
            raise InputError("limit", f"1 to {MAX_LISTED}", "FIELD_INVALID_VALUE")
        place = checked_id("after", after) if after else ""
        selection = which.selection()
    entries = with_store(where, lambda db: Ledger(db).entries(issuer_id, selection, place, limit))
    if where.as_json:
        print_json([members_of_entry(entry) for entry in entries])
        return
    print_all(_entry_table(entries))
    if len(entries) == limit:
        print_all("", f"perhaps more: --after {entries[-1].notification_id}")


@notifications_app.command
def show(issuer_id: str, notification_id: str, *, where: Where = HERE) -> None:
    """Show one notification, every attempt to send it, and what it carries."""
    with named(_OPTIONS):
        checked_issuer(issuer_id)
        checked_id("notificationId", notification_id)
    entry, attempts, picture = with_store(where, lambda db: Ledger(db).find(issuer_id, notification_id))
    members = members_of_notification(entry, attempts, picture)
    if where.as_json:
        print_json(members)
        return
    del members["attemptLog"], members["operationCarried"]
    print_all(grid_of(members), "", _attempt_table(attempts) if attempts else _unseen(entry), "")
    sys.stdout.write(msgspec.json.format(picture, indent=2).decode() + "\n")


@notifications_app.command
def replay(issuer_id: str, *, which: Which = ANY, how: How = AS_USUAL, where: Keyed = KEYED) -> None:
    """Send notifications again: by default each order's newest picture, once, whatever is meant of it.

    Whoever delivers sends them, behind what is new.
    """
    with named(_OPTIONS):
        checked_issuer(issuer_id)
        wish = WishIn(
            notification_ids=how.notification or None, state=which.state, since=which.since, until=which.until,
            card_id=which.card, endpoint_id=which.endpoint, never_attempted=how.never_attempted, exact=how.exact,
            dry_run=how.dry_run,
        ).wish()  # fmt: skip

    async def work(db: Database) -> Replayed:
        endpoints = Endpoints(db, box_of(where.secret_key_file, where.database), wall_clock)
        settled_days = settings_of(
            {}
        ).settled_days  # of the service: what it forgets cannot be told from what it never sent
        return await resend(Replay(db, wall_clock, settled_days), endpoints, issuer_id, wish)

    replayed = with_store(where, work)
    if where.as_json:
        print_json(replayed)
    else:
        print_all(_told(replayed, dry_run=wish.dry_run))


# ── showing ──────────────────────────────────────────────────────────────────────────────────────────────────


def _told(replayed: Replayed, *, dry_run: bool) -> str:
    lines = [f"{replayed.matched:,} meant, {replayed.replayed:,} {'would be' if dry_run else 'are'} sent again"]
    if replayed.pending:
        lines.append(f"{replayed.pending:,} wait to be sent already")
    if replayed.withheld:
        lines.append(f"{replayed.withheld:,} stay withheld: enable their endpoint, then its newest pictures are sent")
    if replayed.more:
        lines.append("there are more: wait until these are delivered, then do it again")
    return "\n".join(lines)


def _entry_table(entries: list[Entry]) -> Table:
    """Return a table that a narrow terminal has room for: its words stay whole, its names fold."""
    table = table_of("notification", "endpoint", "card", "step", "state", "tries", "ended or due (UTC)")
    for column in table.columns[3:6]:
        column.no_wrap = True
    for entry in entries:
        is_waiting = entry.state is NotificationState.PENDING
        table.add_row(
            entry.notification_id, entry.endpoint_id, entry.card_id, str(entry.sequence), entry.state,
            str(entry.attempts), when(entry.due_at if is_waiting else entry.settled_at),
        )  # fmt: skip
    return table


def _unseen(entry: Entry) -> str:
    """Say why there is no attempt to see."""
    return "it was sent, but so long ago that its attempts are no longer kept" if entry.attempt_ids else "never sent"


def _attempt_table(attempts: list[Attempt]) -> Table:
    table = table_of("when (UTC)", "result", "ms", "carried", "answer")
    for attempt in attempts:
        result = attempt.failure or f"HTTP {attempt.http_status}"
        answer = plain(" ".join(attempt.answer.split()))
        table.add_row(when(attempt.at), result, str(attempt.ms), str(attempt.carried), answer)
    return table
