"""Accounts as they are changed. Every change is audited; what ends sessions raises the account's generation."""

from collections.abc import Callable

import msgspec

from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.pages.door.account import Account, AccountState, Identity, Role, Roles, checked_name, checked_roles
from cardtrail.pages.door.change import Change, Changed


class Accounts:
    """The accounts of one store. `clock` gives µs; `actor` says who does it, as in `operator:ada`."""

    def __init__(self, db: Database, change: Change, clock: Callable[[], int]) -> None:
        self._db = db
        self._change = change
        self._clock = clock

    async def list_all(self) -> list[Account]:
        """Return every account, by its name."""
        return [_account_of(row) for row in await self._db.read(lambda tx: tx.all("all_accounts"))]

    async def find(self, name: str) -> Account:
        """Return an account. Raises NotFound."""
        return await self._db.read(lambda tx: _account(tx, name))

    async def add(  # noqa: PLR0913 -- each is a part of the account
        self, name: str, roles: Roles, password: str, actor: str, *, personal: bool = False,
        identity: Identity | None = None,
    ) -> Account:  # fmt: skip
        """Register an account whose password's hash is given, or "" for none. Raises InputError or Conflict."""
        account = Account(
            checked_name(name), checked_roles(roles), personal, created_at=self._clock(), identity=identity,
            has_password=bool(password),
        )  # fmt: skip

        def work(tx: Transaction) -> Changed[Account]:
            _add(tx, account, password)
            return _changed("add", None, account)

        return await self._change(actor, account.created_at, work)

    async def update(self, name: str, roles: Roles | None, personal: bool | None, actor: str) -> Account:  # noqa: FBT001 -- None leaves it
        """Give an account other rights, felt by its next request; None leaves what is there.

        Raises InputError or NotFound.
        """
        if roles is None and personal is None:
            raise InputError("", "nothing to change was given", "FIELD_INVALID_VALUE")
        if roles is not None:
            checked_roles(roles)

        def work(tx: Transaction) -> Changed[Account]:
            before = _account(tx, name)
            return _saved(tx, "set", before, _with_rights(before, roles, personal))

        return await self._change(actor, self._clock(), work)

    async def revoke(self, name: str, actor: str) -> Account:
        """Let nobody in by this name any more, and end its sessions. Raises NotFound or Conflict."""
        return await self._turn(name, AccountState.REVOKED, "revoke", actor)

    async def restore(self, name: str, actor: str) -> Account:
        """Let a revoked account in again, by what it had to log in by. Raises NotFound or Conflict."""
        return await self._turn(name, AccountState.ACTIVE, "restore", actor)

    async def _turn(self, name: str, state: AccountState, action: str, actor: str) -> Account:
        def work(tx: Transaction) -> Changed[Account]:
            before = _account(tx, name)
            if before.state is state:
                raise Conflict(f"account {name} is {state.lower()} already")
            return _ended(tx, action, before, msgspec.structs.replace(before, state=state))

        return await self._change(actor, self._clock(), work)

    async def set_password(self, name: str, password: str, actor: str) -> Account:
        """Give an account another password, whose hash is given, or "" for none; its sessions end.

        Raises NotFound, or Conflict where it could then log in by nothing.
        """

        def work(tx: Transaction) -> Changed[Account]:
            before = _account(tx, name)
            if not password and before.identity is None:
                raise Conflict(f"account {name} could then log in by nothing: give it a provider first, or revoke it")
            tx.run("save_password", name=name, password=password)
            return _ended(tx, "password", before, msgspec.structs.replace(before, has_password=bool(password)))

        return await self._change(actor, self._clock(), work)

    async def set_identity(self, name: str, identity: Identity | None, actor: str) -> Account:
        """Say who an account is at a provider, or None for nobody; its sessions end.

        Raises NotFound, or Conflict where another has it, or it could then log in by nothing.
        """

        def work(tx: Transaction) -> Changed[Account]:
            before = _account(tx, name)
            if identity is None and not before.has_password:
                raise Conflict(f"account {name} could then log in by nothing: give it a password first, or revoke it")
            _check_free(tx, identity, name)
            tx.run("save_identity", name=name, **_columns(identity))
            return _ended(tx, "identity", before, msgspec.structs.replace(before, identity=identity))

        return await self._change(actor, self._clock(), work)


def account_roles(text: str) -> Roles:
    """Return the roles as they are stored."""
    return msgspec.json.decode(text, type=dict[str, Role])


def _with_rights(account: Account, roles: Roles | None, personal: bool | None) -> Account:  # noqa: FBT001 -- as above
    return msgspec.structs.replace(
        account,
        roles=account.roles if roles is None else roles,
        personal=account.personal if personal is None else personal,
    )


def _account(tx: Transaction, name: str) -> Account:
    row = tx.one("find_account", name=name)
    if row is None:
        raise NotFound(f"there is no account {name}")
    return _account_of(row)


def _account_of(row: Row) -> Account:
    name, state, generation, roles, personal, created_at, logged_in_at, provider, subject, password = row
    identity = None if provider is None else Identity(provider, subject)
    return Account(
        name, account_roles(roles), bool(personal), AccountState(state), generation, created_at, logged_in_at, identity,
        bool(password),
    )  # fmt: skip


def _add(tx: Transaction, account: Account, password: str) -> None:
    _check_free(tx, account.identity, account.name)
    row = _rights(account) | _columns(account.identity) | {"password": password, "created_at": account.created_at}
    if not tx.run("add_account", **row):
        raise Conflict(f"there is, or was, an account {account.name}")


def _check_free(tx: Transaction, identity: Identity | None, name: str) -> None:
    """Raise Conflict if somebody else's account is this one at the provider."""
    row = None if identity is None else tx.one("find_identity", **_columns(identity))
    if row is not None and row[0] != name:
        raise Conflict(f"this subject of the provider is the account {row[0]} already")


def _columns(identity: Identity | None) -> dict[str, object]:
    if identity is None:
        return {"provider": None, "subject": None}
    return {"provider": identity.provider, "subject": identity.subject}


def _saved(tx: Transaction, action: str, before: Account, after: Account) -> Changed[Account]:
    tx.run("save_account", **_rights(after), state=after.state.value, generation=after.generation)
    return _changed(action, before, after)


def _ended(tx: Transaction, action: str, before: Account, after: Account) -> Changed[Account]:
    """Save an account whose sessions end with this change."""
    tx.run("end_sessions", account=before.name)
    return _saved(tx, action, before, msgspec.structs.replace(after, generation=before.generation + 1))


def _rights(account: Account) -> dict[str, object]:
    roles = msgspec.json.encode(account.roles, order="deterministic").decode()
    return {"name": account.name, "roles": roles, "personal": int(account.personal)}


def _changed(action: str, before: Account | None, after: Account) -> Changed[Account]:
    return Changed(f"account.{action}", f"account:{after.name}", _told(before), _told(after), after)


def _told(account: Account | None) -> dict[str, object] | None:
    """Return what the audit tells of an account."""
    if account is None:
        return None
    told = {name: getattr(account, name) for name in ("roles", "personal", "state", "generation")}
    if account.identity is not None:
        told["identity"] = account.identity
    return told if account.has_password else told | {"has_password": False}
