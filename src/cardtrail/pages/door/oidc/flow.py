"""The log-in by a provider: a browser is sent there, and comes back with a code that says who it is.

What it must bring along lies meanwhile in a sealed cookie of its own, so that nobody can be logged in by a link of
somebody else's. Who somebody is, the provider's `sub` says and nothing else: neither a name nor an address of e-mail,
which can be given to another person.
"""

import hmac
import secrets
import shlex
import time
from collections.abc import Callable

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cardtrail.core.limit import PeerLimit
from cardtrail.db import Database
from cardtrail.errors import CardtrailError, Forbidden, RemoteError, RemoteRefused, TooMany, Unauthorized
from cardtrail.pages.door.account import AccountState
from cardtrail.pages.door.cookies import AWAY, SESSION, Cookies
from cardtrail.pages.door.login import PEER_BURST, PEER_RATE, SEE_OTHER, LogIn, peer_of
from cardtrail.pages.door.oidc.provider import Provider
from cardtrail.pages.door.seals import Seals
from cardtrail.pages.door.sessions import Sessions
from cardtrail.pages.door.way import safe_next
from cardtrail.protocol.failure import plain

AWAY_SECONDS = 600
"""How long a browser may be at the provider."""
MAX_CODE = 4_096
"""Longest code, characters."""
CHANCE_BYTES = 32
"""Chance in state, nonce and verifier each."""
_INVALID_GRANT = "invalid_grant"
_log = structlog.get_logger()


class Away(msgspec.Struct, frozen=True):
    """What a browser that was sent away must bring back; `way` is where it goes on to."""

    state: str
    nonce: str
    verifier: str
    way: str


class _Unregistered(Forbidden):
    """Nobody has this identity. The text is for its owner only: numbers that providers give can look like a card's."""


class OidcLogIn:
    """Sends browsers to a provider, and begins the session of who comes back."""

    def __init__(  # noqa: PLR0913 -- the parts of the door, put together in one place
        self, db: Database, log_in: LogIn, sessions: Sessions, cookies: Cookies, seals: Seals, *,
        provider: Provider, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._db = db
        self._log_in = log_in
        self._sessions = sessions
        self._cookies = cookies
        self._seals = seals
        self._provider = provider
        self._monotonic = monotonic
        self._peers = PeerLimit(PEER_RATE, PEER_BURST, "log-ins from this address")

    async def begin(self, request: Request) -> Response:
        """Send a browser to the provider; whoever has come in already goes on."""
        way = safe_next(request.query_params.get("next", ""))
        if await self._sessions.find(self._cookies.read(request, SESSION)) is not None:
            return RedirectResponse(way, SEE_OTHER)
        away = Away(_chance(), _chance(), _chance(), way)
        try:
            address = await self._provider.address_of(away.state, away.nonce, away.verifier)
        except RemoteError as error:
            return self._failed(request, way, error)
        response = RedirectResponse(address, SEE_OTHER)
        self._cookies.write(request, response, AWAY, self._seals.text_of(AWAY, away, AWAY_SECONDS), AWAY_SECONDS)
        return response

    async def back(self, request: Request) -> Response:
        """Begin the session of who comes back, once for each time that a browser was sent away.

        Each try is charged before it is known to fail, as with passwords.
        """
        away = self._seals.value_of(AWAY, self._cookies.read(request, AWAY), Away)
        way, peer, now = "" if away is None else away.way, peer_of(request), self._monotonic()
        try:
            self._peers.admit(peer, now)
            self._peers.charge(peer, now)
            response = await self._entered(request, away)
            self._peers.forgive(peer)
        except CardtrailError as error:
            response = self._failed(request, safe_next(way), error)
        self._cookies.drop(request, response, AWAY)
        return response

    async def _entered(self, request: Request, away: Away | None) -> Response:
        """Return the answer that begins a session. Raises CardtrailError for whatever is in its way."""
        brought = _query_of(request)
        if away is None or not hmac.compare_digest(brought.get("state", "").encode(), away.state.encode()):
            raise Forbidden("This log-in was begun too long ago, or in another window. Please try again.")
        if not await self._provider.is_own(brought.get("iss", "")):
            raise Forbidden("This answer is from elsewhere. Please try again.")
        if "error" in brought:
            _log.warning("oidc_error", error=plain(brought["error"]))
            raise Forbidden(f"{self._name} did not let you in.")
        code = brought.get("code", "")
        if not 0 < len(code) <= MAX_CODE:
            raise Forbidden(f"{self._name} did not say who you are. Please try again.")
        subject = await self._provider.subject(code, away.verifier, away.nonce)
        name, generation = await self._account(subject)
        response = await self._log_in.let_in(request, name, generation, away.way, "oidc")
        if response is None:
            raise Forbidden("Your account was changed at this moment. Please try again.")
        return response

    async def _account(self, subject: str) -> tuple[str, int]:
        """Return the name and the generation of the account of an identity. Raises Forbidden."""
        row = await self._db.read(
            lambda tx: tx.one("find_identity", provider=self._provider.registration.issuer, subject=subject)
        )
        if row is None:
            advice = f"{self._provider.registration.command} add NAME --oidc {shlex.quote(subject)}"
            raise _Unregistered(f"There is no account for you yet. Whoever runs this service can add it: {advice}")
        name, state, generation = row
        if state != AccountState.ACTIVE:
            raise Forbidden(f"The account {name} may not log in any more.")
        return str(name), int(generation)

    @property
    def _name(self) -> str:
        return self._provider.registration.name

    def _failed(self, request: Request, way: str, error: CardtrailError) -> Response:
        """Return the form, and what went wrong: to the user as little as helps, to the log why."""
        if isinstance(error, TooMany):
            return self._log_in.too_many(request, way, error)
        if not isinstance(error, Forbidden | Unauthorized | RemoteError):
            raise error
        code = error.error_code if isinstance(error, RemoteError) else ""
        why = "nobody is registered for this identity" if isinstance(error, _Unregistered) else str(error)
        _log.warning("log_in_failed", by="oidc", why=why, code=code, peer=peer_of(request))
        if isinstance(error, RemoteRefused) and code == _INVALID_GRANT:
            told, status = f"{self._name} takes this log-in for over. Please try again.", 403
        elif isinstance(error, RemoteError):
            told, status = f"{self._name} does not answer as it should. Please try again in a while.", 503
        elif isinstance(error, Forbidden):
            told, status = str(error), 403
        else:
            told, status = f"What {self._name} said of you could not be believed. Please try again.", 403
        return self._log_in.form(request, way, status, told)


def _chance() -> str:
    return secrets.token_urlsafe(CHANCE_BYTES)


def _query_of(request: Request) -> dict[str, str]:
    """Return what a browser brings back. Raises Forbidden; a member that is there twice would be read in two ways."""
    pairs = request.query_params.multi_items()
    brought = dict(pairs)
    if len(brought) != len(pairs):
        raise Forbidden("This answer cannot be read. Please try again.")
    return brought
