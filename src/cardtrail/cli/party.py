"""`cardtrail party`, `key` and `audit`: who may call, the platform's own keys, and who changed what."""

import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from cardtrail.cli.given import KeyFile, text_of
from cardtrail.cli.show import grid_of, print_all, print_json, table_of
from cardtrail.cli.where import HERE, T, Where, with_store
from cardtrail.errors import InputError
from cardtrail.files.box import box_of
from cardtrail.pages.door.trail import LATEST, AuditLine, list_audit
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.parties import Parties, Party, PartyKey, PartyKind, Rights, new_party
from cardtrail.platform.signing import Signing
from cardtrail.protocol.codec import timestamp
from cardtrail.protocol.token import ASSERTION_LIFETIME, make_assertion, private_key_of

UNTOLD = frozenset({"party_id", "created_at", "added_at", "public_jwk"})
"""Members of a change that a table leaves out."""
SHOWN = 3
"""Most names of a list in a table; `--json` has them all."""

party_app = App(name="party", help="Register who may call: issuers, aggregators, producers and operators.")
party_key_app = App(name="key", help="A party's public keys, with which it signs its assertions.")
key_app = App(name="key", help="The platform's own keys, with which it signs access tokens.")
audit_app = App(name="audit", help="Show who changed which party or key, newest first.")
party_app.command(party_key_app)


@Parameter(name="*")
@dataclass(frozen=True)
class RightsGiven:
    """What a party may do; each list by repeating the option."""

    issuer: Annotated[list[str], Parameter(negative=())] = field(default_factory=list)
    """Issuers an aggregator acts for, or a producer reports about ('*' is all)."""
    source: Annotated[list[str], Parameter(negative=())] = field(default_factory=list)
    """Sources a producer reports as, like site:north or carrier:dhl ('*' is all)."""
    event_kind: Annotated[list[str], Parameter(negative=())] = field(default_factory=list)
    """Kinds of events a producer may report; all if none is given."""
    scope: Annotated[list[str], Parameter(negative=())] = field(default_factory=list)
    """Scopes; all that the kind of party may have if none is given."""
    strict: bool | None = None
    """Answer with the published form only, without our extensions."""
    rate: int | None = None
    """Calls a second, in each process of the service."""

    def rights(self) -> Rights:
        """Return what was given."""
        return Rights(
            issuers=frozenset(self.issuer) or None, sources=frozenset(self.source) or None,
            kinds=frozenset(self.event_kind) or None, scopes=frozenset(self.scope) or None,
            strict=self.strict, rate=self.rate,
        )  # fmt: skip


NOTHING = RightsGiven()


# ── parties ──────────────────────────────────────────────────────────────────────────────────────────────────


@party_app.command
def add(
    party_id: str, *, kind: PartyKind = PartyKind.ISSUER, given: RightsGiven = NOTHING, where: Where = HERE
) -> None:
    """Register a party.

    Parameters
    ----------
    party_id
        An issuer's id of 10 characters, or a name.
    kind
        What it is.

    """
    party = new_party(kind, party_id, given.rights())
    _show_party(_with_parties(where, lambda parties: parties.add(party, where.actor)), where)


@party_app.command
def update(party_id: str, *, given: RightsGiven = NOTHING, where: Where = HERE) -> None:
    """Change what a party may do; a list that is given replaces the old one. Its access tokens die."""
    rights = given.rights()
    if rights == Rights():
        raise InputError("", "nothing to change was given", "FIELD_INVALID_VALUE")
    _show_party(_with_parties(where, lambda parties: parties.update(party_id, rights, where.actor)), where)


@party_app.command
def revoke(party_id: str, *, where: Where = HERE) -> None:
    """Believe nothing of a party any more; felt by every process within a second."""
    _show_party(_with_parties(where, lambda parties: parties.revoke(party_id, where.actor)), where)


@party_app.command
def restore(party_id: str, *, where: Where = HERE) -> None:
    """Believe a revoked party again, but none of its old tokens."""
    _show_party(_with_parties(where, lambda parties: parties.restore(party_id, where.actor)), where)


@party_app.command
def show(party_id: str, *, where: Where = HERE) -> None:
    """Show a party and its keys."""

    async def both(parties: Parties) -> tuple[Party, list[PartyKey]]:
        return await parties.find(party_id), await parties.keys(party_id)

    party, keys = _with_parties(where, both)
    if where.as_json:
        print_json({**_party_members(party), "keys": [_key_members(key) for key in keys]})
        return
    _show_party(party, where)
    print_all("", _key_table(keys))


@party_app.command(name="list")
def list_parties(*, where: Where = HERE) -> None:
    """List all parties."""
    parties = _with_parties(where, lambda parties: parties.list_all())
    if where.as_json:
        print_json([_party_members(party) for party in parties])
    else:
        print_all(_party_table(parties))


@party_app.command
def assertion(party_id: str, key_file: KeyFile, *, kid: str, audience: str | None = None, lifetime: int = 300) -> None:
    """Print an assertion signed with a party's private key, to be traded for an access token. For trying out.

    Parameters
    ----------
    party_id
        Who asks.
    key_file
        The party's private key, PEM or JWK; - for standard input. It is read and forgotten.
    kid
        The name under which the public key is registered.
    audience
        What to put into aud.
    lifetime
        Seconds until it expires, at most 900.

    """
    if not 1 <= lifetime <= ASSERTION_LIFETIME:
        raise InputError("lifetime", f"1 to {ASSERTION_LIFETIME} seconds", "FIELD_INVALID_VALUE")
    key = private_key_of(text_of(key_file))
    jti = secrets.token_urlsafe(12)
    text = make_assertion(party_id, kid, key, wall_clock(), audience=audience, jti=jti, lifetime=lifetime)
    sys.stdout.write(text + "\n")


