"""How the door changes something for good: through the store's audit, which is above this floor and is given to it."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from cardtrail.db import Transaction

T = TypeVar("T")


class Changed(msgspec.Struct, Generic[T], frozen=True):
    """What a work changed: `action` (`account.add`), whose (`subject`), from what to what; and its result."""

    action: str
    subject: str
    before: object
    after: object
    result: T


class Change(Protocol):
    """Runs a work and writes its line of the audit, in one transaction; `at` in µs, `actor` as in `account:ada`."""

    async def __call__(self, actor: str, at: int, work: Callable[[Transaction], Changed[T]]) -> T:
        """Return the work's result. Raises StoreUnavailable, or what the work raised."""
        ...
