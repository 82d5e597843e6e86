"""Passwords: argon2id, checked in threads, two at a time, and as long for a name that nobody has.

One check takes some 0.1 s and 64 MiB, which is what makes guessing expensive; so no flood of log-ins may start more
than two, and who would wait behind too many is sent away.
"""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from cardtrail.errors import InputError, TooMany

LEAST, MOST = 12, 256
"""Shortest and longest password, characters."""
AT_ONCE = 2
"""Checks under way at once, in each process."""
MAX_WAITING = 32
"""Most checks that wait for their turn; the next is refused."""
GENERATED_BYTES = 18
"""Chance in a password that we make."""
DECOY = "$argon2id$v=19$m=65536,t=3,p=4$sMoJmPj4BwTstxZP4aQ6nw$BoXULOnSLLouxarO5YrQvgvCwXF8w4Xi034f3or1GSs"
"""What is checked where there is no account: it costs as much as a real one, and no password fits."""
_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hashed(password: str) -> str:
    """Return the hash of a new password. Raises InputError."""
    if not LEAST <= len(password) <= MOST:
        raise InputError("password", f"{LEAST} to {MOST} characters", "FIELD_INVALID_LENGTH")
    return _hasher.hash(password)


def generated() -> str:
    """Return a new password that nobody could guess."""
    return secrets.token_urlsafe(GENERATED_BYTES)


class Passwords:
    """Checks passwords, off the event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "password")
        self._under_way = 0

    async def fits(self, stored: str, password: str) -> bool:
        """Tell whether a password fits a stored hash; an empty one is answered no, and as slowly. Raises TooMany."""
        if self._under_way >= AT_ONCE + MAX_WAITING:
            raise TooMany("too many people log in at this moment")
        self._under_way += 1
        checking = asyncio.get_running_loop().run_in_executor(self._threads, _fits, stored or DECOY, password[:MOST])
        checking.add_done_callback(self._done)  # a caller that has gone does not stop the thread
        return await asyncio.shield(checking) and bool(stored)

    def _done(self, _: object) -> None:
        self._under_way -= 1

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False)


def _fits(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError, ValueError):
        return False
