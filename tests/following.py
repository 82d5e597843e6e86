"""A reader that follows the changes feed and writes down all it read, and a judge who knows every change there was."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from cardtrail.platform.feed import Feed, Page, position_of
from cardtrail.protocol.cursor import Cursor
from tests.desk import Desk, execute
from tests.serving import ISSUER


class Reading(NamedTuple):
    """One page as it was read: (operation, sequence) in its order, the number it ended at, the newest one after it."""

    seen: list[tuple[str, int]]
    number: int
    newest: int


class Follower:
    """Keeps the newest picture of each operation of one issuer, by the feed alone."""

    def __init__(self, issuer_id: str = ISSUER) -> None:
        self.issuer_id = issuer_id
        self.cursor: Cursor | None = None
        self.mirror: dict[str, bytes] = {}
        self.readings: list[Reading] = []

    def take(self, pictures: Iterable[bytes], cursor: Cursor, newest: int) -> None:
        """Take one page; `newest` is the issuer's newest change number at any time after it was read."""
        operations = [(msgspec.json.decode(picture), picture) for picture in pictures]
        self.readings.append(Reading([_known_by(operation) for operation, _ in operations], cursor.number, newest))
        self.mirror |= {operation["operationId"]: bytes(picture) for operation, picture in operations}
        self.cursor = cursor

    async def read(self, feed: Feed, limit: int = 100) -> Page:
        """Read the next page."""
        page = await feed.read(self.issuer_id, self.cursor, limit)
        position = await feed._db.read(lambda tx: position_of(tx, self.issuer_id))
        self.take(page.pictures, page.cursor, position.number)
        return page

    async def read_all(self, feed: Feed, limit: int = 100) -> None:
        """Read on for as long as there is more."""
        while (await self.read(feed, limit)).more:
            pass


def _known_by(operation: dict[str, Any]) -> tuple[str, int]:
    return operation["operationId"], operation["cardtrail"]["sequence"]


# ── the judge

_LOG = "CREATE TABLE change_log (issuer_id TEXT, change_no BIGINT, operation_id TEXT, sequence BIGINT, picture BYTEA)"
_NOTE = "INSERT INTO change_log VALUES (NEW.issuer_id, NEW.change_no, NEW.operation_id, NEW.sequence, {});"


def keep_log(url: str, *, pictures: bool = False) -> None:
    """Let the database itself write down every change of a picture, and where asked for the picture too."""
    note = _NOTE.format("NEW.picture" if pictures else "NULL")
    execute(url, _LOG)
    if url.startswith("sqlite"):
        for what in ("INSERT", "UPDATE OF picture"):
            execute(url, f"CREATE TRIGGER log_{what[:6]} AFTER {what} ON operation BEGIN {note} END")
        return
    body = f"BEGIN {note} RETURN NULL; END"
    execute(url, f"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    execute(
        url, "CREATE TRIGGER log AFTER INSERT OR UPDATE OF picture ON operation FOR EACH ROW EXECUTE FUNCTION note()"
    )


class Verdict(NamedTuple):
    """What there was, and what was read of it."""

    changes: int
    read: int
    skipped: int
    disordered: int


def judge(url: str, follower: Follower) -> Verdict:
    """Compare all that a follower read, from the beginning to the end, with every change that was committed.

    A change is skipped where a page ended at or after its number, neither it nor a later change of the same operation
    had been read by then, and the operation had not moved on to a number after the page either; or where nothing was
    read so far. A reading is disordered where its number is not above the one before it, or where its page does not
    end at its last number.
    """
    rows = execute(url, "SELECT issuer_id, change_no, operation_id, sequence FROM change_log ORDER BY change_no")
    log = [(row[1], row[2:]) for row in rows if row[0] == follower.issuer_id]
    number_of: dict[tuple[str, int], int] = {known_by: number for number, known_by in log}
    assert [number for number, _ in log] == list(range(1, len(log) + 1))
    assert len(number_of) == len(log)
    following: dict[int, int] = {}
    last_of: dict[str, int] = {}
    for number, (operation, _) in log:
        following[last_of.get(operation, 0)] = last_of[operation] = number
    seen: dict[str, int] = {}
    passed = skipped = disordered = last = 0
    for reading in follower.readings:
        for known_by in reading.seen:
            disordered += number_of[known_by] <= last
            last = seen[known_by[0]] = number_of[known_by]
        disordered += reading.number != last
        for number, (operation, _) in log[passed : reading.number]:
            moved = following.get(number, len(log) + 1) <= reading.newest
            skipped += seen.get(operation, 0) < number and not moved
        passed = max(passed, reading.number)
    read = sum(len(reading.seen) for reading in follower.readings)
    return Verdict(len(log), read, skipped + len(log) - passed, disordered)


def published(url: str, issuer_id: str = ISSUER) -> dict[str, bytes]:
    """Return the newest picture of every operation of an issuer, straight from the table."""
    rows = execute(url, f"SELECT operation_id, picture FROM operation WHERE issuer_id = '{issuer_id}'")  # noqa: S608 - our own
    return {row[0]: bytes(row[1]) for row in rows}


@contextmanager
def fed(site: Desk) -> Iterator[Feed]:
    """Give a desk's process a feed, and stop it at the end."""
    feed = Feed(site.db)
    try:
        yield feed
    finally:
        site.run(feed.stop())
