"""Replay: send again what was sent, what was not, and what never was, in steps of bounded size.

By default an order's newest picture goes out once, whatever was selected of it; exactly, each row goes out as it is
stored. Replays wait behind live traffic. Every query filters by the one issuer whose call it is.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.platform.endpoint import EndpointState
from cardtrail.platform.ledger import OPEN, Entry, Selection, entries_of
from cardtrail.platform.outbox import EXACT, REPLAY, NotificationState, OrderKey, Rule, config_of, new_ids
from cardtrail.platform.sweep import DAY

STEP = 500
"""Most notifications or orders of one transaction."""
MAX_REPLAY = 100_000
"""Most notifications that one call sends again; `more` says that there are others."""


class Replayed(msgspec.Struct, frozen=True, rename="camel"):
    """What came of a replay: how many were meant, go out again, were on their way already, or are withheld.

    `more` where not all that was meant was looked at.
    """

    matched: int = 0
    replayed: int = 0
    pending: int = 0
    withheld: int = 0
    more: bool = False

    def __add__(self, other: "Replayed") -> "Replayed":
        return Replayed(
            self.matched + other.matched, self.replayed + other.replayed, self.pending + other.pending,
            self.withheld + other.withheld, self.more or other.more,
        )  # fmt: skip


class Replay:
    """Sends again. `clock` gives process time in µs; `settled_days`: how long what was delivered is kept, 0 for ever.

    Of an order that has not changed for longer nobody knows whether it was sent, so it counts as sent.
    """

    def __init__(self, db: Database, clock: Callable[[], int], settled_days: int = 0) -> None:
        self._db = db
        self._clock = clock
        self._settled = settled_days * DAY

    async def run(
        self, issuer_id: str, selection: Selection, *, exact: bool = False, dry_run: bool = False
    ) -> Replayed:
        """Send again what is meant; `dry_run` only counts. Raises InputError, NotFound or Conflict.

        Exactly what is stored is refused for strict endpoints: without a sequence an old picture would look new.
        """
        if selection == Selection():
            raise InputError("", "say which notifications: ids, state, times, card or endpoint", "FIELD_INVALID_VALUE")
        if exact and not dry_run:  # refused as a whole, not in the middle
            await self.run(issuer_id, selection, exact=True, dry_run=True)
        total, after, seen = Replayed(), "", set[OrderKey]()
        while total.matched < MAX_REPLAY:
            step = _Step(issuer_id, await self._rules(issuer_id, selection.endpoint_id), seen, self._clock())
            entries = await self._meant(issuer_id, selection, after)
            total += await self._again(step, entries, exact=exact, dry_run=dry_run)
            seen |= step.chosen
            if len(entries) < STEP:
                return total
            after = entries[-1].notification_id
        return msgspec.structs.replace(total, more=True)

    async def _meant(self, issuer_id: str, selection: Selection, after: str) -> list[Entry]:
        """Read the next step's rows, before any lock: a selection that fits few of many takes long to read."""
        return await self._db.read(lambda tx: entries_of(tx, issuer_id, selection, after, STEP))

    async def _again(self, step: "_Step", entries: Sequence[Entry], *, exact: bool, dry_run: bool) -> Replayed:
        if not entries:
            return Replayed()
        run = self._db.read if dry_run else self._db.transact
        return await run(lambda tx: step.again(tx, entries, exact=exact, dry_run=dry_run))

    async def run_never_attempted(self, issuer_id: str, endpoint_id: str, *, dry_run: bool = False) -> Replayed:
        """Send each order's newest picture to an endpoint to which nothing of the order was ever sent.

        Raises NotFound, or Conflict if the endpoint is disabled.
        """
        total, since = Replayed(), 0
        while total.matched < MAX_REPLAY:
            step = _Step(issuer_id, await self._rules(issuer_id, endpoint_id), set(), self._clock())
            if not step.is_enabled(endpoint_id):
                raise Conflict(f"endpoint {endpoint_id} is disabled; enable it first")
            step.known_since = await self._known_since(issuer_id, endpoint_id)
            found, since = await self._missing(step, endpoint_id, since, dry_run=dry_run)
            total += found
            if not since:
                return total
        return msgspec.structs.replace(total, more=True)

    async def _missing(self, step: "_Step", endpoint_id: str, since: int, *, dry_run: bool) -> tuple[Replayed, int]:
        found, last = await self._db.read(lambda tx: step.missing(tx, endpoint_id, since, dry_run=True))
        if dry_run or not found.matched:  # most orders were sent: no lock to see that
            return found, last
        return await self._db.transact(lambda tx: step.missing(tx, endpoint_id, since, dry_run=False))

    async def _known_since(self, issuer_id: str, endpoint_id: str) -> int:
        """Return since when all that was sent to an endpoint is known, µs; 0 where nothing can be forgotten yet."""
        row = await self._db.read(lambda tx: tx.one("find_endpoint", issuer_id=issuer_id, endpoint_id=endpoint_id))
        since = self._clock() - self._settled
        return since if self._settled and row is not None and row[7] < since else 0

    async def _rules(self, issuer_id: str, endpoint_id: str) -> dict[str, Rule]:
        rows = await self._db.read(lambda tx: tx.each("endpoints_of_issuers", [(issuer_id,)]))
        rules = {row[1]: Rule(row[1], EndpointState(row[2]), config_of(row[3])) for row in rows}
        if endpoint_id and endpoint_id not in rules:
            raise NotFound(f"issuer {issuer_id} has no endpoint {endpoint_id}")
        return rules


