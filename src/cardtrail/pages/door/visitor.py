"""Who visits a page and what it may do there: what the door tells the pages, and all they need to ask.

The door puts it into the request's state. A page of one issuer begins with `seeing(request, issuer_id)`, one that
changes something with `operating(request, issuer_id)`.
"""

from typing import Literal

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cardtrail.pages.door.account import ALL, Role, Roles
from cardtrail.protocol.codec import ISSUER_ID

VISITOR, CSRF, FORM = "visitor", "csrf", "form"
"""Where the request's state has what the door found out."""
CSRF_FIELD = "csrf"
"""The hidden field of every form, whose value is `csrf_of(request)`."""


class Visitor(msgspec.Struct, frozen=True):
    """An account that has come in; `personal`: it may see tracking numbers, places and carriers' texts."""

    name: str
    roles: Roles
    personal: bool = False

    def role_at(self, issuer_id: str) -> Role | None:
        """Return the role for an issuer; one that names the issuer goes before the one for all."""
        return self.roles.get(issuer_id, self.roles.get(ALL))

    def may_see(self, issuer_id: str) -> bool:
        """Tell whether an issuer's cards may be looked at."""
        return self.role_at(issuer_id) is not None

    def may_operate(self, issuer_id: str) -> bool:
        """Tell whether something of an issuer may be changed."""
        return self.role_at(issuer_id) is Role.OPERATOR

    @property
    def issuers(self) -> Literal["all"] | tuple[str, ...]:
        """The issuers that may be looked at, sorted, or `all`."""
        return "all" if ALL in self.roles else tuple(sorted(self.roles))

    @property
    def actor(self) -> str:
        """Who does it, for the audit."""
        return f"account:{self.name}"


def visitor_of(request: Request) -> Visitor:
    """Return who visits; behind the door there is always somebody."""
    visitor: Visitor = request.scope["state"][VISITOR]
    return visitor


def csrf_of(request: Request) -> str:
    """Return what forms must say in the hidden field `csrf`, and scripts in the header `X-CSRF-Token`."""
    csrf: str = request.scope["state"][CSRF]
    return csrf


def form_of(request: Request) -> dict[str, str]:
    """Return the fields of the form that was sent; the door has read them."""
    form: dict[str, str] = request.scope["state"].get(FORM, {})
    return form


def seeing(request: Request, issuer_id: str) -> Visitor:
    """Return the visitor of an issuer's page. Raises HTTPException 404, as if the page were not there."""
    visitor = visitor_of(request)
    if not ISSUER_ID.fullmatch(issuer_id) or not visitor.may_see(issuer_id):
        raise HTTPException(404)
    return visitor


def issuer_of(request: Request) -> tuple[str, Visitor]:
    """Return the issuer that the path names and the visitor of its page. Raises HTTPException 404 as `seeing`."""
    issuer_id: str = request.path_params["issuer_id"]
    return issuer_id, seeing(request, issuer_id)


def operating(request: Request, issuer_id: str) -> Visitor:
    """Return the visitor who changes something of an issuer. Raises HTTPException 404 as `seeing`, or 403."""
    visitor = seeing(request, issuer_id)
    if not visitor.may_operate(issuer_id):
        raise HTTPException(403, "your role at this issuer is to look, not to change")
    return visitor
