"""Who may call: parties, their rights and their public keys. Every change is audited.

A party's *generation* rises whenever a token issued before must no longer be believed: a revocation, or a
change of rights. Tokens carry the generation they were issued under.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.pages.door.change import Changed
from cardtrail.platform.audit import change
from cardtrail.protocol.codec import ISSUER_ID
from cardtrail.protocol.token import jwk_of, kid_of, public_key_of

READ = "d1-api:physical-card:read"
WRITE = "d1-api:physical-card:write"
INGEST = "cardtrail:ingest"
OPERATE = "cardtrail:operate"
ALL = "*"
"""In a list of issuers, sources or kinds: every one."""
DEFAULT_RATE = 2_000
"""Calls a second a party may make of one process."""
MAX_RATE = 1_000_000
MAX_NAMES = 10_000
"""Most issuers, sources or kinds of one party."""
MAX_KEYS = 20
"""Most active keys of one party."""

_PARTY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KID = re.compile(r"[\x21-\x7e]{1,128}")
_SOURCE = re.compile(r"(?:site|carrier):[a-z0-9._-]{1,40}")
_KIND = re.compile(r"[a-z_]{1,20}")
_NONE: frozenset[str] = frozenset()


class PartyKind(StrEnum):
    """What a party is."""

    ISSUER = "ISSUER"
    AGGREGATOR = "AGGREGATOR"
    PRODUCER = "PRODUCER"
    OPERATOR = "OPERATOR"


class PartyState(StrEnum):
    """Whether a party or a key is believed."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


SCOPES: dict[PartyKind, frozenset[str]] = {
    PartyKind.ISSUER: frozenset({READ, WRITE}),
    PartyKind.AGGREGATOR: frozenset({READ, WRITE}),
    PartyKind.PRODUCER: frozenset({INGEST}),
    PartyKind.OPERATOR: frozenset({OPERATE}),
}
"""What each kind may be granted at most, and is where nothing else is said."""


class Party(msgspec.Struct, frozen=True):
    """Who may call, and what it is limited to; `rate` in calls a second and process, `created_at` in µs."""

    party_id: str
    kind: PartyKind
    issuers: frozenset[str] = _NONE
    sources: frozenset[str] = _NONE
    kinds: frozenset[str] = _NONE
    scopes: frozenset[str] = _NONE
    strict: bool = False
    rate: int = DEFAULT_RATE
    state: PartyState = PartyState.ACTIVE
    generation: int = 1
    created_at: int = 0

    def may_act_for(self, issuer_id: str) -> bool:
        """Tell whether an issuer's cards are this party's business."""
        return issuer_id in self.issuers or ALL in self.issuers


class PartyKey(msgspec.Struct, frozen=True):
    """A public key of a party; `added_at` in µs."""

    party_id: str
    kid: str
    state: PartyState
    public_jwk: str
    added_at: int


class Rights(msgspec.Struct, frozen=True):
    """The members of a party that can be given and changed; None is the default, or leaves what is there."""

    issuers: frozenset[str] | None = None
    sources: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    scopes: frozenset[str] | None = None
    strict: bool | None = None
    rate: int | None = None


def new_party(kind: PartyKind, party_id: str, rights: Rights = Rights()) -> Party:  # noqa: B008 - it is frozen
    """Return a party as it would be registered. Raises InputError naming the first member that is wrong."""
    given: dict[str, Any] = {"scopes": SCOPES[kind]}
    if kind is PartyKind.ISSUER:
        given["issuers"] = frozenset({party_id})
    elif kind is PartyKind.OPERATOR:
        given["issuers"] = frozenset({ALL})
    elif kind is PartyKind.PRODUCER:
        given["kinds"] = frozenset({ALL})
    return _checked(Party(party_id, kind, **(given | _given(rights))))


def _given(rights: Rights) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(rights).items() if value is not None}


