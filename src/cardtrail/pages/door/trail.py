"""The audit trail of a store: every change that a person made has a line in the transaction of what it tells of."""

import re
import secrets
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from cardtrail.db import Database, Row, Transaction
from cardtrail.pages.door.change import Changed

MAX_LISTED = 1_000
"""Most changes in one list."""
MAX_WALKED = 5_000
"""Most lines that one search looks at, where more than one thing is asked for."""
WALKED_AT_ONCE = 500
AUDIT_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{12}")
LATEST = "g"
"""Sorts after every audit id, which are hexadecimal; in any collation, in many of which signs come before digits."""
T = TypeVar("T")


class AuditLine(msgspec.Struct, frozen=True):
    """A line of the audit; `at` in µs, `before` and `after` JSON or None."""

    audit_id: str
    at: int
    actor: str
    action: str
    subject: str
    before: msgspec.Raw | None
    after: msgspec.Raw | None


class Wanted(NamedTuple):
    """Which lines: of whom or what, by whom, which kind of change; "" where that does not matter."""

    subject: str = ""
    actor: str = ""
    action: str = ""


class Found(NamedTuple):
    """Lines that were wanted, and the id before which there may be more; "" where there are none."""

    lines: list[AuditLine]
    further: str


class Trail:
    """The audit of one store, as whoever changes something for good sees it: a `Change`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def __call__(self, actor: str, at: int, work: Callable[[Transaction], Changed[T]]) -> T:
        """Do as `record` does."""
        return await record(self._db, actor, at, work)


async def record(
    db: Database, actor: str, at: int, work: Callable[[Transaction], Changed[T]],
    first: Callable[[Transaction, str], object] = lambda _tx, _audit_id: None,
) -> T:  # fmt: skip
    """Run `work` and write its line, all or nothing; `first` is run before both, with the line's id.

    Returns the work's result; `at` in µs. Raises StoreUnavailable, or what `work` raised.
    """
    audit_id = new_id(at)
    made: list[Changed[T]] = []

    def whole(tx: Transaction) -> None:
        first(tx, audit_id)
        if made and tx.one("find_audit", audit_id=audit_id):
            return  # run again after a COMMIT whose answer was lost: it had succeeded
        made.append(work(tx))
        write(tx, audit_id, actor, at, made[-1])

    await db.transact(whole)
    return made[-1].result


def write(tx: Transaction, audit_id: str, actor: str, at: int, line: Changed[T]) -> None:
    """Write a line of the audit, in the transaction of what it tells of; `at` in µs."""
    tx.run(
        "add_audit", audit_id=audit_id, at=at, actor=actor, action=line.action, subject=line.subject,
        before=_json(line.before), after=_json(line.after),
    )  # fmt: skip


async def list_audit(db: Database, *, subject: str = "", before: str = LATEST, most: int = 100) -> list[AuditLine]:
    """Return at most MAX_LISTED changes before the line `before`, newest first; of `subject` or of all."""
    return (await search_audit(db, Wanted(subject), before=before, most=most)).lines


async def search_audit(db: Database, wanted: Wanted, *, before: str = LATEST, most: int = 100) -> Found:
    """Return at most MAX_LISTED changes that are `wanted`, before the line `before`, newest first.

    One search looks through MAX_WALKED lines at most, and says where to go on.
    """
    return await db.read(lambda tx: _searched(tx, wanted, before, min(most, MAX_LISTED)))


def _searched(tx: Transaction, wanted: Wanted, before: str, most: int) -> Found:
    """Walk along the index of what is probably said of the fewest lines, and leave out what the rest does not want."""
    given = {name: value for name, value in wanted._asdict().items() if value}
    by = {name: given.pop(name) for name in list(given)[:1]}
    query = "".join(["list_audit", *(f"_of_{name}" for name in by)])
    at_once = WALKED_AT_ONCE if given else most
    lines: list[AuditLine] = []
    for _ in range(MAX_WALKED // WALKED_AT_ONCE):
        rows = tx.all(query, before=before, most=at_once, **by)
        for line in map(_line_of, rows):
            before = line.audit_id
            if all(getattr(line, name) == value for name, value in given.items()):
                lines.append(line)
            if len(lines) == most:
                return Found(lines, before)
        if len(rows) < at_once:
            return Found(lines, "")
    return Found(lines, before)


def _line_of(row: Row) -> AuditLine:
    audit_id, at, actor, action, subject, old, new = row
    return AuditLine(audit_id, at, actor, action, subject, _raw(old), _raw(new))


def new_id(at: int) -> str:
    """Return an id that sorts by its time, `at` in µs."""
    return f"{at:016x}-{secrets.token_hex(6)}"


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="deterministic").decode()


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
