"""Whether an issuer's mirror is well: what is heard, what is doubtful, what is behind."""

import msgspec

from cardtrail.db import Transaction
from cardtrail.issuer.passes import KINDS
from cardtrail.issuer.silence import HOUR, WEEK, WEEKS, Silence, silence_of

LATE_HOOK = 3_600_000_000
"""A hook that has not been told of a change for so long is behind, µs."""


class Hooked(msgspec.Struct, frozen=True):
    """How many changes a hook has not been told of yet, and for how long it has not been told, µs."""

    name: str
    behind: int
    told_at: int


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """How a mirror is. `pulled_at`: when the feed was read to its end; `pass_open`: a pass is not at its end.

    `looks` is how many cards wait for their last look, which the calls of the budget were not enough for yet.
    """

    silence: Silence
    pulled_at: int | None
    doubtful: int
    looks: int
    answers: dict[str, int]
    pass_open: bool
    hooks: list[Hooked]

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
        if failed := self.answers.get("failed", 0):
            found.append(f"{failed:,} cards were not answered when they were asked for last")
        return found


def read(tx: Transaction, issuer_id: str, now: int, limit: int = 0) -> Health:
    """Return how an issuer's mirror is; `now` and the silence's `limit` in µs."""
    row = tx.one("find_issuer", issuer_id=issuer_id)
    hours = [each[0] for each in tx.all("list_heard", issuer_id=issuer_id, hour=now // HOUR - WEEK * WEEKS)]
    doubtful = tx.one("count_doubtful", issuer_id=issuer_id)
    looks = tx.one("count_looks", issuer_id=issuer_id, now=now)
    newest = tx.one("newest_change", issuer_id=issuer_id)
    return Health(
        silence=silence_of(hours, row[4] if row else None, now, limit),
        pulled_at=row[2] if row else None,
        doubtful=doubtful[0] if doubtful else 0,
        looks=looks[0] if looks else 0,
        answers={answer: count for answer, count in tx.all("count_answers", issuer_id=issuer_id) if answer},
        pass_open=any(tx.one("open_pass", issuer_id=issuer_id, kind=kind) for kind in KINDS),
        hooks=[
            Hooked(name, max(0, (newest[0] if newest and newest[0] else 0) - number), told_at)
            for name, number, told_at in tx.all("list_hooks", issuer_id=issuer_id)
        ],
    )  # fmt: skip
