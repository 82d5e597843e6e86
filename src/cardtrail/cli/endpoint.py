"""`cardtrail endpoint`: where an issuer's notifications go, how fast, and in what form."""

import getpass
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter
from rich.table import Table

from cardtrail.cli.given import named, text_of
from cardtrail.cli.show import grid_of, print_all, print_json, table_of, when
from cardtrail.cli.where import KEYED, Keyed, T, Where, with_store
from cardtrail.db import Database
from cardtrail.errors import InputError
from cardtrail.files.box import box_of
from cardtrail.platform.app import egress_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.endpoint import Config, Endpoint, Mode, OAuth, Secrets, Signing
from cardtrail.platform.endpoint_form import members_of_endpoint
from cardtrail.platform.endpoints import OVERLAP, Endpoints
from cardtrail.platform.settings import settings_of
from cardtrail.platform.standing import MAX_COUNTED, Standing, standings
from cardtrail.platform.tryout import Tried, try_out
from cardtrail.platform.vet import checked_reason, vetted

endpoint_app = App(name="endpoint", help="Say where issuers' notifications go, how fast, and in what form.")

_OPTIONS = {
    "issuerId": "ISSUER_ID", "endpointId": "ENDPOINT_ID", "url": "--url", "batchSize": "--batch-size",
    "rate": "--rate", "concurrency": "--concurrency", "heartbeatMinutes": "--heartbeat-minutes",
    "operations": "--operation", "stages": "--stage", "signing": "--signing", "reason": "--reason",
    "oauth": "--client-secret-file", "oauth.tokenUrl": "--oauth-token-url", "oauth.clientId": "--oauth-client-id",
    "oauth.scope": "--oauth-scope", "oauth.clientSecret": "--client-secret-file",
    "clientCertificate": "--client-cert-file", "ca": "--ca-file", "overlapSeconds": "--overlap-seconds",
}  # fmt: skip
_ONCE = (
    "Give it to whoever runs the receiver: it proves that calls come from here.\n"
    "It is told only now; `cardtrail endpoint rotate-secret` makes another one."
)


Signed = Literal["v1", "v1a", "none"]
"""The values of `Signing`, spelled as they are."""


class Drop(StrEnum):
    """What can be taken away from an endpoint."""

    OAUTH = "oauth"
    CLIENT_CERT = "client-cert"
    CA = "ca"


_DROPPED = {Drop.CLIENT_CERT: "client_pem", Drop.CA: "ca_pem"}


@Parameter(name="*")
@dataclass(frozen=True)
class Given:
    """What an endpoint is told to be; secrets come from files, so that they stay out of histories and process lists."""

    url: str | None = None
    """Base URL of the receiver; /notifications/d1/v2/issuers/ISSUER_ID/cards is put behind it."""
    mode: Mode | None = None
    """newest: of an order only the newest picture that waits is sent; every-step: each one."""
    strict: bool | None = None
    """Send the published form and nothing else: no signature, no sequence, no high-water mark."""
    batch_size: int | None = None
    """Most operations of one call, 1 to 1,000."""
    rate: int | None = None
    """Most calls a second, over all processes."""
    concurrency: int | None = None
    """Most calls at once."""
    heartbeat_minutes: int | None = None
    """Send an empty call where nothing was sent for so long; 0 is never."""
    operation: Annotated[list[str], Parameter(negative=())] = field(default_factory=list)
    """Kinds of operations it hears of, like PRODUCE; by repeating the option, '*' is all."""
    stage: Annotated[list[str], Parameter(negative=())] = field(default_factory=list)
    """Stages it hears of, like CARD_SHIPPED; by repeating the option, '*' is all."""
    oauth_token_url: str | None = None
    """Where the issuer gives access tokens by client credentials."""
    oauth_client_id: str | None = None
    """Our name there."""
    oauth_scope: str | None = None
    """Scope to ask for."""
    client_secret_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """File with our OAuth client secret there; - is standard input."""
    client_cert_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """File with the client certificate that we show and its key, PEM; - is standard input."""
    ca_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """File with authorities to trust besides the usual ones, PEM; - is standard input."""

    def config(self, before: Config | None, signing: Signing) -> Config:
        """Return the configuration: what is given, else what was before, else the defaults. Raises InputError."""
        named = {
            "url": self.url, "mode": self.mode, "strict": self.strict, "batch_size": self.batch_size,
            "rate": self.rate, "concurrency": self.concurrency, "heartbeat_minutes": self.heartbeat_minutes,
            "operations": tuple(self.operation) or None, "stages": tuple(self.stage) or None,
        }  # fmt: skip
        told = {name: value for name, value in named.items() if value is not None}
        oauth = self._oauth(before.oauth if before is not None else None)
        if before is not None:
            return msgspec.structs.replace(before, oauth=oauth, **told)
        if self.url is None:
            raise InputError("url", "say where the receiver is")
        return Config(oauth=oauth, signing=signing, **told)  # type: ignore[arg-type]  # each is of its member's type

    def _oauth(self, before: OAuth | None) -> OAuth | None:
        named = {"token_url": self.oauth_token_url, "client_id": self.oauth_client_id, "scope": self.oauth_scope}
        told = {name: value for name, value in named.items() if value is not None}
        if before is None and not told:
            return None
        return msgspec.structs.replace(before or OAuth("", ""), **told)

    def secrets(self, *, ask: bool) -> Secrets:
        """Return what the files hold; `ask` for the client secret at a terminal. Raises InputError."""
        files = [self.client_secret_file, self.client_cert_file, self.ca_file]
        if files.count("-") > 1:
            raise InputError("", "only one file can be standard input", "FIELD_INVALID_VALUE")
        secret = _read(self.client_secret_file, "oauth.clientSecret", "the secret").strip()
        if ask and not secret and self.oauth_token_url is not None and sys.stdin.isatty():
            secret = getpass.getpass("OAuth client secret: ")
        return Secrets(
            client_secret=secret, client_pem=_read(self.client_cert_file, "clientCertificate", "PEM"),
            ca_pem=_read(self.ca_file, "ca", "PEM"),
        )  # fmt: skip