# ── a party's keys ───────────────────────────────────────────────────────────────────────────────────────────


@party_key_app.command(name="add")
def add_key(party_id: str, key_file: KeyFile, *, kid: str | None = None, where: Where = HERE) -> None:
    """Give a party one more public key.

    Parameters
    ----------
    party_id
        Whose key it is.
    key_file
        An ES256 public key, PEM or JWK; - for standard input. A private key is refused.
    kid
        Its name in the header of assertions; without one the JWK's kid, or the key's thumbprint.

    """
    text = text_of(key_file)
    key = _with_parties(where, lambda parties: parties.add_key(party_id, text, where.actor, kid))
    _show_keys([key], where)


@party_key_app.command(name="revoke")
def revoke_key(party_id: str, kid: str, *, where: Where = HERE) -> None:
    """Take a key away; all access tokens of the party die with it."""
    _show_party(_with_parties(where, lambda parties: parties.revoke_key(party_id, kid, where.actor)), where)


@party_key_app.command(name="list")
def list_keys(party_id: str, *, where: Where = HERE) -> None:
    """List a party's keys, revoked ones too."""
    _show_keys(_with_parties(where, lambda parties: parties.keys(party_id)), where)


# ── the platform's keys ──────────────────────────────────────────────────────────────────────────────────────


@key_app.command
def rotate(
    *,
    drop_old: Annotated[bool, Parameter(negative=())] = False,
    secret_key_file: Annotated[str, Parameter(env_var="CARDTRAIL_SECRET_KEY_FILE")] = "",
    where: Where = HERE,
) -> None:
    """Make a new key; it signs after a minute, and the old ones verify until their tokens have expired.

    Parameters
    ----------
    drop_old
        Forget the old keys at once, and all access tokens with them: for a key that got into wrong hands.
    secret_key_file
        File with the key that encrypts secrets at rest, as the service has it.

    """
    box = box_of(secret_key_file, where.database)
    kid = with_store(where, lambda db: Signing(db, box, wall_clock).rotate(where.actor, drop_old=drop_old))
    if where.as_json:
        print_json({"kid": kid})
    else:
        print_all(f"new signing key {kid}")


# ── the audit ────────────────────────────────────────────────────────────────────────────────────────────────


@audit_app.default
def audit(*, subject: str = "", before: str = LATEST, most: int = 100, where: Where = HERE) -> None:
    """Show who changed which party or key, newest first.

    Parameters
    ----------
    subject
        Only changes of this party; 'platform' for the platform's own keys.
    before
        Only changes before this id, to read on.
    most
        Most changes to show, at most 1,000.

    """
    lines = with_store(where, lambda db: list_audit(db, subject=subject, before=before, most=most))
    if where.as_json:
        print_json([_line_members(line) for line in lines])
    else:
        print_all(_audit_table(lines))


# ── running and showing ──────────────────────────────────────────────────────────────────────────────────────


def _with_parties(where: Where, work: Callable[[Parties], Awaitable[T]]) -> T:
    return with_store(where, lambda db: work(Parties(db, wall_clock)))


def _show_party(party: Party, where: Where) -> None:
    if where.as_json:
        print_json(_party_members(party))
        return
    print_all(grid_of(_party_members(party)))


def _show_keys(keys: Sequence[PartyKey], where: Where) -> None:
    if where.as_json:
        print_json([_key_members(key) for key in keys])
    else:
        print_all(_key_table(keys))


def _party_members(party: Party) -> dict[str, Any]:
    """Return a party as it is printed: times as text, lists in order, empty ones left out."""
    members = msgspec.to_builtins(party, order="deterministic")
    members["created_at"] = timestamp(party.created_at)
    return {name: value for name, value in members.items() if value != []}


def _key_members(key: PartyKey) -> dict[str, Any]:
    return {
        "party_id": key.party_id, "kid": key.kid, "state": key.state, "added_at": timestamp(key.added_at),
        "public_jwk": msgspec.Raw(key.public_jwk.encode()),
    }  # fmt: skip


def _line_members(line: AuditLine) -> dict[str, Any]:
    return {**msgspec.structs.asdict(line), "at": timestamp(line.at)}


def _party_table(parties: Sequence[Party]) -> Table:
    table = table_of("party", "kind", "state", "issuers", "sources", "rate")
    for party in parties:
        table.add_row(
            party.party_id, party.kind, party.state, _names(party.issuers), _names(party.sources), str(party.rate)
        )
    return table


def _key_table(keys: Sequence[PartyKey]) -> Table:
    table = table_of("kid", "party", "state", "added")
    for key in keys:
        table.add_row(key.kid, key.party_id, key.state, timestamp(key.added_at))
    return table


def _audit_table(lines: Sequence[AuditLine]) -> Table:
    table = table_of("when", "who", "what", "whose", "change")
    for line in lines:
        table.add_row(timestamp(line.at), line.actor, line.action, line.subject, _change_of(line))
    return table


def _change_of(line: AuditLine) -> str:
    """Return the members that are new or differ, shortened; `--json` has all of it."""
    old, new = (msgspec.json.decode(raw) if raw is not None else {} for raw in (line.before, line.after))
    told = []
    for name, value in new.items():
        if name not in UNTOLD and value not in ([], old.get(name)):
            was = f"{_short(old[name])} → " if name in old else ""
            told.append(f"{name}: {was}{_short(value)}")
    return ", ".join(told)


def _short(value: object) -> str:
    if isinstance(value, list):
        return _names(frozenset(map(str, value))).replace("\n", " ")
    return str(value)


def _names(names: frozenset[str]) -> str:
    shown = sorted(names)[:SHOWN]
    more = len(names) - len(shown)
    return "\n".join([*shown, f"and {more} more"] if more else shown)
