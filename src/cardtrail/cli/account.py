"""`cardtrail account`: who may log in to the pages, at which issuers' cards, and what for."""

import getpass
import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from cardtrail.cli.show import grid_of, plain, print_all, print_json, table_of, when
from cardtrail.cli.where import HERE, ON_MIRROR, OnMirror, T, Where, with_store
from cardtrail.errors import InputError
from cardtrail.issuer.mirror import wall_clock
from cardtrail.pages.door.account import ALL, Account, Identity, Role, checked_identity, roles_of
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.password import generated, hashed
from cardtrail.protocol.codec import timestamp

Issuers = Annotated[list[str] | None, Parameter(name="--issuer", negative=())]
"""Issuers, each `ID` or `ID=role`."""

OidcIssuer = Annotated[str, Parameter(env_var="CARDTRAIL_OIDC_ISSUER")]
"""Issuer URL of the provider of OpenID Connect."""
KitOidcIssuer = Annotated[str, Parameter(env_var="CARDTRAIL_KIT_OIDC_ISSUER")]
"""The same where a mirror's pages know it."""

account_app = App(name="account", help="Accounts of people who look at the pages under /ui/.")
mirror_account_app = App(name="account", help="Accounts of people who look at the pages of the mirror.")


@account_app.command
def add(  # noqa: PLR0913 -- each is an option
    name: str,
    *,
    role: Role = Role.VIEWER,
    issuer: Issuers = None,
    personal: Annotated[bool, Parameter(negative=())] = False,
    generate: Annotated[bool, Parameter(negative=())] = False,
    oidc: str | None = None,
    oidc_issuer: OidcIssuer = "",
    where: Where = HERE,
) -> None:
    """Let somebody in. The password is asked for, or is the first line of standard input; with --oidc there is none.

    Parameters
    ----------
    name
        1 to 64 letters, digits, . _ @ and -.
    role
        Look (viewer), or change something too (operator).
    issuer
        Only at this issuer's cards, in that role or, as ID=viewer, in another; at all issuers' if none is given.
    personal
        Show tracking numbers, places and carriers' texts, which are personal data.
    generate
        Make a password and print it, once.
    oidc
        Log in by the provider of OpenID Connect, who calls this person so (`sub`).
    oidc_issuer
        Which provider: the setting of the service.

    """
    roles = roles_of(role, issuer or ())
    identity = None if oidc is None else _identity(oidc_issuer, oidc)
    password = _new_password(generate=generate) if identity is None or generate else ""
    secret = hashed(password) if password or identity is None else ""

    async def work(accounts: Accounts) -> Account:
        return await accounts.add(name, roles, secret, where.actor, personal=personal, identity=identity)

    _show(_with_accounts(where, work), where, password if generate else "")


@account_app.command(name="list")
def list_accounts(*, where: Where = HERE) -> None:
    """List all accounts."""
    accounts = _with_accounts(where, lambda accounts: accounts.list_all())
    if where.as_json:
        print_json([_members(account) for account in accounts])
    else:
        print_all(_table(accounts))


@account_app.command(name="set")
def set_rights(
    name: str, *, role: Role | None = None, issuer: Issuers = None, personal: bool | None = None, where: Where = HERE
) -> None:
    """Give an account other rights, felt by its next request.

    Parameters
    ----------
    name
        The account.
    role
        The new role; together with the issuers it replaces all that the account had.
    issuer
        Only at this issuer's cards, in that role or, as ID=viewer, in another; at all issuers' if none is given.
    personal
        Show tracking numbers, places and carriers' texts, or no longer.

    """
    if issuer and role is None:
        raise InputError("--role", "is needed with --issuer", "FIELD_INVALID_VALUE")
    roles = None if role is None else roles_of(role, issuer or ())
    _show(_with_accounts(where, lambda accounts: accounts.update(name, roles, personal, where.actor)), where)


@account_app.command
def oidc(
    name: str, subject: str = "", *, drop: Annotated[bool, Parameter(negative=())] = False,
    oidc_issuer: OidcIssuer = "", where: Where = HERE,
) -> None:  # fmt: skip
    """Let an account log in by the provider of OpenID Connect, or no longer; all its sessions end.

    Parameters
    ----------
    name
        The account.
    subject
        What the provider calls this person (`sub`).
    drop
        No longer let the account log in by a provider.
    oidc_issuer
        Which provider: the setting of the service.

    """
    if drop == bool(subject):
        raise InputError("subject", "either a subject or --drop is needed", "FIELD_INVALID_VALUE")
    identity = None if drop else _identity(oidc_issuer, subject)
    _show(_with_accounts(where, lambda accounts: accounts.set_identity(name, identity, where.actor)), where)


