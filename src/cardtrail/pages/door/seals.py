"""What a browser keeps for us before there is a session: sealed, so that it can neither be made nor changed there."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from cardtrail.errors import SettingError

SECOND = 1_000_000
MAX_SEALED = 4_096
"""Longest text that is opened, characters: browsers keep no more in a cookie."""
T = TypeVar("T")


class Sealer(Protocol):
    """Encrypts with a key that all processes of the service have; a sealed text is bound to its name."""

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return the secret, sealed."""
        ...

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return the secret. Raises SettingError where it was not sealed so."""
        ...


class Seals:
    """Values as texts that last for a while. `clock` gives µs."""

    def __init__(self, box: Sealer, clock: Callable[[], int]) -> None:
        self._box = box
        self._clock = clock

    def text_of(self, name: str, value: object, seconds: int) -> str:
        """Return a value as a sealed text that can be opened for so long."""
        until = self._clock() + seconds * SECOND
        return urlsafe_b64encode(self._box.seal(name, msgspec.json.encode((until, value)))).decode()

    def value_of(self, name: str, text: str, kind: type[T]) -> T | None:
        """Return the value, None where the text was not sealed here under this name, or too long ago."""
        if not 0 < len(text) <= MAX_SEALED:
            return None
        try:
            opened = self._box.open(name, urlsafe_b64decode(text.encode()))
            until, value = msgspec.json.decode(opened, type=tuple[int, kind])  # type: ignore[valid-type]  # at run time
        except (SettingError, ValueError):
            return None
        return value if self._clock() < until else None
