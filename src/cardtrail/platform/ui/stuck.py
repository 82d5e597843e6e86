"""Stuck cards: those that have been where they are for longer than is usual there, worst first."""

from collections.abc import Container, Iterator
from datetime import date
from operator import attrgetter

import msgspec

from cardtrail.core.business import DAY, QUARTERS, before, business_time
from cardtrail.db import Transaction
from cardtrail.platform.ui.usual import Group, Usual, dwells_of

MAX_GROUPS = 500
"""Most groups that are looked at."""
MAX_STUCK = 1_000
"""Most cards of a list, and of one group in it."""
QUARTER = DAY // QUARTERS


class Stuck(msgspec.Struct, frozen=True):
    """An order that is stuck: since when it is where it is (µs), and for how long, in business time, µs.

    `over` is how many times the limit it has been there.
    """

    card_id: str
    operation_id: str
    since: int
    dwelt: int
    over: float
    usual: Usual


class StuckList(msgspec.Struct, frozen=True):
    """What is stuck of one issuer's orders, worst first; `is_whole` unless there are more. Groups with their limits."""

    stuck: tuple[Stuck, ...]
    groups: tuple[Usual, ...]
    is_whole: bool


def stuck_of(tx: Transaction, issuer_id: str, now: int, holidays: Container[date] | None = None) -> StuckList:
    """Return what is stuck at `now`, µs of domain time."""
    dwells = dwells_of(tx, issuer_id)
    groups = [dwells.usual(group) for group in _groups(tx, issuer_id)]
    found = [each for usual in groups for each in _of_group(tx, issuer_id, usual, now, holidays)]
    found.sort(key=attrgetter("over"), reverse=True)
    return StuckList(tuple(found[:MAX_STUCK]), tuple(groups), len(found) <= MAX_STUCK and len(groups) < MAX_GROUPS)


def _groups(tx: Transaction, issuer_id: str) -> Iterator[Group]:
    """Return the groups of an issuer's watched orders: one look into the index each."""
    group = Group("")
    for _ in range(MAX_GROUPS):
        row = tx.one("next_group", issuer_id=issuer_id, **msgspec.structs.asdict(group))
        if row is None:
            return
        group = Group(*row)
        yield group


def _of_group(
    tx: Transaction, issuer_id: str, usual: Usual, now: int, holidays: Container[date] | None
) -> Iterator[Stuck]:
    limit = usual.limit * QUARTER
    rows = tx.all(
        "longest_in_group", issuer_id=issuer_id, **msgspec.structs.asdict(usual.group),
        before=before(now, limit, holidays), most=MAX_STUCK + 1,
    )  # fmt: skip
    for card_id, operation_id, since in rows:
        dwelt = business_time(since, now, holidays)
        yield Stuck(card_id, operation_id, since, dwelt, dwelt / limit, usual)