def _read(file: str | None, member: str, kind: str) -> str:
    return "" if file is None else text_of(file, member, kind)


NOTHING = Given()


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint_app.command
def add(
    issuer_id: str, endpoint_id: str, *, given: Given = NOTHING, signing: Signed = "v1",
    where: Keyed = KEYED,
) -> None:  # fmt: skip
    """Register an endpoint and print its signing secret, which is told only then.

    Parameters
    ----------
    issuer_id
        Whose notifications.
    endpoint_id
        A name for it, 1 to 40 characters.
    signing
        How calls are signed: v1 with a shared secret, v1a with a key pair, or none.

    """
    with named(_OPTIONS):
        secrets = given.secrets(ask=True)
        config = given.config(None, Signing(signing))
        endpoint = Endpoint(issuer_id=issuer_id, endpoint_id=endpoint_id, config=config)
        endpoint = vetted(endpoint, secrets, allow_http=where.egress_http)
        added, secret = _with_endpoints(where, lambda known: known.add(endpoint, secrets, where.actor))
    _show(added, where, secret)


@endpoint_app.command
def update(
    issuer_id: str, endpoint_id: str, *, given: Given = NOTHING,
    drop: Annotated[tuple[Drop, ...], Parameter(negative=())] = (),
    where: Keyed = KEYED,
) -> None:  # fmt: skip
    """Change what is given, and leave the rest; a list that is given replaces the old one.

    Parameters
    ----------
    issuer_id
        Whose notifications.
    endpoint_id
        Its name.
    drop
        Take away OAuth, the client certificate or the authorities; by repeating the option.

    """
    if given == NOTHING and not drop:
        raise InputError("", "nothing to change was given", "FIELD_INVALID_VALUE")

    async def work(known: Endpoints) -> Endpoint:
        before = await known.find(issuer_id, endpoint_id)
        kept = msgspec.structs.replace(before.config, oauth=None) if Drop.OAUTH in drop else before.config
        config = given.config(kept, kept.signing)
        secrets = given.secrets(ask=before.config.oauth is None)
        endpoint = msgspec.structs.replace(before, config=config)
        endpoint = vetted(endpoint, secrets, allow_http=where.egress_http)
        dropped = frozenset(_DROPPED[each] for each in drop if each in _DROPPED)
        return await known.update(endpoint, secrets, where.actor, dropped=dropped)

    with named(_OPTIONS):
        changed = _with_endpoints(where, work)
    _show(changed, where)


@endpoint_app.command
def disable(issuer_id: str, endpoint_id: str, *, reason: str, where: Keyed = KEYED) -> None:
    """Send nothing there any more; what waits, and what comes, is withheld until it is enabled.

    Parameters
    ----------
    issuer_id
        Whose notifications.
    endpoint_id
        Its name.
    reason
        Why; the issuer reads it.

    """
    with named(_OPTIONS):
        checked_reason(reason)
        changed = _with_endpoints(where, lambda known: known.disable(issuer_id, endpoint_id, reason, where.actor))
    _show(changed, where)


@endpoint_app.command
def enable(issuer_id: str, endpoint_id: str, *, where: Keyed = KEYED) -> None:
    """Send there again, beginning with the newest picture of each order that was withheld."""
    _show(_with_endpoints(where, lambda known: known.enable(issuer_id, endpoint_id, where.actor)), where)


