"""The drift of a mirror, day by day: what it was not told and has repaired, and whether the stated bound held."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from cardtrail.db import Transaction
from cardtrail.issuer import drift
from cardtrail.issuer.drift import Bound, Missed, Report, Share
from cardtrail.issuer.standing import DAY, is_published
from cardtrail.issuer.ui.shown import NOT_PUBLISHED
from cardtrail.pages.chart import Series
from cardtrail.pages.words import HOUR, MINUTE, headline_of, lasting

RANGES: Final = {"7d": 7, "30d": 30, "90d": 90}
"""Ranges of time that can be looked at, in days."""
MAX_MISSED = 100
"""Most repairs that are listed, the newest."""
MAX_COUNTED = 5_000
"""Of so many repairs, the newest, it is told for how long the mirror was wrong."""
SECOND = 1_000_000
_UNITS: Final = ((HOUR, "hours"), (MINUTE, "minutes"), (SECOND, "seconds"))
_FEW = 10
"""So many of a unit are drawn in it."""


class Day(msgspec.Struct, frozen=True):
    """A day: how it was told, and its bound, None where none was stated."""

    name: str
    share: Share
    bound: Bound | None


def report_of(tx: Transaction, issuer_id: str, now: int, name: str) -> Report:
    """Read the report of an issuer's mirror over one of the RANGES before `now`, µs."""
    since = (now // DAY - RANGES[name] + 1) * DAY
    return drift.read(tx, issuer_id, since, MAX_MISSED, MAX_COUNTED)


def drift_shown(report: Report, name: str, *, personal: bool) -> dict[str, Any]:
    """Return what the template shows of a report."""
    shares = {share.name: share for share in report.by_day}
    bounds = {bound.day: bound for bound in report.bounds}
    first = report.since // DAY
    names = [_date(first + number) for number in range(RANGES[name])]
    days = [Day(each, shares.get(each, Share(each)), bounds.get(each)) for each in names]
    stated = [bounds[each] for each in names if each in bounds]
    unit, unit_name = _unit(max((max(each.stated, each.worst) for each in stated), default=0))
    return {
        "report": report, "repairs": [_repair(each, personal=personal) for each in report.missed],
        "range": name, "ranges": list(RANGES),
        "days": [day for day in reversed(days) if day.share.told or day.bound],
        "labels": [each[5:] for each in names],
        "series": [
            Series("missed", [day.share.missed for day in days]), Series("late", [day.share.late for day in days]),
        ],
        "bound_series": [
            _spans("stated", [day.bound.stated if day.bound else None for day in days], unit),
            _spans("worst", [day.bound.worst if day.bound else None for day in days], unit),
        ],
        "unit": unit_name, "broken": sum(not each.held for each in stated), "stated": len(stated),
        "is_counted": report.repaired < MAX_COUNTED, "counted": MAX_COUNTED,
    }  # fmt: skip


def _repair(missed: Missed, *, personal: bool) -> dict[str, Any]:
    """Return what is told of one repair."""
    return msgspec.structs.asdict(missed) | {
        "said": _told(missed.before, personal=personal), "was": _told(missed.after, personal=personal),
        "wrong_for": missed.wrong_for,
    }  # fmt: skip


def _told(words: str, *, personal: bool) -> str:
    """Return stage and shipment status in words; what nobody has published may be a text about somebody."""
    told = words.split(" ")
    if not all(map(is_published, told)):
        return words if personal or not words else NOT_PUBLISHED
    return headline_of(told[0], told[1] if len(told) > 1 else None, None)


def _spans(name: str, spans: Sequence[int | None], unit: int) -> Series:
    """Return spans of µs in a unit, with the longest in words."""
    longest = max((span for span in spans if span is not None), default=None)
    return Series(name, [None if span is None else round(span / unit) for span in spans], lasting(longest))


def _unit(longest: int) -> tuple[int, str]:
    """Return the unit in which a span of µs is drawn, and its name."""
    return next((unit for unit in _UNITS if longest >= _FEW * unit[0]), _UNITS[-1])


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY / SECOND, UTC).date().isoformat()
