"""Taking observations into the mirror: everything that one transaction does. Law 3.

The issuer's row is locked first, so that whoever writes to an issuer's mirror does so alone and its count of changes
is in commit order. Then what is known of the cards is read, all observations are folded in memory, and what changed is
written, each kind of row in one statement.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from cardtrail.db import Transaction
from cardtrail.errors import InputError
from cardtrail.issuer.counts import moves_of
from cardtrail.issuer.due import key_of
from cardtrail.issuer.erase import erased
from cardtrail.issuer.lease import check_fence
from cardtrail.issuer.rows import Card, card_of, card_rows, change_row, confirmed_row, known_of, operation_row
from cardtrail.issuer.schedule import Plan, Schedule, knowledge_of
from cardtrail.issuer.standing import (
    CHANGING,
    DAY,
    FOLDED,
    Duplicate,
    Known,
    Observed,
    Outcome,
    Stale,
    Taken,
    Tally,
    Told,
    taken,
)
from cardtrail.protocol.codec import ISSUER_ID
from cardtrail.protocol.reading import operation_of

MAX_SAMPLE = 65_536
"""Most of what was not understood that is kept as a sample, bytes."""
MAX_NAME = 200
"""Longest name of a sighting, characters."""
WHOLE_KINDS = frozenset({"element", "answer"})
"""Kinds of sightings that are kept whole, because they could not be read."""
MAX_SIGHTINGS = 10_000
"""Most sightings of an issuer; a server that invents names all the time must not fill the disk."""

HOUR = 3_600_000_000
Key = tuple[str, str]
"""Card id, operation id."""


class Sighting(msgspec.Struct, frozen=True):
    """Something that the contract does not name: of which kind, its name, and where it was seen."""

    kind: str
    name: str
    sample: bytes


class Asked(msgspec.Struct, frozen=True):
    """That a card was asked for, and what came: "found", "unknown" (404) or "failed"; `digest` is of the answer."""

    answer: str
    digest: bytes | None = None


class Confirmed(NamedTuple):
    """A card that was asked for and is as it was, by the digest of its answer, and how it is planned from now on."""

    card_id: str
    digest: bytes
    asks: int
    plan: Plan


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction takes in. `now` is wall-clock µs.

    `ticket` is from before the questions whose outcome is in `asked`, by card, and in `confirmed`. `heard` is how many
    messages came, and `mark` the newest high-water mark. `cursor` is where to read on in the feed, `pulled_at` when its
    end was asked for. `fence` is the reconciler's, whose lease must still hold.
    """

    now: int
    observed: Sequence[Observed] = ()
    heard: int = 0
    mark: str | None = None
    asked: Mapping[str, Asked] = {}
    confirmed: Sequence[Confirmed] = ()
    ticket: int = 0
    cursor: str | None = None
    pulled_at: int | None = None
    sightings: Sequence[Sighting] = ()
    fence: int | None = None