@endpoint_app.command
def rotate_secret(
    issuer_id: str, endpoint_id: str, *, overlap_seconds: int = OVERLAP, signing: Literal["v1", "v1a"] | None = None,
    where: Keyed = KEYED,
) -> None:  # fmt: skip
    """Make a new signing secret and print it; the old one signs beside it for a while.

    Parameters
    ----------
    issuer_id
        Whose notifications.
    endpoint_id
        Its name.
    overlap_seconds
        How long both sign; 0 for a secret that got into wrong hands.
    signing
        Sign in another way from now on: v1 or v1a.

    """
    kind = Signing(signing) if signing is not None else None

    async def work(known: Endpoints) -> tuple[Endpoint, str]:
        return await known.rotate_secret(issuer_id, endpoint_id, where.actor, overlap=overlap_seconds, signing=kind)

    with named(_OPTIONS):
        changed, secret = _with_endpoints(where, work)
    _show(changed, where, secret)


@endpoint_app.command(name="test")
def try_endpoint(
    issuer_id: str, endpoint_id: str, *,
    egress_allow: Annotated[str, Parameter(env_var="CARDTRAIL_EGRESS_ALLOW")] = "",
    where: Keyed = KEYED,
) -> None:  # fmt: skip
    """Call an endpoint now, from this machine, with no operation; exit code 1 if it does not answer with success.

    Parameters
    ----------
    issuer_id
        Whose notifications.
    endpoint_id
        Its name.
    egress_allow
        Networks that endpoints may be in although they are not public, as 10.0.0.0/8, separated by commas.

    """
    settings = settings_of({"egress_allow": egress_allow, "egress_http": where.egress_http})

    async def work(db: Database) -> Tried:
        egress = egress_of(settings)
        try:
            return await try_out(db, _endpoints(db, where), egress, issuer_id, endpoint_id)
        finally:
            await egress.close()

    tried = with_store(where, work)
    if where.as_json:
        print_json(tried)
    else:
        result = f"HTTP {tried.http_status}" if tried.failure is None else f"failed ({tried.failure})"
        print_all(f"{result} after {tried.ms} ms{': ' if tried.text else ''}{tried.text}")
    if not tried.is_good:
        sys.exit(1)


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint_app.command(name="list")
def list_endpoints(*, issuer: str = "", where: Keyed = KEYED) -> None:
    """List endpoints, and how it goes there.

    Parameters
    ----------
    issuer
        Only this issuer's.

    """

    async def work(db: Database) -> list[tuple[Endpoint, Standing]]:
        found = await _endpoints(db, where).list_all(issuer)
        how = {each: await standings(db, each) for each in sorted({endpoint.issuer_id for endpoint in found})}
        return [(each, how[each.issuer_id].get(each.endpoint_id, Standing())) for each in found]

    found = with_store(where, work)
    if where.as_json:
        print_json([members_of_endpoint(endpoint, standing=standing) for endpoint, standing in found])
    else:
        print_all(_table(found))


@endpoint_app.command
def show(issuer_id: str, endpoint_id: str, *, where: Keyed = KEYED) -> None:
    """Show an endpoint, which secrets it has, and how it goes there."""

    async def work(db: Database) -> dict[str, Any]:
        endpoint, secrets = await _endpoints(db, where).find_with_secrets(issuer_id, endpoint_id)
        return members_of_endpoint(endpoint, secrets, (await standings(db, issuer_id)).get(endpoint_id))

    _print_members(with_store(where, work), where)


# ── running and showing ──────────────────────────────────────────────────────────────────────────────────────


def _endpoints(db: Database, where: Keyed) -> Endpoints:
    return Endpoints(db, box_of(where.secret_key_file, where.database), wall_clock)


def _with_endpoints(where: Keyed, work: Callable[[Endpoints], Awaitable[T]]) -> T:
    return with_store(where, lambda db: work(_endpoints(db, where)))


def _show(endpoint: Endpoint, where: Where, secret: str = "") -> None:
    members = members_of_endpoint(endpoint)
    if where.as_json:
        print_json(members | ({"signingSecret": secret} if secret else {}))
        return
    _print_members(members, where)
    if secret:
        print_all("", f"signing secret: {secret}", _ONCE)


def _print_members(members: dict[str, Any], where: Where) -> None:
    if where.as_json:
        print_json(members)
        return
    shown = {name: value for name, value in members.items() if value != []}
    oauth = shown.pop("oauth", {})
    print_all(grid_of(shown | {f"oauth.{name}": value for name, value in oauth.items()}))


def _table(found: list[tuple[Endpoint, Standing]]) -> Table:
    table = table_of("endpoint", "issuer", "state", "waiting", "failing since (UTC)", "url")
    for endpoint, standing in found:
        waiting = f"{standing.pending:,}{' or more' if standing.pending == MAX_COUNTED else ''}"
        state = endpoint.state if endpoint.reason is None else f"{endpoint.state}: {endpoint.reason}"
        since = when(standing.failing_since)
        table.add_row(endpoint.endpoint_id, endpoint.issuer_id, state, waiting, since, endpoint.config.url)
    return table
