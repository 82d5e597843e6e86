"""Sessions: kept in the store, so that every process knows them and ending one ends it everywhere.

The browser holds 32 random bytes, the store their SHA-256: who reads the store can enter nowhere.
"""

import hashlib
import secrets
from collections.abc import Callable

import msgspec

from cardtrail.db import Database, Transaction
from cardtrail.pages.door.accounts import account_roles
from cardtrail.pages.door.visitor import Visitor

SECOND = 1_000_000
LONGEST = 12 * 3_600 * SECOND
"""How long a session lasts at most, µs."""
IDLE = 3_600 * SECOND
"""How long one lasts in which nothing happens, µs."""
NOTED = 60 * SECOND
"""How exactly it is known when a session was used last, µs; so that not every look at a page is written down."""
MOST = 10
"""Most sessions of one account; a new one ends the oldest."""
TOKEN_BYTES = 32
MAX_TOKEN = 64
"""Longest cookie that is looked up, characters."""


class Session(msgspec.Struct, frozen=True):
    """A session that lasts: who visits, and what its forms must say."""

    visitor: Visitor
    csrf: str


class Sessions:
    """The sessions of one store. `clock` gives µs."""

    def __init__(self, db: Database, clock: Callable[[], int]) -> None:
        self._db = db
        self._clock = clock

    async def begin(self, account: str, generation: int, former: str = "") -> str | None:
        """Return the token of a new session, which takes the place of the `former` token's.

        None where the account was revoked, or given another password, since its `generation` was read.
        """
        now, token = self._clock(), secrets.token_urlsafe(TOKEN_BYTES)
        row = {
            "account": account, "token_hash": _hash(token), "generation": generation,
            "csrf": secrets.token_urlsafe(TOKEN_BYTES), "at": now, "expires_at": now + LONGEST,
        }  # fmt: skip

        def work(tx: Transaction) -> bool:
            if not tx.run("note_log_in", name=account, at=now, generation=generation):
                return False
            if former:
                tx.run("end_session", token_hash=_hash(former))
            tx.run("add_session", **row)
            tx.run("trim_sessions", account=account, most=MOST)
            return True

        return token if await self._db.transact(work) else None

    async def find(self, token: str) -> Session | None:
        """Return the session of a cookie's token, None where it is over; note that it is used."""
        if not 0 < len(token) <= MAX_TOKEN:
            return None
        now, token_hash = self._clock(), _hash(token)
        row = await self._db.read(
            lambda tx: tx.one("find_session", token_hash=token_hash, now=now, idle_since=now - IDLE)
        )
        if row is None:
            return None
        account, csrf, seen_at, roles, personal = row
        if now - seen_at >= NOTED:
            await self._db.transact(lambda tx: tx.run("touch_session", token_hash=token_hash, now=now))
        return Session(Visitor(account, account_roles(roles), bool(personal)), csrf)

    async def end(self, token: str) -> None:
        """End a session, everywhere and at once."""
        await self._db.transact(lambda tx: tx.run("end_session", token_hash=_hash(token)))

    async def run_once(self) -> int:
        """Forget sessions that are over; return how many there were. To be called every minute."""
        now = self._clock()
        await self._db.transact(lambda tx: tx.run("forget_sessions", now=now, idle_since=now - IDLE))
        return 0


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
