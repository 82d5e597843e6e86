"""An account: who may look at the pages, at which issuers' cards, and whether it may change something there."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from cardtrail.errors import InputError
from cardtrail.protocol.codec import ISSUER_ID

ALL = "*"
"""In roles: every issuer that is not named."""
MAX_ISSUERS = 1_000
"""Most issuers that the roles of one account name."""
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_PROVIDER = re.compile(r"https?://[\x21-\x7e]{1,2040}")
_SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")


class Role(StrEnum):
    """What an account may do with an issuer's cards: look, or also change something."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class AccountState(StrEnum):
    """Whether an account may log in."""

    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


Roles = Mapping[str, Role]
"""Role by issuer; `*` stands for every issuer that is not named."""


class Identity(msgspec.Struct, frozen=True):
    """Who somebody is at a provider of OpenID Connect: its `iss` and `sub`, which never come to mean another person."""

    provider: str
    subject: str


class Account(msgspec.Struct, frozen=True):
    """An account without its password; times in µs.

    `personal`: it may see tracking numbers, places and carriers' texts. `has_password`: it may log in by one.
    """

    name: str
    roles: Roles
    personal: bool = False
    state: AccountState = AccountState.ACTIVE
    generation: int = 1
    created_at: int = 0
    logged_in_at: int | None = None
    identity: Identity | None = None
    has_password: bool = True


def checked_name(name: str) -> str:
    """Return the name of a new account. Raises InputError."""
    if not _NAME.fullmatch(name):
        raise InputError("name", "1 to 64 letters, digits, . _ @ and -")
    return name


def checked_identity(provider: str, subject: str) -> Identity:
    """Return an identity. Raises InputError."""
    if not _PROVIDER.fullmatch(provider):
        raise InputError("provider", "its issuer URL, at most 2048 characters, as the service has it in oidc_issuer")
    if not _SUBJECT.fullmatch(subject):
        raise InputError("subject", "1 to 255 characters of ASCII")
    return Identity(provider, subject)


def checked_roles(roles: Roles) -> Roles:
    """Return the roles. Raises InputError naming what is wrong."""
    if not 1 <= len(roles) <= MAX_ISSUERS:
        raise InputError("roles", f"for 1 to {MAX_ISSUERS} issuers, got {len(roles)}", "FIELD_INVALID_VALUE")
    for issuer_id in roles:
        if issuer_id != ALL and not ISSUER_ID.fullmatch(issuer_id):
            raise InputError("issuer", f"{issuer_id[:60]!r} is no id of exactly 10 letters, digits, _ and -")
    return roles


def roles_of(role: Role, issuers: Iterable[str]) -> Roles:
    """Return the roles that `ID` and `ID=role` say, `role` where none is named, at all issuers where there is no ID.

    Raises InputError.
    """
    found = {}
    for text in issuers:
        issuer_id, equals, named = text.partition("=")
        found[issuer_id] = _role(named) if equals else role
    return checked_roles(found or {ALL: role})


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InputError("issuer", f"{text[:60]!r} is no role: {' or '.join(Role)}", "FIELD_INVALID_VALUE") from None