def _checked(party: Party) -> Party:
    """Return the party. Raises InputError naming the first member that is wrong."""
    form = ISSUER_ID if party.kind is PartyKind.ISSUER else _PARTY_ID
    if not form.fullmatch(party.party_id):
        expected = "exactly 10" if form is ISSUER_ID else "1 to 64"
        raise InputError("party_id", f"{expected} letters, digits, _ and -")
    _check_issuers(party)
    _check_producer(party)
    if not party.scopes or not party.scopes <= SCOPES[party.kind]:
        allowed = " ".join(sorted(SCOPES[party.kind]))
        raise InputError("scopes", f"for {party.kind} of: {allowed}", "FIELD_INVALID_VALUE")
    if not 1 <= party.rate <= MAX_RATE:
        raise InputError("rate", f"1 to {MAX_RATE} calls a second", "FIELD_INVALID_VALUE")
    return party


def _check_issuers(party: Party) -> None:
    if party.kind is PartyKind.ISSUER and party.issuers != {party.party_id}:
        raise InputError("issuers", "an issuer acts for itself only", "FIELD_INVALID_VALUE")
    if party.kind is PartyKind.AGGREGATOR and ALL in party.issuers:
        raise InputError("issuers", "an aggregator acts for the issuers that it names", "FIELD_INVALID_VALUE")
    _check_names("issuers", party.issuers, ISSUER_ID)


def _check_producer(party: Party) -> None:
    if party.kind is PartyKind.PRODUCER:
        _check_names("sources", party.sources, _SOURCE)
        _check_names("kinds", party.kinds, _KIND)
    elif party.sources or party.kinds:
        raise InputError("sources", "only a producer has sources and kinds", "FIELD_INVALID_VALUE")


def _check_names(field: str, names: frozenset[str], form: re.Pattern[str]) -> None:
    if not 1 <= len(names) <= MAX_NAMES:
        raise InputError(field, f"1 to {MAX_NAMES} of them, got {len(names)}", "FIELD_INVALID_VALUE")
    for name in sorted(names - {ALL}):
        if not form.fullmatch(name):
            raise InputError(field, f"{name[:60]!r} is none")


class Parties:
    """The registry as it is changed. `clock` gives µs; `actor` says who does it, as in `operator:ada`."""

    def __init__(self, db: Database, clock: Callable[[], int]) -> None:
        self._db = db
        self._clock = clock

    async def find(self, party_id: str) -> Party:
        """Return a party. Raises NotFound."""
        return await self._db.read(lambda tx: _party(tx, party_id))

    async def list_all(self) -> list[Party]:
        """Return every party, by its id."""
        return await self._db.read(all_parties)

    async def keys(self, party_id: str) -> list[PartyKey]:
        """Return a party's keys, revoked ones too, oldest first. Raises NotFound."""

        def work(tx: Transaction) -> list[PartyKey]:
            _party(tx, party_id)
            return [_key_of(row) for row in tx.all("keys_of_party", party_id=party_id)]

        return await self._db.read(work)

    async def add(self, party: Party, actor: str) -> Party:
        """Register a party made by `new_party`. Raises Conflict for an id that was ever taken."""
        added = msgspec.structs.replace(party, created_at=self._clock())

        def work(tx: Transaction) -> Changed[Party]:
            if not tx.run("add_party", **_columns(added), created_at=added.created_at):
                raise Conflict(f"party {added.party_id} is already registered")
            return Changed("party.add", added.party_id, None, added, added)

        return await change(self._db, actor, added.created_at, work)

    async def update(self, party_id: str, rights: Rights, actor: str) -> Party:
        """Change what is given of `rights`; tokens die, unless nothing but `strict` and `rate` differs.

        Raises NotFound or InputError.
        """

        def renewed(party: Party) -> Party:
            changed = _checked(msgspec.structs.replace(party, **_given(rights)))
            same = msgspec.structs.replace(changed, strict=party.strict, rate=party.rate) == party
            return changed if same else msgspec.structs.replace(changed, generation=party.generation + 1)

        return await self._change(party_id, actor, "party.update", renewed)

    async def revoke(self, party_id: str, actor: str) -> Party:
        """Believe nothing of this party any more. Raises NotFound, or Conflict if it is revoked already."""
        return await self._change(party_id, actor, "party.revoke", partial(_turned, PartyState.REVOKED))

    async def restore(self, party_id: str, actor: str) -> Party:
        """Believe a revoked party again, but none of its old tokens. Raises NotFound or Conflict."""
        return await self._change(party_id, actor, "party.restore", partial(_turned, PartyState.ACTIVE))

    async def _change(self, party_id: str, actor: str, action: str, renewed: Callable[[Party], Party]) -> Party:
        def work(tx: Transaction) -> Changed[Party]:
            before = _party(tx, party_id)
            after = renewed(before)
            _save(tx, after)
            return Changed(action, party_id, before, after, after)

        return await change(self._db, actor, self._clock(), work)

    async def add_key(self, party_id: str, key: str, actor: str, kid: str | None = None) -> PartyKey:
        """Give a party one more public key, PEM or JWK; its name is `kid`, the JWK's, or the thumbprint.

        Raises InputError (above all for a private key), NotFound, or Conflict for a `kid` that was ever used.
        """
        now = self._clock()
        public = jwk_of(public_key_of(key))
        added = PartyKey(party_id, kid or kid_of(key), PartyState.ACTIVE, public, now)
        if not _KID.fullmatch(added.kid):
            raise InputError("kid", "1 to 128 printable characters without spaces")

        def work(tx: Transaction) -> Changed[PartyKey]:
            _add_key(tx, added)
            return Changed("party.key.add", party_id, None, added, added)

        return await change(self._db, actor, now, work)

    async def revoke_key(self, party_id: str, kid: str, actor: str) -> Party:
        """Take a key away, and all tokens of the party with it. Raises NotFound if there is no such key."""

        def work(tx: Transaction) -> Changed[Party]:
            before = _party(tx, party_id)
            if not tx.run("revoke_party_key", party_id=party_id, kid=kid):
                raise NotFound(f"party {party_id} has no active key {kid}")
            after = msgspec.structs.replace(before, generation=before.generation + 1)
            _save(tx, after)
            line = {"kid": kid, "generation": after.generation}
            return Changed("party.key.revoke", party_id, {"generation": before.generation}, line, after)

        return await change(self._db, actor, self._clock(), work)


