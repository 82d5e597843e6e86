"""The outbox: what becomes of a visible change on its way to endpoints, in the transaction that stored the event.

A notification carries the full picture, so a newer one takes the place of an older one that still waits
(`SUPERSEDED`). Rows are always written in the order of their ids, so that no two transactions wait for each other in a
ring.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import count

import msgspec

from cardtrail.db import Row, Transaction
from cardtrail.platform.endpoint import Config, EndpointState, Mode

MAX_ISSUERS = 10_000
"""Most issuers whose endpoints are remembered; then all are forgotten and read again."""
NOTIFICATION_ID = re.compile(r"[0-9a-f]{27}")
LIVE, REPLAY, EXACT = 0, 1, 2
"""Lots of the queue: live traffic goes first."""


class NotificationState(StrEnum):
    """Where a notification stands; nothing but these is legal, and the database says so too."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    SUPERSEDED = "SUPERSEDED"
    REFUSED = "REFUSED"
    DEAD = "DEAD"
    WITHHELD = "WITHHELD"


class Change(msgspec.Struct, frozen=True):
    """A visible change of an operation: one step of its `sequence`.

    `is_published` says whether the published form differs from the one before, or only our extension of it. `cause` is
    the call that made it.
    """

    issuer_id: str
    card_id: str
    operation_id: str
    operation: str
    stage: str
    sequence: int
    picture: bytes
    strict_length: int
    is_published: bool
    cause: str = ""


class Rule(msgspec.Struct, frozen=True):
    """An endpoint as far as ingest must know it."""

    endpoint_id: str
    state: EndpointState
    config: Config

    def wants(self, change: Change) -> bool:
        """Tell whether a change is for this endpoint, and whether it sees a difference."""
        visible = change.is_published or not self.config.strict
        return visible and self.config.wants(change.operation, change.stage)


def new_ids(now: int) -> Callable[[], str]:
    """Return a source of ids that sort by time and then by call; each has 27 characters. `now` in µs."""
    start = f"{now:014x}{secrets.token_hex(4)}"
    numbers = count()
    return lambda: f"{start}{next(numbers):05x}"


def made_at(notification_id: str) -> int:
    """Return when an id was made, µs."""
    return int(notification_id[:14], 16)


def id_before(at: int) -> str:
    """Return what sorts before every id made at `at` (µs) or later, and after all others."""
    return f"{max(0, at):014x}"


class Outbox:
    """Puts changes on their way. `clock` gives process time in µs: notifications are due by it."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._rules: dict[str, tuple[str, tuple[Rule, ...]]] = {}

    @property
    def is_used(self) -> bool:
        """Whether any issuer whose changes came through this process has endpoints."""
        return bool(self._rules)

    def enqueue(self, tx: Transaction, changes: Sequence[Change], versions: Mapping[str, str]) -> int:
        """Enqueue each change for each endpoint that wants it; return how many rows were made.

        `versions` has what `issuer_counter.endpoints` says, read under the lock that numbers the changes; so an
        endpoint that is added or changed at the same time is seen, or comes after these changes.
        """
        told = [change for change in changes if versions[change.issuer_id]]
        if not told:
            return 0
        rules = self._rules_of(tx, {change.issuer_id: versions[change.issuer_id] for change in told})
        wanted = [(change, rule) for change in told for rule in rules[change.issuer_id] if rule.wants(change)]
        if wanted:
            self._write(tx, wanted)
        return len(wanted)

    def _rules_of(self, tx: Transaction, versions: Mapping[str, str]) -> dict[str, tuple[Rule, ...]]:
        known = {issuer: self._rules.get(issuer, ("", ())) for issuer in versions}
        stale = sorted(issuer for issuer, (version, _) in known.items() if version != versions[issuer])
        if stale:
            found: dict[str, list[Rule]] = {issuer: [] for issuer in stale}
            for issuer_id, endpoint_id, state, config in tx.each("endpoints_of_issuers", [(one,) for one in stale]):
                found[issuer_id].append(Rule(endpoint_id, EndpointState(state), config_of(config)))
            if len(self._rules) > MAX_ISSUERS:
                self._rules = {}
            known |= {issuer: (versions[issuer], tuple(rules)) for issuer, rules in found.items()}
            self._rules |= {issuer: known[issuer] for issuer in stale}
        return {issuer: rules for issuer, (_, rules) in known.items()}

    def _write(self, tx: Transaction, wanted: Sequence[tuple[Change, Rule]]) -> None:
        """Write the rows. In `newest` mode an order's last step is sent, and what came before it is superseded."""
        now, new_id = self._clock(), new_ids(self._clock())
        last = {_key(change, rule): change.sequence for change, rule in wanted}
        supersede(tx, now, (key for key, sequence in _firsts(wanted).items() if sequence > 1))
        rows = []
        for change, rule in wanted:
            sent = rule.config.mode is Mode.EVERY_STEP or change.sequence == last[_key(change, rule)]
            rows.append(_row(new_id(), change, rule, now, sent=sent))
        tx.each("add_notifications", rows)


OrderKey = tuple[str, str, str, str]
"""Issuer, card, operation, endpoint."""


def _key(change: Change, rule: Rule) -> OrderKey:
    return change.issuer_id, change.card_id, change.operation_id, rule.endpoint_id


def _firsts(wanted: Iterable[tuple[Change, Rule]]) -> dict[OrderKey, int]:
    """Return the first sequence of each order here, for endpoints that want the newest only."""
    firsts: dict[OrderKey, int] = {}
    for change, rule in wanted:
        if rule.config.mode is Mode.NEWEST:
            firsts.setdefault(_key(change, rule), change.sequence)
    return firsts


def _row(notification_id: str, change: Change, rule: Rule, now: int, *, sent: bool) -> Row:
    state = NotificationState.PENDING if rule.state is EndpointState.ENABLED else NotificationState.WITHHELD
    if not sent:
        state = NotificationState.SUPERSEDED
    settled_at = now if state is NotificationState.SUPERSEDED else None
    return (
        change.issuer_id, notification_id, rule.endpoint_id, change.card_id, change.operation_id, change.operation,
        change.sequence, state.value, LIVE, now, settled_at, change.picture, change.strict_length,
        change.cause,
    )  # fmt: skip


def supersede(tx: Transaction, now: int, keys: Iterable[OrderKey]) -> None:
    """Supersede what still waits of these orders."""
    found = tx.each("unsent_of_orders", sorted(keys))
    tx.each("supersede", [(issuer_id, each, now) for issuer_id, each in sorted(row[:2] for row in found)])


_config = msgspec.json.Decoder(Config)


def config_of(text: str) -> Config:
    """Return a stored configuration."""
    return _config.decode(text)
