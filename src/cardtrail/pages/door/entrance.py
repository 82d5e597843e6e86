"""Puts the door together: what each of its parts needs, from what the service above has."""

from collections.abc import Callable

from cardtrail.db import Database
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.asgi import Asgi
from cardtrail.pages.door.change import Change
from cardtrail.pages.door.cookies import Cookies
from cardtrail.pages.door.door import Door
from cardtrail.pages.door.login import LogIn
from cardtrail.pages.door.password import Passwords
from cardtrail.pages.door.seals import Sealer, Seals
from cardtrail.pages.door.sessions import Sessions


class Entrance:
    """The parts of the door of one service. `clock` gives µs of real time; `plain` and `realm` as for `Cookies`."""

    def __init__(  # noqa: PLR0913 -- the parts of the door, put together in one place
        self, db: Database, change: Change, box: Sealer, clock: Callable[[], int], *, plain: bool, realm: str = ""
    ) -> None:  # fmt: skip
        self.change = change
        self.clock = clock
        self.accounts = Accounts(db, change, clock)
        self.sessions = Sessions(db, clock)
        self._passwords = Passwords()
        self._cookies = Cookies(plain=plain, realm=realm)
        self._log_in = LogIn(db, self.sessions, self._passwords, self._cookies, Seals(box, clock))

    def door(self, pages: Asgi) -> Door:
        """Return the door in front of `pages`."""
        return Door(pages, self._log_in, self.sessions, self._cookies)

    async def close(self) -> None:
        """Let go of threads and connections."""
        self._passwords.close()