class _Step:
    """One transaction of a replay; `seen` has the orders that were replayed before, `chosen` those of this one.

    It may be run again, so it must not change what it began with.
    """

    def __init__(self, issuer_id: str, rules: dict[str, Rule], seen: set[OrderKey], now: int) -> None:
        self.issuer_id = issuer_id
        self.rules = rules
        self.seen = seen
        self.chosen: set[OrderKey] = set()
        self.now = now
        self.known_since = 0

    def again(self, tx: Transaction, entries: Sequence[Entry], *, exact: bool, dry_run: bool) -> Replayed:
        """Send these rows again; return what came of it."""
        self._lock(tx, dry_run=dry_run)
        live = [each for each in entries if self.is_enabled(each.endpoint_id)]
        done = self._exactly(tx, live, dry_run=dry_run) if exact else self._newest(tx, live, dry_run=dry_run)
        return Replayed(len(entries), done.replayed, done.pending, len(entries) - len(live))

    def missing(self, tx: Transaction, endpoint_id: str, since: int, *, dry_run: bool) -> tuple[Replayed, int]:
        """Send the next orders of which nothing was ever sent; return what came of it and the last change, else 0."""
        self._lock(tx, dry_run=dry_run)
        orders = tx.all("orders_after", issuer_id=self.issuer_id, since=since, most=STEP)
        keys = [(self.issuer_id, row[1], row[2], endpoint_id) for row in orders]
        sent: dict[str, list[Row]] = {}
        for row in tx.each("sent_of_orders", sorted(keys)):
            sent.setdefault(row[3], []).append(row)
        wanted = [row for row in orders if self._is_missing(row, sent.get(row[2], []), endpoint_id)]
        new = [row for row in wanted if not sent.get(row[2])]
        old = [max(sent[row[2]], key=lambda each: (each[4], each[0])) for row in wanted if sent.get(row[2])]
        waiting = [row for row in old if row[5] == NotificationState.PENDING]
        if wanted and not dry_run:
            self._heal(tx, {endpoint_id})
            self._add(tx, endpoint_id, new)
            self._requeue(tx, [(row[0], row[7], row[2], row[3]) for row in old if row not in waiting])
        told = Replayed(len(wanted), len(wanted) - len(waiting), len(waiting))
        return told, orders[-1][0] if len(orders) == STEP else 0

    def _lock(self, tx: Transaction, *, dry_run: bool) -> None:
        """Keep changes out: or what is newest here would go out after a newer one, and look new where strict."""
        if not dry_run:
            tx.one("lock_counter", issuer_id=self.issuer_id)

    def is_enabled(self, endpoint_id: str) -> bool:
        """Tell whether an endpoint is sent to."""
        return endpoint_id in self.rules and self.rules[endpoint_id].state is EndpointState.ENABLED

    def _is_missing(self, order: Row, sent: Sequence[Row], endpoint_id: str) -> bool:
        if any(row[8] for row in sent) or (not sent and order[6] < self.known_since):
            return False
        picture = msgspec.json.decode(bytes(order[4]))
        stage = picture.get("details", {}).get("status", "")
        return self.rules[endpoint_id].config.wants(picture["operation"], stage)

    def _exactly(self, tx: Transaction, entries: Sequence[Entry], *, dry_run: bool) -> Replayed:
        for entry in entries:
            if self.rules[entry.endpoint_id].config.strict:
                raise Conflict(f"endpoint {entry.endpoint_id} is strict: an old picture would look new there")
        idle = [entry for entry in entries if entry.state is not NotificationState.PENDING]
        if dry_run:
            return Replayed(replayed=len(idle), pending=len(entries) - len(idle))
        rows = [(self.issuer_id, each.notification_id, each.round, self.now) for each in idle]
        self._heal(tx, {each.endpoint_id for each in entries})
        changed = tx.each("requeue_exactly", rows)
        return Replayed(replayed=len(changed), pending=len(entries) - len(idle))

    def _newest(self, tx: Transaction, entries: Sequence[Entry], *, dry_run: bool) -> Replayed:
        """Send each order's newest picture once, in the place of the newest row that was meant."""
        chosen: dict[OrderKey, Entry] = {}
        for entry in entries:
            key = (self.issuer_id, entry.card_id, entry.operation_id, entry.endpoint_id)
            if key not in self.seen and (key not in chosen or entry.sequence >= chosen[key].sequence):
                chosen[key] = entry
        self.chosen = set(chosen)
        rows = tx.each("sent_of_orders", sorted(chosen))
        newest: dict[tuple[str, str, str], int] = {}
        for row in rows:
            newest[row[2], row[3], row[1]] = max(row[4], newest.get((row[2], row[3], row[1]), 0))
        waiting = {
            (row[2], row[3], row[1]) for row in rows
            if row[5] == NotificationState.PENDING and row[6] < EXACT and row[4] == newest[row[2], row[3], row[1]]
        }  # fmt: skip
        idle = {key: entry for key, entry in chosen.items() if key[1:] not in waiting}
        if dry_run:
            return Replayed(replayed=len(idle), pending=len(chosen) - len(idle))
        self._heal(tx, {key[3] for key in chosen})
        taken = self._requeue(
            tx, [(each.notification_id, each.round, each.card_id, each.operation_id) for each in idle.values()]
        )
        sent = {key[1:] for key, entry in idle.items() if entry.notification_id in taken}
        stuck = [row[0] for row in rows if row[5] in OPEN and row[0] not in taken and (row[2], row[3], row[1]) in sent]
        tx.each("supersede_stuck", [(self.issuer_id, each, self.now) for each in sorted(stuck)])
        return Replayed(replayed=len(taken), pending=len(chosen) - len(idle))

    def _requeue(self, tx: Transaction, rows: Iterable[tuple[str, int, str, str]]) -> set[str]:
        """Send rows `(id, round, card, operation)` again with their order's newest picture, if it is kept.

        Return the ids of those that are; what has begun to wait meanwhile is not.
        """
        wanted = sorted(rows)
        newest = {
            row[0]: row[1:]
            for row in tx.each("newest_of_orders", sorted({(self.issuer_id, each[2], each[3]) for each in wanted}))
        }
        fresh = [(self.issuer_id, each[0], each[1], self.now, *newest[each[3]]) for each in wanted if each[3] in newest]
        kept = [(self.issuer_id, each[0], each[1], self.now) for each in wanted if each[3] not in newest]
        return {row[0] for row in (*tx.each("requeue", fresh), *tx.each("requeue_exactly", kept))}

    def _add(self, tx: Transaction, endpoint_id: str, orders: Sequence[Row]) -> None:
        new_id = new_ids(self.now)
        rows = []
        for _, card_id, operation_id, sequence, picture, strict_length, _, cause in orders:
            operation = msgspec.json.decode(bytes(picture))["operation"]
            rows.append((
                self.issuer_id, new_id(), endpoint_id, card_id, operation_id, operation, sequence,
                NotificationState.PENDING.value, REPLAY, self.now, None, picture, strict_length,
                cause,
            ))  # fmt: skip
        tx.each("add_notifications", rows)

    def _heal(self, tx: Transaction, endpoint_ids: Iterable[str]) -> None:
        """Whoever asks for a replay expects it to be tried now, also where the circuit is open.

        The lane's row is locked before the notifications, as by its chores.
        """
        for endpoint_id in sorted(endpoint_ids):
            tx.run("heal_lane", issuer_id=self.issuer_id, endpoint_id=endpoint_id)