def all_parties(tx: Transaction) -> list[Party]:
    """Return every party, by its id."""
    return [_party_of(row) for row in tx.all("all_parties")]


def _turned(state: PartyState, party: Party) -> Party:
    if party.state is state:
        raise Conflict(f"party {party.party_id} is {state.lower()} already")
    return msgspec.structs.replace(party, state=state, generation=party.generation + 1)


def _party(tx: Transaction, party_id: str) -> Party:
    row = tx.one("find_party", party_id=party_id)
    if row is None:
        raise NotFound(f"there is no party {party_id}")
    return _party_of(row)


def _add_key(tx: Transaction, key: PartyKey) -> None:
    _party(tx, key.party_id)
    known = [_key_of(row) for row in tx.all("keys_of_party", party_id=key.party_id)]
    if sum(one.state is PartyState.ACTIVE for one in known) >= MAX_KEYS:
        raise Conflict(f"party {key.party_id} has {MAX_KEYS} active keys; revoke one first")
    if not tx.run(
        "add_party_key", party_id=key.party_id, kid=key.kid, public_jwk=key.public_jwk, added_at=key.added_at
    ):
        raise Conflict(f"party {key.party_id} has, or had, a key {key.kid}")


def _save(tx: Transaction, party: Party) -> None:
    tx.run("save_party", **_columns(party))


def _columns(party: Party) -> dict[str, object]:
    return {
        "party_id": party.party_id, "kind": party.kind.value, "state": party.state.value,
        "generation": party.generation, "issuers": _json(party.issuers), "sources": _json(party.sources),
        "kinds": _json(party.kinds), "scopes": _json(party.scopes),
        "strict": int(party.strict), "rate": party.rate,
    }  # fmt: skip


def _json(names: frozenset[str]) -> str:
    return msgspec.json.encode(sorted(names)).decode()


def _names(text: str) -> frozenset[str]:
    return msgspec.json.decode(text, type=frozenset[str])


def _party_of(row: Row) -> Party:
    party_id, kind, state, generation, issuers, sources, kinds, scopes, strict, rate, created_at = row
    return Party(
        party_id, PartyKind(kind), _names(issuers), _names(sources), _names(kinds), _names(scopes),
        bool(strict), rate, PartyState(state), generation, created_at,
    )  # fmt: skip


def _key_of(row: Row) -> PartyKey:
    party_id, kid, state, public_jwk, added_at = row
    return PartyKey(party_id, kid, PartyState(state), public_jwk, added_at)