class _Fold:
    """The orders of some cards while observations are folded in."""

    def __init__(self, known: Mapping[Key, Known], cards: Mapping[str, Card], number: int) -> None:
        self.known = dict(known)
        self.cards = cards
        self.number = number
        self.changed: dict[Key, list[Taken]] = {}
        self.confirmed: dict[Key, Known] = {}
        self.outcomes: list[Outcome] = []
        self.overtaken: set[str] = set()
        """Cards whose answer was older than what the mirror had."""
        self.tallies: Counter[Tally] = Counter()

    def take(self, observed: Observed) -> None:
        key = observed.operation.card_id, observed.operation.operation_id
        known = self.known.get(key)
        if known is not None and known.forgotten_at is not None:
            observed = msgspec.structs.replace(observed, operation=operation_of(erased(observed.operation.raw)))
        this = taken(known, self._dated(observed), self.number + 1)
        self.outcomes.append(this.outcome)
        self.tallies.update(this.tallies)
        if isinstance(this.outcome, Duplicate | Stale) and observed.source == "notification":
            told = "duplicate" if isinstance(this.outcome, Duplicate) else "stale"
            self.tallies[Tally(observed.learned_at // DAY, "", told)] += 1
        if isinstance(this.outcome, Stale) and observed.source == "answer":
            self.overtaken.add(observed.operation.card_id)
        if this.known is None:
            return
        self.known[key] = this.known
        if isinstance(this.outcome, CHANGING):
            self.number += 1
            self.changed.setdefault(key, []).append(this)
        else:
            self.confirmed[key] = this.known

    def _dated(self, observed: Observed) -> Observed:
        """Return an answer without its ticket where the card was asked for again meanwhile: it is not the latest."""
        card = self.cards.get(observed.operation.card_id)
        if observed.asked_at is None or card is None or observed.asked_at >= card.asked_no:
            return observed
        return msgspec.structs.replace(observed, asked_at=None)


def taking(issuer_id: str, batch: Batch, schedule: Schedule) -> Callable[[Transaction], list[Outcome]]:
    """Return the work that takes a batch in and returns the outcome of each observation.

    Raises InputError; the work raises LeaseLost.
    """
    if not ISSUER_ID.fullmatch(issuer_id):
        raise InputError("issuerId", "10 of A-Z, a-z, 0-9, - and _ expected")

    def work(tx: Transaction) -> list[Outcome]:
        number = locked(tx, issuer_id)
        if batch.fence is not None:
            check_fence(tx, issuer_id, batch.fence)
        pairs = [(issuer_id, card_id) for card_id in _cards(batch)]
        known = [known_of(row) for row in tx.each("operations", pairs)]
        cards = {row[0]: card_of(row) for row in tx.each("cards", pairs)}
        fold = _Fold({(each.card_id, each.operation_id): each for each in known}, cards, number)
        for observed in batch.observed:
            fold.take(observed)
        _write(tx, issuer_id, batch, fold)
        _write_cards(tx, issuer_id, batch, fold, schedule)
        _write_issuer(tx, issuer_id, batch, fold, number)
        return fold.outcomes

    return work


def locked(tx: Transaction, issuer_id: str) -> int:
    """Return the count of an issuer's mirror, which nobody else writes to until the commit."""
    row = tx.one("lock_issuer", issuer_id=issuer_id)
    if row is None:
        tx.run("add_issuer", issuer_id=issuer_id)
        row = tx.one("lock_issuer", issuer_id=issuer_id)
    assert row is not None  # noqa: S101 -- it was just added, and rows of issuers are never taken away
    return int(row[0])


def _cards(batch: Batch) -> list[str]:
    return sorted({observed.operation.card_id for observed in batch.observed} | set(batch.asked))


def _write(tx: Transaction, issuer_id: str, batch: Batch, fold: _Fold) -> None:
    """Write what became of the orders."""
    newest = [takens[-1] for takens in fold.changed.values()]
    put = [operation_row(issuer_id, fold.known[_key(each)], each.outcome.operation.raw) for each in newest]
    tx.each("put_operations", put)
    confirmed = [each for key, each in fold.confirmed.items() if key not in fold.changed]
    tx.each("confirm_operations", [confirmed_row(issuer_id, each) for each in confirmed])
    has_answers = any(observed.source == "answer" for observed in batch.observed)  # only these tell what was missed
    pulled_at = _pulled_at(tx, issuer_id) if has_answers and fold.changed else None
    changes = [
        change_row(issuer_id, each, _wrong_since(each, fold.cards.get(key[0]), pulled_at), dwelt_in(each))
        for key, takens in fold.changed.items()
        for each in takens
    ]
    tx.each("add_changes", changes)
    tallied = [(issuer_id, tally.day, tally.word, tally.told, count) for tally, count in fold.tallies.items()]
    tx.each("add_tallies", sorted(tallied))
    moves = moves_of(fold.changed.values())
    tx.each("add_standing", [(issuer_id, place, count) for place, count in moves])
    _write_sightings(tx, issuer_id, batch)


def _key(each: Taken) -> Key:
    return each.outcome.operation.card_id, each.outcome.operation.operation_id


def _pulled_at(tx: Transaction, issuer_id: str) -> int | None:
    """Return when the platform's changes were last read to their end, µs; None where never."""
    row = tx.one("find_issuer", issuer_id=issuer_id)
    return None if row is None else row[2]


def _wrong_since(each: Taken, card: Card | None, pulled_at: int | None) -> int | None:
    """Return since when the mirror was wrong, at most, where an answer told what no notification had. None elsewhere.

    That is when it happened, as far as the picture tells; or else when the mirror was last known to be right: told of
    the order, answered about the card, or, at `pulled_at`, by all changes of the platform.
    """
    outcome, known = each.outcome, each.known
    if known is None or known.source == "notification":
        return None
    new = [step for step in known.timeline if step.learned_at == known.learned_at]
    if not new:
        return None
    times = (step.happened_at for step in new)  # one that lies ahead of our clock tells nothing of ours
    happened = [at for at in times if at is not None and at <= known.learned_at]
    # A feed that was read to its end has told all, but for an order that was in doubt then.
    read_at = None if outcome.before is not None and outcome.before.doubtful else pulled_at
    confirmed = [at for at in (card and card.checked_at, read_at) if at]
    right = [*confirmed, *([outcome.before.learned_at] if outcome.before else [])]
    if happened:  # not before an answer had confirmed what was there
        earliest = max([min(happened), *confirmed])
    else:
        earliest = max(right) if right else card.known_at if card else known.learned_at
    return min(earliest, known.learned_at)


def dwelt_in(each: Taken) -> str | None:
    """Return where a card was until this change, if notifications told both ends and nothing was left out between."""
    known, before = each.known, each.outcome.before
    if known is None or before is None or {known.source, before.source} != {"notification"}:
        return None
    if any(step.learned_at == known.learned_at and step.told is Told.INFERRED for step in known.timeline):
        return None
    return key_of(knowledge_of(before))


def _write_sightings(tx: Transaction, issuer_id: str, batch: Batch) -> None:
    """Keep what was not understood at its first sight, as long as there is room for it."""
    named = {(each.kind, _name_of(each)): each.sample[:MAX_SAMPLE] for each in batch.sightings}
    if not named:
        return
    row = tx.one("count_sightings", issuer_id=issuer_id)
    room = max(0, MAX_SIGHTINGS - (row[0] if row else 0))
    rows = [(issuer_id, kind, name, batch.now, sample) for (kind, name), sample in sorted(named.items())]
    tx.each("add_sightings", rows[:room])


def _name_of(sighting: Sighting) -> str:
    """Return what tells a sighting from others of its kind; each thing that could not be read is one of its own."""
    name = sighting.name[:MAX_NAME]
    if sighting.kind not in WHOLE_KINDS:
        return name
    return f"{name[: MAX_NAME - 9]} {blake2b(sighting.sample, digest_size=4).hexdigest()}"


def _write_cards(tx: Transaction, issuer_id: str, batch: Batch, fold: _Fold, schedule: Schedule) -> None:
    """Write when each card is to be asked for next: of those that changed, that were asked for, or that are new."""
    orders: dict[str, list[Known]] = {}
    for known in fold.known.values():
        orders.setdefault(known.card_id, []).append(known)
    changed = {card_id for card_id, _ in fold.changed}
    touched = changed | {card_id for card_id, _ in fold.confirmed} | set(batch.asked)
    told = {observed.operation.card_id for observed in batch.observed} - set(batch.asked)
    written = []
    for card_id in sorted(touched):
        card = fold.cards.get(card_id) or Card(card_id=card_id, known_at=batch.now)
        card.seen_at = batch.now
        if card_id in told:
            card.digest = None  # the next answer must be read, although it may be the same as the last one
            card.answer = "" if card.answer == "unknown" else card.answer  # by now the platform knows it
        _ask(batch, card, orders.get(card_id, ()), fold.overtaken)
        if card_id in changed:
            card.asks = 0
        schedule.set(card, [each for each in orders.get(card_id, ()) if each.operation in FOLDED], batch.now)
        written.append(card)
    tx.each("put_cards", card_rows(issuer_id, written))
    tx.each("confirm_cards", [
        (issuer_id, each.card_id, each.digest, *each.plan, batch.ticket, batch.now, each.asks)
        for each in batch.confirmed
    ])  # fmt: skip


def _ask(batch: Batch, card: Card, orders: Sequence[Known], overtaken: Collection[str]) -> None:
    """Keep that a card was asked for.

    The digest is kept only of an answer that the mirror now says, and does not doubt: it need not be read again.
    """
    asked = batch.asked.get(card.card_id)
    if asked is None:
        return
    is_late = batch.ticket <= card.asked_no  # somebody has asked meanwhile, and may have been answered better
    card.asked_no = max(card.asked_no, batch.ticket)
    if asked.answer != "found" and is_late and card.answer == "found":
        return
    card.answer = asked.answer
    card.asks += 1
    if asked.answer != "failed":
        card.checked_at = batch.now
        is_sure = card.card_id not in overtaken and not any(order.doubtful for order in orders)
        card.digest = asked.digest if is_sure else None


def _write_issuer(tx: Transaction, issuer_id: str, batch: Batch, fold: _Fold, number: int) -> None:
    """Count on. What was only confirmed counts, too: a question asked before it must not be taken for a later one."""
    count = fold.number + bool(fold.confirmed or batch.asked or batch.confirmed)
    if batch.heard:
        tx.run("set_heard", issuer_id=issuer_id, number=count, heard_at=batch.now, mark=batch.mark)
        tx.run("add_heard", issuer_id=issuer_id, hour=batch.now // HOUR, messages=batch.heard)
    elif count > number:
        tx.run("set_number", issuer_id=issuer_id, number=count)
    if batch.cursor is not None:
        tx.run("set_cursor", issuer_id=issuer_id, cursor=batch.cursor, pulled_at=batch.pulled_at)


def ticket_of(tx: Transaction, issuer_id: str) -> int:
    """Return a ticket for a question: the count that the next change of the mirror will have, at least."""
    row = tx.one("find_issuer", issuer_id=issuer_id)
    return 1 if row is None else int(row[0]) + 1
