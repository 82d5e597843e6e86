"""The log-in by name and password, and the log-out."""

import secrets
import time
from collections.abc import Callable
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cardtrail.core.limit import FailureLimit, PeerLimit
from cardtrail.db import Database
from cardtrail.errors import Forbidden, TooMany
from cardtrail.pages.door.account import AccountState
from cardtrail.pages.door.asgi import LOG_IN
from cardtrail.pages.door.cookies import BEFORE, SESSION, Cookies
from cardtrail.pages.door.csrf import check_origin, check_token
from cardtrail.pages.door.form import body_of, fields_of
from cardtrail.pages.door.oidc.registration import Registration
from cardtrail.pages.door.page import SIDE, page
from cardtrail.pages.door.password import MOST, Passwords
from cardtrail.pages.door.seals import Seals
from cardtrail.pages.door.sessions import Sessions
from cardtrail.pages.door.visitor import CSRF_FIELD
from cardtrail.pages.door.way import safe_next

ACCOUNT_BURST, ACCOUNT_RATE = 10, 1
"""Wrong passwords for one name at once, and then a minute."""
PEER_BURST, PEER_RATE = 30, 10
"""Log-ins that fail from one address at once, and then a minute."""
FORM_SECONDS = 3_600
"""How long the log-in's form can be sent."""
MAX_NAME = 64
SEE_OTHER = 303
_WRONG = "Name or password is wrong."
_log = structlog.get_logger()


class LogIn:
    """Checks who somebody is, and begins a session."""

    def __init__(  # noqa: PLR0913 -- the parts of the door, put together in one place
        self, db: Database, sessions: Sessions, passwords: Passwords, cookies: Cookies, seals: Seals, *,
        elsewhere: Registration | None = None, side: str = SIDE, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._db = db
        self._sessions = sessions
        self._passwords = passwords
        self._cookies = cookies
        self._seals = seals
        self._elsewhere = elsewhere
        self._side = side
        self._monotonic = monotonic
        self._names = FailureLimit(ACCOUNT_RATE, ACCOUNT_BURST, "log-ins by this name")
        self._peers = PeerLimit(PEER_RATE, PEER_BURST, "log-ins from this address")

    async def show(self, request: Request) -> Response:
        """Show the form; whoever has come in already goes on."""
        way = safe_next(request.query_params.get("next", ""))
        if await self._sessions.find(self._cookies.read(request, SESSION)) is not None:
            return RedirectResponse(way, SEE_OTHER)
        return self.form(request, way)

    async def enter(self, request: Request) -> Response:
        """Begin a session for who knows an account's password. A wrong one and an unknown name look the same."""
        fields = fields_of(await body_of(request))
        way, name = safe_next(fields.get("next", "")), fields.get("name", "")[:MAX_NAME]
        try:
            check_origin(request)
            check_token(fields.get(CSRF_FIELD, ""), self._expected(request))
        except Forbidden:
            return self.form(request, way, 403, "The form was too old. Please try again.")
        try:
            generation = await self._checked(name, fields.get("password", ""), peer_of(request))
        except TooMany as error:
            return self.too_many(request, way, error)
        entered = await self.let_in(request, name, generation, way, "password") if generation else None
        return entered or self.form(request, way, 401, _WRONG)

    async def let_in(self, request: Request, name: str, generation: int, way: str, by: str) -> Response | None:
        """Begin a session and go on; None where the account has changed since its `generation` was read.

        `by` says for the log how it was known who it is.
        """
        token = await self._sessions.begin(name, generation, self._cookies.read(request, SESSION))
        if token is None:
            return None
        _log.info("log_in", account=name, by=by, peer=peer_of(request))
        response = RedirectResponse(way, SEE_OTHER)
        self._cookies.write(request, response, SESSION, token)
        self._cookies.drop(request, response, BEFORE)
        return response

    async def leave(self, request: Request) -> Response:
        """End the session, here and in the store."""
        await self._sessions.end(self._cookies.read(request, SESSION))
        response = RedirectResponse(LOG_IN, SEE_OTHER)
        self._cookies.drop(request, response, SESSION)
        return response

    async def _checked(self, name: str, password: str, peer: str) -> int:
        """Return the generation of the account, 0 if name and password do not fit. Raises TooMany.

        Each try is charged before it is known to fail, since many may be under way at once.
        """
        now = self._monotonic()
        self._peers.admit(peer, now)
        self._names.admit(name, now)
        self._peers.charge(peer, now)
        self._names.charge(name, now)
        row = await self._db.read(lambda tx: tx.one("find_password", name=name))
        stored, state, generation = row or ("", "", 0)
        fits = await self._passwords.fits(stored, password) and len(password) <= MOST
        if not fits or state != AccountState.ACTIVE:
            _log.warning("log_in_failed", account=name, by="password", peer=peer)
            return 0
        self._peers.forgive(peer)
        self._names.forgive(name)
        return int(generation)

    def form(self, request: Request, way: str, status: int = 200, told: str = "") -> Response:
        """Return the form, tied to this browser by a sealed cookie, and the way to the provider where there is one."""
        token = self._expected(request) or secrets.token_urlsafe(32)
        link, provider = "", ""
        if self._elsewhere is not None:
            link, provider = f"{self._elsewhere.begin_url}?{urlencode({'next': way})}", self._elsewhere.name
        response = page(
            "login.html", status, side=self._side, csrf=token, next=way, told=told, link=link, provider=provider
        )
        sealed = self._seals.text_of(BEFORE, token, FORM_SECONDS)
        self._cookies.write(request, response, BEFORE, sealed, FORM_SECONDS)
        return response

    def too_many(self, request: Request, way: str, error: TooMany) -> Response:
        """Return the form, and that it is not to be sent for a while."""
        response = self.form(request, way, 429, "Too many log-ins have failed. Please wait a little.")
        response.headers["retry-after"] = str(error.retry_after)
        return response

    def _expected(self, request: Request) -> str:
        return self._seals.value_of(BEFORE, self._cookies.read(request, BEFORE), str) or ""


def peer_of(request: Request) -> str:
    """Return the address that a request comes from; behind a trusted proxy the one that it tells."""
    return request.client.host if request.client else ""
