"""Whether an issuer's mirror is well: what is heard, what is doubtful, what is behind."""

from datetime import date

import msgspec

from cardtrail.db import Transaction
from cardtrail.issuer.passes import KINDS
from cardtrail.issuer.silence import HOUR, WEEK, WEEKS, Silence, silence_of
from cardtrail.issuer.standing import DAY
from cardtrail.meters.meter import COUNTED

_EPOCH = date(1970, 1, 1).toordinal()
UNKEPT = 2 * DAY
"""A mirror that nobody has kept right for so long has lost its reconciler, µs."""
LATE_HOOK = 3_600_000_000
"""A hook that has not been told of a change for so long is behind, µs."""


class Hooked(msgspec.Struct, frozen=True):
    """How many changes a hook has not been told of yet, and for how long it has not been told, µs."""

    name: str
    behind: int
    told_at: int


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """How a mirror is. Times are µs, counts of orders and looks go no further than COUNTED and one.

    `pulled_at`: when the feed was read to its end; `passed_at`: when a pass came to its end; `pass_open`: one has not.
    `checked_at`: when the open card was told of or asked for of which that is longest ago. `bound` and `worst`: how
    long the mirror may be wrong at most, and was, as stated last, on `bound_day` since 1970. `looks` is how many cards
    wait for their last look, which the calls of the budget were not enough for yet. `sightings`: what the contract does
    not name.
    """

    silence: Silence
    pulled_at: int | None
    doubtful: int
    looks: int
    answers: dict[str, int]
    pass_open: bool
    hooks: list[Hooked]
    doubtful_orders: int = 0
    passed_at: int | None = None
    checked_at: int | None = None
    bound: int | None = None
    worst: int | None = None
    bound_day: int | None = None
    sightings: int = 0

    @property
    def kept_at(self) -> int | None:
        """When somebody was known to keep the mirror right, to the day where that is all that is known; None: never."""
        bounded = None if self.bound_day is None else self.bound_day * DAY
        return max((at for at in (bounded, self.pulled_at, self.passed_at) if at is not None), default=None)

    def troubles(self, now: int) -> list[str]:
        """Return what a person should look at, in words; nothing where all is well."""
        found = []
        if self.silence.rings:
            found.append(f"SILENT for {self.silence.seconds / 3600:.1f} h: {self.silence.why}")
        found += [
            f"hook {hook.name} is {hook.behind:,} changes behind"
            for hook in self.hooks
            if hook.behind and now - hook.told_at > LATE_HOOK
        ]
        kept = self.kept_at
        if kept is not None and now - kept > UNKEPT:
            found.append(f"nobody has kept the mirror right since {_date(kept // DAY)}")
        if failed := self.answers.get("failed", 0):
            found.append(f"{failed:,} card{' was' if failed == 1 else 's were'} not answered when last asked for")
        return found


def read(tx: Transaction, issuer_id: str, now: int, limit: int = 0) -> Health:
    """Return how an issuer's mirror is; `now` and the silence's `limit` in µs."""
    row = tx.one("find_issuer", issuer_id=issuer_id)
    hours = [each[0] for each in tx.all("list_heard", issuer_id=issuer_id, hour=now // HOUR - WEEK * WEEKS)]
    bound = tx.one("newest_bound", issuer_id=issuer_id)
    return Health(
        silence=silence_of(hours, row[4] if row else None, now, limit),
        pulled_at=row[2] if row else None,
        doubtful=_number(tx, "count_doubtful", issuer_id=issuer_id),
        looks=_number(tx, "count_looks", issuer_id=issuer_id, now=now, most=COUNTED + 1),
        answers={answer: count for answer, count in tx.all("count_answers", issuer_id=issuer_id) if answer},
        pass_open=any(tx.one("open_pass", issuer_id=issuer_id, kind=kind) for kind in KINDS),
        hooks=_hooks(tx, issuer_id),
        doubtful_orders=_number(tx, "count_doubtful_orders", issuer_id=issuer_id, most=COUNTED + 1),
        passed_at=_first(tx, "passed", issuer_id=issuer_id),
        checked_at=_first(tx, "oldest_check", issuer_id=issuer_id),
        bound=bound[0] if bound else None,
        worst=bound[1] if bound else None,
        bound_day=bound[2] if bound else None,
        sightings=_number(tx, "count_sightings", issuer_id=issuer_id),
    )  # fmt: skip


def _hooks(tx: Transaction, issuer_id: str) -> list[Hooked]:
    def behind(number: int) -> int:
        return _number(tx, "changes_behind", issuer_id=issuer_id, after=number, most=COUNTED + 1)

    return [
        Hooked(name, behind(number), told_at) for name, number, told_at in tx.all("list_hooks", issuer_id=issuer_id)
    ]


def _date(day: int) -> str:
    return date.fromordinal(_EPOCH + day).isoformat()


def _first(tx: Transaction, name: str, **where: object) -> int | None:
    row = tx.one(name, **where)
    return row[0] if row else None


def _number(tx: Transaction, name: str, **where: object) -> int:
    return _first(tx, name, **where) or 0
