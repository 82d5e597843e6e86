"""The drift report: what the mirror was not told, for how long it was wrong, and whether the stated bound held.

A step is *missed* when an answer told it and no notification ever did, *late* when the notification came after the
answer. A stage that was skipped by a newer notification is neither: platforms that send the newest picture only skip
stages on purpose, so those are counted apart, as inferred.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from cardtrail.core.status import RANK, SHIPMENT_RANK
from cardtrail.db import Row, Transaction
from cardtrail.issuer.standing import DAY
from cardtrail.issuer.take import HOUR

MAX_DAYS = 400
MAX_CHANGES = 100_000
"""Most changes that a report is made of: the newest."""
MAX_SIGHTINGS = 100
MAX_PASSES = 20


class Missed(msgspec.Struct, frozen=True, rename="camel"):
    """A change that no notification had told; the mirror was wrong from `wrong_since`, at most, on. Instants in µs."""

    card_id: str
    operation_id: str
    before: str
    after: str
    wrong_since: int
    repaired_at: int
    outcome: str

    @property
    def wrong_for(self) -> int:
        """How long the mirror was wrong at most, µs."""
        return max(0, self.repaired_at - self.wrong_since)


class Share(msgspec.Struct, frozen=True, rename="camel"):
    """How a word was told, or a day: how often by notification, first by an answer, of these late, and inferred."""

    name: str
    notified: int = 0
    answered: int = 0
    late: int = 0
    inferred: int = 0

    @property
    def missed(self) -> int:
        """How often no notification came at all."""
        return max(0, self.answered - self.late)

    @property
    def told(self) -> int:
        """How often there was something to notify of, as far as anybody knows."""
        return self.notified + self.answered

    def share(self, count: int) -> float:
        """Return a count as a share of what there was to notify of, 0 to 1."""
        return count / self.told if self.told else 0.0


class Bound(msgspec.Struct, frozen=True, rename="camel"):
    """How long the mirror might be wrong on a day, as stated, and the longest that a card went unconfirmed, µs."""

    day: str
    stated: int
    worst: int

    @property
    def held(self) -> bool:
        """Whether the stated bound held."""
        return self.worst <= self.stated


class Pass(msgspec.Struct, frozen=True, rename="camel"):
    """A pass of the reconciler; `ended_at` is None while it is not at its end. Instants in µs."""

    kind: str
    began_at: int
    ended_at: int | None
    calls: int
    compared: int
    unknown: int
    failed: int
    repaired: int


class Seen(msgspec.Struct, frozen=True, rename="camel"):
    """Something that the contract does not name, at its first sight, µs; `sample` is where it was seen."""

    kind: str
    name: str
    first_at: int
    sample: str


class Report(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Drift since a time. Durations are in µs; `p50`, `p99` and `longest` are of how long the mirror was wrong."""

    since: int
    whole: Share
    by_word: list[Share]
    by_day: list[Share]
    missed: list[Missed]
    repaired: int
    regressed: int
    p50: int
    p99: int
    longest: int
    messages: int
    duplicates: int
    stale: int
    bounds: list[Bound]
    passes: list[Pass]
    unrepaired: int
    doubtful: int
    unknown: int
    sightings: list[Seen]


def read(tx: Transaction, issuer_id: str, since: int, most: int, counted: int = MAX_CHANGES) -> Report:
    """Return the report of an issuer's mirror since a time (µs), with `most` missed changes listed.

    Durations are of the newest `counted` repairs.
    """
    day = since // DAY
    changes = [_missed(row) for row in tx.all("wrong_changes", issuer_id=issuer_id, since=since, most=counted)]
    tallies = tx.all("list_tallies", issuer_id=issuer_id, day=day)
    by_day, whole = shares_by_day(tallies)
    worded = [row for row in tallies if row[1]]
    counts: Counter[str] = Counter()
    for _, _, told, count in (row for row in tallies if not row[1]):
        counts[told] += count
    answers: dict[str, int] = dict(tx.all("count_answers", issuer_id=issuer_id))
    doubtful = tx.one("count_doubtful", issuer_id=issuer_id)
    times = sorted(change.wrong_for for change in changes)
    return Report(
        since=since, whole=whole, by_word=_shares(worded, 1), by_day=by_day,
        missed=changes[:most], repaired=len(changes), regressed=sum(each.outcome == "regressed" for each in changes),
        p50=_quantile(times, 0.5), p99=_quantile(times, 0.99), longest=times[-1] if times else 0,
        messages=sum(row[1] for row in tx.all("list_heard", issuer_id=issuer_id, hour=since // HOUR)),
        duplicates=counts["duplicate"], stale=counts["stale"],
        bounds=[Bound(_day(row[0]), row[1], row[2]) for row in tx.all("list_bounds", issuer_id=issuer_id, day=day)],
        passes=[Pass(*row[1:]) for row in tx.all("list_passes", issuer_id=issuer_id, since=since, most=MAX_PASSES)],
        unrepaired=answers.get("failed", 0), unknown=answers.get("unknown", 0), doubtful=doubtful[0] if doubtful else 0,
        sightings=[_seen(row) for row in tx.all("list_sightings", issuer_id=issuer_id, most=MAX_SIGHTINGS, length=300)],
    )  # fmt: skip


def _missed(row: Row) -> Missed:
    learned_at, wrong_since, card_id, operation_id, outcome, stage_before, shipment_before, stage, shipment = row
    before = "" if stage_before is None else _words(stage_before, shipment_before)
    return Missed(card_id, operation_id, before, _words(stage, shipment), wrong_since, learned_at, outcome)


def _words(stage: str, shipment: str | None) -> str:
    return f"{stage} {shipment}" if shipment else stage


def shares_by_day(tallies: Sequence[Row]) -> tuple[list[Share], Share]:
    """Return how each day of `list_tallies` was told, by its date, and how all of them were."""
    worded = [row for row in tallies if row[1]]
    return _shares([(_day(row[0]), *row[1:]) for row in worded], 0), _share("", worded)


def _shares(rows: Iterable[Row], place: int) -> list[Share]:
    """Return the shares by what stands at `place` of each row of tallies."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[place], []).append(row)
    return [_share(name, groups[name]) for name in sorted(groups, key=_place)]


def _place(name: str) -> tuple[int, str]:
    """Return where a word stands among the others: as a card passes them, what is not published last."""
    return _ORDER.get(name, len(_ORDER)), name


_ORDER = {str(word): place for place, word in enumerate([*RANK, *SHIPMENT_RANK])}


def _share(name: str, rows: Sequence[Row]) -> Share:
    counts: Counter[str] = Counter()
    for _, _, told, count in rows:
        counts[told] += count
    return Share(name, counts["notified"], counts["answered"], counts["late"], counts["inferred"])


def _quantile(times: Sequence[int], share: float) -> int:
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0


def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def _seen(row: Row) -> Seen:
    return Seen(row[0], row[1], row[2], bytes(row[3]).decode("utf-8", "replace"))


def begin_of(days: int, now: int) -> int:
    """Return the beginning of the UTC day so many days before today's end, µs; 1 is today."""
    midnight = datetime.fromtimestamp(now / 1_000_000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return round((midnight - timedelta(days=days - 1)).timestamp()) * 1_000_000