@account_app.command
def password(
    name: str, *, generate: Annotated[bool, Parameter(negative=())] = False,
    drop: Annotated[bool, Parameter(negative=())] = False, where: Where = HERE,
) -> None:  # fmt: skip
    """Give an account another password, or take it away; all its sessions end.

    Parameters
    ----------
    name
        The account.
    generate
        Make a password and print it, once; else it is asked for, or is the first line of standard input.
    drop
        Leave it without one: it can log in by the provider of OpenID Connect only.

    """
    if drop and generate:
        raise InputError("--drop", "cannot be together with --generate", "FIELD_INVALID_VALUE")
    word = "" if drop else _new_password(generate=generate)
    secret = "" if drop else hashed(word)
    account = _with_accounts(where, lambda accounts: accounts.set_password(name, secret, where.actor))
    _show(account, where, word if generate else "")


@account_app.command
def revoke(name: str, *, where: Where = HERE) -> None:
    """Let somebody in no longer; all sessions of the account end at once."""
    _show(_with_accounts(where, lambda accounts: accounts.revoke(name, where.actor)), where)


@account_app.command
def restore(name: str, *, where: Where = HERE) -> None:
    """Let somebody in again who was revoked, by the same password or provider."""
    _show(_with_accounts(where, lambda accounts: accounts.restore(name, where.actor)), where)


# ── running and showing ──────────────────────────────────────────────────────────────────────────────────────


def _with_accounts(where: Where, work: Callable[[Accounts], Awaitable[T]]) -> T:
    return with_store(where, lambda db: work(Accounts(db, where.audited(db), wall_clock)))


def _on_mirror(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command as one on an issuer's mirror."""

    @wraps(command)
    def run(*words: Any, where: OnMirror = ON_MIRROR, **more: Any) -> None:
        command(*words, where=where, **more)

    given = dict(inspect.signature(command).parameters)
    given["where"] = given["where"].replace(annotation=OnMirror, default=ON_MIRROR)
    if "oidc_issuer" in given:
        given["oidc_issuer"] = given["oidc_issuer"].replace(annotation=KitOidcIssuer)
    vars(run)["__signature__"] = inspect.Signature([*given.values()], return_annotation=None)
    run.__annotations__ = {name: each.annotation for name, each in given.items()}
    return run


def _identity(issuer: str, subject: str) -> Identity:
    if not issuer:
        raise InputError(
            "--oidc-issuer",
            "is needed: the issuer URL of the provider, as the service has it in its setting oidc_issuer",
        )
    return checked_identity(issuer, subject)


def _new_password(*, generate: bool) -> str:
    """Return a made password, or one that is typed twice, or the first line of what is piped in. Raises InputError."""
    if generate:
        return generated()
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("New password: ")
    if getpass.getpass("The same again: ") != first:
        raise InputError("password", "the two differ", "FIELD_INVALID_VALUE")
    return first


def _show(account: Account, where: Where, made: str = "") -> None:
    members = _members(account) | ({"password": made} if made else {})
    if where.as_json:
        print_json(members)
    else:
        identity = account.identity
        told = {} if identity is None else {"identity": plain(f"{identity.subject} at {identity.provider}")}
        print_all(grid_of(members | {"roles": _roles(account)} | told))


def _members(account: Account) -> dict[str, Any]:
    members = msgspec.to_builtins(account, order="deterministic")
    members["created_at"] = timestamp(account.created_at)
    members["logged_in_at"] = None if account.logged_in_at is None else timestamp(account.logged_in_at)
    return {name: value for name, value in members.items() if value is not None}


def _table(accounts: Sequence[Account]) -> Table:
    table = table_of("account", "state", "roles", "personal", "by", "logged in")
    for account in accounts:
        table.add_row(
            account.name, account.state, "\n".join(_roles(account)), "yes" if account.personal else "",
            plain(_ways(account)), when(account.logged_in_at),
        )  # fmt: skip
    return table


def _ways(account: Account) -> str:
    """Return by what an account can log in."""
    return "\n".join(
        [*(["password"] if account.has_password else []), *([account.identity.subject] if account.identity else [])]
    )


def _roles(account: Account) -> list[str]:
    return [f"{'all' if issuer == ALL else issuer}: {role}" for issuer, role in sorted(account.roles.items())]


for _command in (add, list_accounts, set_rights, oidc, password, revoke, restore):
    _name = {"list_accounts": "list", "set_rights": "set"}.get(_command.__name__, _command.__name__)
    mirror_account_app.command(_on_mirror(_command), name=_name)
