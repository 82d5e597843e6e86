"""Puts the door together: what each of its parts needs, from what the service above has."""

from collections.abc import Callable

from cardtrail.db import Database
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.asgi import Asgi
from cardtrail.pages.door.change import Change
from cardtrail.pages.door.cookies import Cookies
from cardtrail.pages.door.door import Door
from cardtrail.pages.door.login import LogIn
from cardtrail.pages.door.oidc.flow import OidcLogIn
from cardtrail.pages.door.oidc.provider import Provider
from cardtrail.pages.door.page import SIDE
from cardtrail.pages.door.password import Passwords
from cardtrail.pages.door.seals import Sealer, Seals
from cardtrail.pages.door.sessions import Sessions


class Entrance:
    """The parts of the door of one service. `clock` gives µs of real time; `plain` and `realm` as for `Cookies`.

    With a `provider` people may log in by it, too, and who has no password only by it.
    `side` is what the service is called on the log-in.
    """

    def __init__(  # noqa: PLR0913 -- what the service above has
        self, db: Database, change: Change, box: Sealer, clock: Callable[[], int], *, plain: bool, realm: str = "",
        provider: Provider | None = None, side: str = SIDE,
    ) -> None:  # fmt: skip
        self.change = change
        self.clock = clock
        self.accounts = Accounts(db, change, clock)
        self.sessions = Sessions(db, clock)
        self._passwords = Passwords()
        self._cookies = Cookies(plain=plain, realm=realm)
        self._provider = provider
        seals, elsewhere = Seals(box, clock), None if provider is None else provider.registration
        self._log_in = LogIn(db, self.sessions, self._passwords, self._cookies, seals, elsewhere=elsewhere, side=side)
        self._by_oidc = (
            None if provider is None
            else OidcLogIn(db, self._log_in, self.sessions, self._cookies, seals, provider=provider)
        )  # fmt: skip

    def door(self, pages: Asgi) -> Door:
        """Return the door in front of `pages`."""
        return Door(pages, self._log_in, self.sessions, self._cookies, self._by_oidc)

    async def close(self) -> None:
        """Let go of threads and connections."""
        self._passwords.close()
        if self._provider is not None:
            await self._provider.close()
